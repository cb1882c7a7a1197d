"""The recurrent encoder: the past as one state."""

from typing import Any

from torch import Tensor, nn

from timediff.types import Float

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

    @staticmethod
    def repeat(state: Any, n: int) -> Any:
        """The state of ``B`` windows for ``B * n`` paths, those of a window side by side."""
        if isinstance(state, tuple):
            return tuple(Encoder.repeat(part, n) for part in state)
        return state.repeat_interleave(n, dim=1)
