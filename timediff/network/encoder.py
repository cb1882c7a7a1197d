"""The recurrent encoder: the past as one state."""

from typing import Any

import torch
from torch import Tensor, nn

from timediff.types import Float, Int

CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class Encoder(nn.Module):
    """A GRU or LSTM, and a linear map from its state to the condition.

    Args:
        input_size: features of a step.
        cell: ``"gru"`` or ``"lstm"``.
        hidden_size: units.
        num_layers: layers.
        dropout: between layers.
        cond_dim: length of the condition; None takes the state itself.
    """

    def __init__(
        self,
        input_size: int,
        cell: str = "gru",
        hidden_size: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
        cond_dim: int | None = None,
    ):
        super().__init__()
        self.rnn = CELLS[cell](
            input_size,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        self.project = nn.Linear(hidden_size, cond_dim) if cond_dim else nn.Identity()
        self.cond_dim = cond_dim or hidden_size

    def forward(
        self, u: Float[Tensor, "b t u"], state: Any = None
    ) -> tuple[Float[Tensor, "b t h"], Any]:
        """Conditions of all steps, and the state after the last; ``None`` is the first state."""
        output, state = self.rnn(u, state)
        return self.project(output), state

    def step(self, u: Float[Tensor, "n u"], state: Any) -> tuple[Float[Tensor, "n h"], Any]:
        """The condition of one step, and the state after it, without dropout."""
        parts = state if isinstance(state, tuple) else (state,)
        layers: list[tuple[Tensor, ...]] = []
        for i, own in enumerate(zip(*parts, strict=True)):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [getattr(self.rnn, f"{name}_l{i}") for name in names]
            if len(own) == 2:
                layers.append(torch.lstm_cell(u, own, *weights))
            else:
                layers.append((torch.gru_cell(u, own[0], *weights),))
            u = layers[-1][0]
        after = tuple(torch.stack(part) for part in zip(*layers, strict=True))
        return self.project(u), after if isinstance(state, tuple) else after[0]

    @staticmethod
    def select(state: Any, windows: Int[Tensor, " n"]) -> Any:
        """The states of these windows, each as often as it is named."""
        if isinstance(state, tuple):
            return tuple(Encoder.select(part, windows) for part in state)
        return state[:, windows]

    @staticmethod
    def join(states: list[Any]) -> Any:
        """The states of several batches as those of one."""
        if isinstance(states[0], tuple):
            return tuple(Encoder.join(list(parts)) for parts in zip(*states, strict=True))
        return torch.cat(states, dim=1)
