"""Joint sample paths of the horizons after entries, also of those of which something is given."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from timediff._frequency import moved
from timediff.entries import Panel
from timediff.errors import DataError, TimediffError, warn
from timediff.forecast import JointForecast
from timediff.network import Batch
from timediff.network.scenario import Conditions, Scenarios
from timediff.scenarios import SCENARIO, Given

if TYPE_CHECKING:
    from timediff.predictor import TimeGradPredictor

LEAST_SHARE = 0.1  # of the paths that must be independent, or there is a warning
FAR = 3.0  # deviations from which a scenario is far outside of the law


def forecasts(
    predictor: "TimeGradPredictor",
    dataset: Iterable[Any],
    num_samples: int,
    seed: int,
    given: Given | Sequence[Given | None] | None,
) -> Iterator[JointForecast]:
    """See :meth:`timediff.TimeGradPredictor.predict`."""
    predictor.network.eval()
    scenarios = None if given is None else align(given)
    count = 0
    for chunk in predictor.chunks(dataset, num_samples):
        count += len(chunk)
        panels = [panel for _, panel in chunk]
        batch = predictor.gather(panels)
        own = [np.random.SeedSequence([seed, i]).generate_state(1, np.uint64) for i, _ in chunk]
        seeds = torch.tensor([int(state[0] >> 1) for state in own])
        if scenarios is not None:
            for panel, part, own_seed in zip(panels, batch.split(1), seeds.split(1), strict=True):
                yield _scenario(predictor, panel, part, num_samples, own_seed, next(scenarios))
            continue
        samples = predictor.network.sample(batch, num_samples, seeds).cpu().numpy()
        for panel, paths in zip(panels, samples, strict=True):
            yield _forecast(panel, paths, predictor.columns)
    if isinstance(given, Sequence) and len(given) > count:
        raise DataError(
            f"given has {len(given)} elements, the dataset {count}: one for each entry, or None"
        )


def _scenario(
    predictor: "TimeGradPredictor",
    panel: Panel,
    batch: Batch,
    num_samples: int,
    seed: torch.Tensor,
    given: Given | None,
) -> JointForecast:
    """The forecast of one entry, of which something may be given."""
    if given is None or given.is_free:
        paths = predictor.network.sample(batch, num_samples, seed)[0]
        return _forecast(panel, paths.cpu().numpy(), predictor.columns)
    given.check_shape(predictor.prediction_length, panel.values.shape[1], panel.title)
    shift = given.check_known(panel.shift, panel.title)
    conditions = Conditions(*(part.to(predictor.device) for part in given.conditions(shift)))
    drawn = predictor.network.scenarios(batch, num_samples, seed, conditions)
    forecast = _forecast(panel, drawn.paths.cpu().numpy(), predictor.columns)
    told = {"given": report(drawn, given, panel.title), SCENARIO: given}
    forecast.info = {**(forecast.info or {}), **told}
    return forecast


def _forecast(panel: Panel, paths: np.ndarray, columns: list[Any] | None) -> JointForecast:
    """The forecast of one entry from its paths, which are counted from its levels."""
    start = moved(panel.start, len(panel.values))
    if panel.offset is not None or panel.dead.any():
        paths = paths + panel.shift.astype(float if panel.offset is not None else paths.dtype)
    bad = np.argwhere(~np.isfinite(paths) & ~panel.dead)
    if len(bad):
        _, step, series = map(int, bad[0])
        when = panel.when(len(panel.values) + step)
        raise TimediffError(
            f"the forecast of {panel.name(series)} at {when} is not finite: train with "
            "bound_samples=True, or with a smaller lr"
        )
    if panel.univariate:
        paths = paths[:, :, 0]
    info = panel.info
    if info is None and columns is not None:
        info = {"columns": columns}
    return JointForecast(paths, start_date=start, item_id=panel.item_id, info=info)


def align(given: Any) -> Iterator[Given | None]:
    """What is given of each entry, in their order: one for all, or a sequence of them.

    Raises:
        DataError: it is neither, or the sequence is too short.
    """
    if isinstance(given, Given):
        while True:
            yield given
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise DataError(f"given is a {type(given).__name__}, not a Given or a list of them")
    for i, one in enumerate(given):
        if one is not None and not isinstance(one, Given):
            raise DataError(f"given[{i}] is a {type(one).__name__}, not a Given or None")
        yield one
    raise DataError(f"given has {len(given)} elements, the dataset more: one for each entry")


def report(drawn: Scenarios, given: Given, title: str) -> dict[str, Any]:
    """What a forecast says of its scenario, with a warning where it is not to be trusted.

    Returns:
        ``effective_paths``, ``distance`` (None if not known) and ``tempered_steps``, see
        :class:`Scenarios`; and how many ``values`` and ``totals`` were given.
    """
    known = not np.isnan(drawn.distance)
    few = drawn.effective < LEAST_SHARE * len(drawn.paths)
    if few or (known and drawn.distance > FAR):
        how = f", {drawn.distance:.1f} deviations from what it expects" if known else ""
        warn(
            f"what is given for {title} is far outside of what the model holds possible{how}: its "
            f"{len(drawn.paths)} paths are worth {drawn.effective:.1f} independent ones. Give less "
            "or something closer, or draw more paths",
        )
    return {
        "effective_paths": drawn.effective,
        "distance": drawn.distance if known else None,
        "tempered_steps": drawn.tempered,
        "values": int((~np.isnan(given.values)).sum()),
        "totals": sum(int((~np.isnan(t.values)).sum()) for t in given.totals),
    }
