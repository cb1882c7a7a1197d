"""How likely each step of a table was, as a table: what a trained model finds surprising."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from timediff._stamps import index_of
from timediff.entries import Panel
from timediff.errors import DataError, OptionError
from timediff.network import Batch
from timediff.network.likelihood import likelihood

if TYPE_CHECKING:
    from timediff.predictor import TimeGradPredictor


def log_likelihoods(
    predictor: "TimeGradPredictor",
    dataset: Iterable[Mapping[str, Any]],
    last: int | None = None,
    draws: int = 2,
    flow_steps: int = 25,
    variance: str | None = None,
    seed: int = 0,
) -> Iterator[pd.DataFrame]:
    """See :meth:`timediff.TimeGradPredictor.log_likelihood`."""
    for name, value, least in (("last", last, 1), ("draws", draws, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise OptionError(f"{name} is {value}, must be {least} or more")
    if flow_steps < 0:
        raise OptionError(f"flow_steps is {flow_steps}: give 0 to leave the flow out, or more")
    return (
        _of_entry(predictor, entry, i, last, (draws, flow_steps, variance), seed)
        for i, entry in enumerate(dataset)
    )


def _of_entry(
    predictor: "TimeGradPredictor",
    entry: Mapping[str, Any],
    position: int,
    last: int | None,
    options: tuple[int, int, str | None],
    seed: int,
) -> pd.DataFrame:
    panel = predictor.read(entry, position)
    length, p = len(panel.values), predictor.prediction_length
    origins = _origins(panel, predictor, last)
    network = predictor.network.eval()
    bound, flow = np.full((2, length), np.nan)
    beyond = np.zeros(length, dtype=int)
    cut = (_until(entry, panel, origin) for origin in origins)
    for chunk in predictor.chunks(cut, 1):
        firsts = [origins[i] for i, _ in chunk]
        batch = _observed(predictor.gather([part for _, part in chunk]), panel, firsts, p)
        own = [
            np.random.SeedSequence([seed, position, i]).generate_state(1, np.uint64)
            for i, _ in chunk
        ]
        seeds = torch.tensor([int(state[0] >> 1) for state in own])
        found = likelihood(network, batch, seeds, *options)
        steps = (np.array(firsts)[:, None] + np.arange(p)).ravel()
        for column, part in zip((bound, flow, beyond), found, strict=True):
            column[steps] = part.cpu().numpy().ravel()
    table = pd.DataFrame(
        {
            "bound": bound,
            "flow": flow,
            "observed": (~np.isnan(panel.values)).sum(1),
            "beyond": beyond,
        },
        index_of(panel.start, length, panel.info or {}),
    )
    return table if last is None else table.iloc[-last:]


def _origins(panel: Panel, predictor: "TimeGradPredictor", last: int | None) -> list[int]:
    """Where the windows begin, the last one first: whole horizons counted from the end.

    The first begins where those of training do, but not before every series was observed.
    """
    length, p = len(panel.values), predictor.prediction_length
    panel.check_observed()
    seen = ~np.isnan(panel.values)
    late = int(seen.argmax(0).argmax())
    first = max(1, min(predictor.spec.depth, (length - p) // 2), int(seen[:, late].argmax()) + 1)
    wanted = range(length - p, first - 1, -p)
    if not wanted:
        raise DataError(
            f"{panel.title} has {length} steps from {panel.when(0)} on, and {panel.name(late)} "
            f"begins at {panel.when(int(seen[:, late].argmax()))}: the likelihood is told of whole "
            f"horizons of {p} steps after all series have begun; give more rows, or update() the "
            "forecaster with them and ask for the last steps of its history"
        )
    return list(wanted[: None if last is None else -(-last // p)])


def _until(entry: Mapping[str, Any], panel: Panel, origin: int) -> dict[str, Any]:
    """The entry as it was before a step."""
    target = panel.values[:origin].T
    cut = {**entry, "target": target[0] if panel.univariate else target}
    cut.pop("observed_values", None)  # NaN says the same
    return cut


def _observed(batch: Batch, panel: Panel, origins: list[int], p: int) -> Batch:
    """Windows with what was observed in their horizons of p steps."""
    values = np.stack([panel.values[origin : origin + p] for origin in origins])
    later = torch.from_numpy(values).to(batch.target)
    target = torch.cat([batch.target[:, :-p], later.nan_to_num(0.0)], dim=1)
    observed = torch.cat([batch.observed[:, :-p], ~later.isnan()], dim=1)
    return batch._replace(target=target, observed=observed)
