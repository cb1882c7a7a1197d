"""Forecasts of the past as if it had not been seen, and what they were worth."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from timediff._arguments import check_options, whole
from timediff._frequency import model_frequency
from timediff._tables import check_distinct
from timediff.baselines import simple_forecasts
from timediff.errors import DataError
from timediff.histories import Entry
from timediff.quantiles import percentages
from timediff.reading import Names
from timediff.results import Forecast
from timediff.scores import combine, coverage, crps, reliability, score_table
from timediff.types import Number, Tensor

if TYPE_CHECKING:
    import matplotlib.figure

    from timediff.recalibration import Recalibration

MODEL = "timediff"


class Window(NamedTuple):
    """A group and the step at which a window of it begins."""

    key: Hashable
    start: int


class Backtest:
    """The forecasts of past windows beside what happened, and beside simple forecasts.

    Args:
        forecasts: of each window, in the order of time within each group.
        actuals: what was observed, ``(W, P, D)``, NaN where it was not; it is made NaN where there
            is no forecast, because a series had no observation before.
        others: of each simple forecast the paths ``(W, S, P, D)``, by its name.
        grouped: whether there are groups, by their names.

    Attributes:
        forecasts: as given.
        actuals: as said.
        others: as given.
        grouped: as given.
    """

    def __init__(
        self,
        forecasts: Sequence[Forecast],
        actuals: np.ndarray,
        others: dict[str, np.ndarray] | None = None,
        grouped: bool = False,
    ):
        self.forecasts, self.grouped = list(forecasts), grouped
        self.samples = np.stack([forecast.samples for forecast in self.forecasts])
        self.actuals = np.where(np.isnan(self.samples).any(1), np.nan, actuals)
        self.others = dict(others or {})

    def __repr__(self) -> str:
        w, p, d = self.actuals.shape
        return f"<Backtest: {w} windows × {p} steps × {d} series>"

    def _paths(self, model: str = MODEL) -> Tensor:
        return torch.from_numpy(self.samples if model == MODEL else self.others[model])

    @property
    def _target(self) -> Tensor:
        return torch.from_numpy(self.actuals)

    @property
    def _column(self) -> str:
        """The caller's name of the groups."""
        return self.forecasts[0].names.group or "group"

    def scores(self) -> pd.DataFrame:
        """A row for each model: CRPS, CRPS-sum, energy and variogram score, coverage of 90 %.

        See :func:`timediff.scores.score_table`. The first row is timediff; then come the simple
        forecasts, the best CRPS first.
        """
        models = [MODEL, *self.others]
        rows = {model: score_table(self._paths(model), self._target) for model in models}
        table = pd.DataFrame(rows).T
        table.index.name = "model"
        return pd.concat([table[:1], table[1:].sort_values("crps")])

    def by_series(self) -> pd.DataFrame:
        """CRPS and coverage of the 90 % interval of each series, and of the simple forecasts' best.

        ``best simple`` is the lowest CRPS that a simple forecast reaches on the series, and so
        chosen in hindsight. A series without any observation has NaN.
        """
        rows = {}
        for i, column in enumerate(self.forecasts[0].columns):
            target = self._target[..., [i]]
            if target.isnan().all():
                rows[column] = dict.fromkeys(("crps", "coverage90", "best simple"), np.nan)
                continue
            simple = [crps(self._paths(m)[..., [i]], target).item() for m in self.others]
            rows[column] = {
                "crps": crps(self._paths()[..., [i]], target).item(),
                "coverage90": coverage(self._paths()[..., [i]], target).item(),
                "best simple": min(simple, default=np.nan),
            }
        table = pd.DataFrame.from_dict(rows, orient="index")
        table.index.name = self.forecasts[0].names.id
        return table

    def by_window(self) -> pd.DataFrame:
        """The scores of each window, indexed by group and first timestamp."""
        keys, rows = [], []
        for forecast, paths, target in zip(
            self.forecasts, self._paths(), self._target, strict=True
        ):
            if not target.isnan().all():
                keys.append((forecast.name, forecast.index[0]))
                rows.append(score_table(paths, target))
        index = pd.MultiIndex.from_tuples(keys, names=[self._column, "start"])
        return pd.DataFrame(rows, index)

    def coverage(self, levels: Number | Iterable[Number] = (50, 80, 90, 95)) -> pd.DataFrame:
        """The share of observations within central intervals, of the series and of their sum.

        Args:
            levels: in per cent.

        Raises:
            OptionError: one is not between 1 and 100.
        """
        return coverage_table(self.samples, self.actuals, levels)

    def to_frame(self, **options: Any) -> pd.DataFrame:
        """The forecasts of all windows as one long table, with ``cutoff`` and what was observed.

        Args:
            options: of :meth:`timediff.results.Forecast.to_frame`.
        """
        tables = []
        for forecast, actual in zip(self.forecasts, self.actuals, strict=True):
            table = forecast.to_frame(**options)
            names: Names = forecast.names
            observed = actual.T.ravel()
            own = [self._column] if self.grouped else []
            check_distinct([*own, "observed", "cutoff", *table.columns])
            table.insert(2, "observed", np.repeat(observed, len(table) // len(observed)))
            table.insert(2, "cutoff", forecast.cutoff)
            if self.grouped:
                table.insert(0, self._column, [forecast.name] * len(table))
            tables.append(table.rename(columns={"observed": f"actual {names.target}"}))
        return pd.concat(tables, ignore_index=True)

    def plot_calibration(
        self, recalibration: "Recalibration | None" = None
    ) -> "matplotlib.figure.Figure":
        """Reliability and PIT; see :func:`timediff.plot_calibration.plot_calibration`."""
        from timediff.plot_calibration import plot_calibration

        return plot_calibration(self, recalibration)

    def plot(self, **options: Any) -> "matplotlib.figure.Figure":
        """Fan charts of the windows of the first group over what was observed.

        Args:
            options: of :func:`timediff.plot.fan_chart`, but for ``history`` and ``target``.

        Raises:
            OptionError: an unknown option.
        """
        from timediff.plot import fan_chart

        check_options(fan_chart, options, ("forecast", "history", "target"))
        first = [i for i, f in enumerate(self.forecasts) if f.name == self.forecasts[0].name]
        drawn = [self.forecasts[i].to_gluonts() for i in first]
        parts = [
            pd.DataFrame(self.actuals[i], self.forecasts[i].plain_index, f.columns)
            for i, f in zip(first, drawn, strict=True)
        ]
        target = pd.concat(parts)
        target = target[~target.index.duplicated()]
        history = self.forecasts[0].plain_history()
        return fan_chart(drawn, history=history, target=target, **options)


def cut(entries: dict[Hashable, Entry], horizon: int, windows: int, stride: int) -> list[Window]:
    """The last windows of each entry, in the order of time.

    Raises:
        OptionError: no window, or a stride below 1.
        DataError: an entry is too short.
    """
    windows, stride = whole("windows", windows, 1), whole("stride", stride, 1)
    found = []
    for key, entry in entries.items():
        length = entry["target"].shape[1]
        first = length - horizon - (windows - 1) * stride
        if first <= horizon:
            raise DataError(
                f"table {key!r} has {length} steps: {windows} windows of {horizon} leave "
                f"{max(first, 0)} to train on; ask for fewer, or give more history"
            )
        found += [Window(key, first + i * stride) for i in range(windows)]
    return found


def coverage_table(
    samples: np.ndarray,
    actuals: np.ndarray,
    levels: Number | Iterable[Number],
    totals: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """The share of observations within central intervals, in per cent, a row for each level.

    Args:
        samples: ``(W, S, P, D)``.
        actuals: ``(W, P, D)``, NaN where nothing was observed.
        levels: in per cent.
        totals: weights ``(D,)`` of the series in combinations, by the names of their columns; they
            come after those of the ``series`` and of their ``sum``.

    Raises:
        OptionError: a level is not between 1 and 100.
    """
    wanted = percentages(levels)
    shares = [level / 100 for level in wanted]
    x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in (samples, actuals))
    weights = {"sum": np.ones(y.shape[-1]), **(totals or {})}
    columns = {"series": reliability(x, y, shares)} | {
        name: reliability(*combine(x, y, torch.from_numpy(w)), shares)
        for name, w in weights.items()
    }
    index = pd.Index(wanted, name="level")
    return pd.DataFrame({name: 100 * share.numpy() for name, share in columns.items()}, index)


def run_backtest(
    train: Callable[[list[Entry]], Any],
    forecasts: Callable[[Any, list[tuple[Hashable, Entry]], int | None], list[Forecast]],
    entries: dict[Hashable, Entry],
    windows: list[Window],
    *,
    horizon: int,
    refit: bool,
    num_samples: int,
    seed: int | None,
    baselines: bool,
    grouped: bool,
) -> Backtest:
    """Train on what lies before the windows, forecast them, and the simple forecasts beside.

    Args:
        train: makes a predictor of entries.
        forecasts: draws with a predictor the forecasts after some entries.
        entries: of each group.
        windows: see :func:`cut`.
        horizon: P.
        refit: train anew for each window.
        num_samples: joint paths.
        seed: of the paths.
        baselines: whether simple forecasts are made, too.
        grouped: whether the entries are of groups.
    """

    def before(window: Window) -> Entry:
        entry = entries[window.key]
        return {**entry, "target": entry["target"][:, : window.start]}

    known = [(window.key, before(window)) for window in windows]
    rounds: dict[int, list[int]] = {}  # windows that share a model, by how many came before
    order = {key: [w for w in windows if w.key == key] for key in entries}
    for i, window in enumerate(windows):
        rounds.setdefault(order[window.key].index(window) if refit else 0, []).append(i)
    drawn: dict[int, Forecast] = {}
    for members in rounds.values():
        firsts: dict[Hashable, Entry] = {}
        for i in members:
            firsts.setdefault(*known[i])
        predictor = train(list(firsts.values()))
        drawn |= zip(members, forecasts(predictor, [known[i] for i in members], seed), strict=True)
    actuals = np.stack(
        [entries[w.key]["target"][:, w.start : w.start + horizon].T for w in windows]
    )
    others = {}
    if baselines:
        inputs = [entry for _, entry in known]
        shortest = min(entry["target"].shape[1] for entry in inputs)
        for name, forecast in simple_forecasts(
            model_frequency(inputs[0]), horizon, shortest
        ).items():
            try:
                paths = forecast.predict(inputs, num_samples, 0 if seed is None else seed)
                others[name] = np.stack([path.samples for path in paths])
            except DataError:
                continue  # it needs observations that are missing here
    return Backtest([drawn[i] for i in range(len(windows))], actuals, others, grouped)
