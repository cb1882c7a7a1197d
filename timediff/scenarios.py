"""What is given of a forecast's horizon: values of some series, and totals; checked.

given = Given.from_frame(frame, entry, prediction_length=24)
predictor.predict([entry], given=given)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from timediff._given_tables import read_given
from timediff.errors import DataError, OptionError, warn
from timediff.network.scenario import Conditions

SCENARIO = "scenario"  # in a forecast's info, what was given of it
TOLERANCE = 1e-4  # relative, within which two things that are given say the same


@dataclass(frozen=True)
class Total:
    """A weighted sum of the series at each step.

    Attributes:
        weights: of the series ``(D,)``; a difference has one of -1.
        values: of the sum ``(P,)``; NaN is free.
        name: for messages.
    """

    weights: Any
    values: Any
    name: str = "total"


@dataclass(frozen=True, eq=False)
class Given:
    """What is given of one entry's horizon; all else is free.

    Attributes:
        values: of the series, ``(P, D)``, or ``(P,)`` for a target of one axis; NaN is free. None
            gives totals only.
        totals: sums of series; :class:`Total` or pairs of weights and values.
        columns: names of the series, for messages.
        index: time stamps of the horizon, for messages.

    Raises:
        DataError: shapes that do not fit, an infinite value or weight, nothing given, or two things
            that contradict each other.
    """

    values: Any = None
    totals: Sequence[Any] = ()
    columns: Sequence[Any] | None = field(default=None, repr=False)
    index: pd.DatetimeIndex | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        totals = tuple(t if isinstance(t, Total) else Total(*t) for t in self.totals)
        totals = tuple(
            Total(np.asarray(t.weights, float), np.asarray(t.values, float), t.name) for t in totals
        )
        if self.values is None:
            if not totals:
                raise DataError("nothing is given: give values of series, or totals")
            values = np.full((len(totals[0].values), len(totals[0].weights)), np.nan)
        else:
            values = np.asarray(self.values, float)
            values = values[:, None] if values.ndim == 1 else values
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "totals", totals)
        self._check()

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        entry: Mapping[str, Any],
        prediction_length: int,
        totals: Mapping[Any, Any] | None = None,
    ) -> "Given":
        """Read it from a wide table (time × some of the series and totals).

        A step without a row and a missing value are free. The table is not changed.

        Args:
            frame: with the columns and the time zone of the table that the entry was made from
                (:func:`timediff.from_wide`), all rows within the horizon.
            entry: the entry that is forecast.
            prediction_length: P, steps of the horizon.
            totals: names of columns of the frame that are sums of series, each with its series or a
                list of them, or a mapping of them to weights, or an array ``(D,)`` of weights; or a
                table of weights, totals × series.

        Raises:
            DataError: as said above; a column that is neither a series nor a total, a timestamp
                that is not one of the horizon, or a value that is no finite number.
        """
        return cls(*read_given(frame, entry, prediction_length, totals))

    @property
    def is_free(self) -> bool:
        """Whether nothing is given, after all."""
        return all(np.isnan(part).all() for part in (self.values, *(t.values for t in self.totals)))

    def check_known(self, shift: np.ndarray, title: str) -> np.ndarray:
        """What the series are counted from, 0 for those of which nothing is known or given.

        Args:
            shift: see :attr:`timediff.entries.Panel.shift`.
            title: of the entry, for the error.

        Raises:
            DataError: something is given of a series that was never observed.
        """
        dead = np.isnan(shift)
        used = ~np.isnan(self.values).all(0)
        for total in self.totals:
            used |= total.weights != 0
        if (dead & used).any():
            raise DataError(
                f"series {self._name(int((dead & used).argmax()))} of {title} has no observation: "
                "nothing can be given of it, or of a total that it is in"
            )
        return np.where(dead, 0.0, shift)

    def conditions(self, shift: np.ndarray | float = 0.0) -> Conditions:
        """The same as tensors, of series that are counted from these levels ``(D,)``."""
        p, d = self.values.shape
        shift = np.broadcast_to(shift, d)
        weights = np.stack([t.weights for t in self.totals] or [np.zeros(d)])
        totals = np.stack([t.values for t in self.totals] or [np.full(p, np.nan)], axis=1)
        parts = (self.values - shift, weights, totals - weights @ shift)
        return Conditions(*(torch.tensor(part, dtype=torch.float32) for part in parts))

    def check_shape(self, steps: int, series: int, title: str) -> None:
        """Raise a DataError unless it fits the forecast of an entry."""
        if self.values.shape != (steps, series):
            raise DataError(
                f"what is given for {title} has shape {self.values.shape}, its forecast "
                f"({steps}, {series})"
            )

    def combined(self, weights: np.ndarray, columns: Sequence[Any]) -> "Given":
        """What is so known of linear combinations of the series.

        Args:
            weights: ``(K, D)`` of the series in each; a single 1 is a series itself.
            columns: names of the combinations.
        """
        used, known = weights != 0, ~np.isnan(self.values)
        sums = np.nan_to_num(self.values) @ weights.T
        values = np.where((~known).astype(float) @ used.T == 0, sums, np.nan)
        alone = np.flatnonzero((used.sum(1) == 1) & (weights.max(1, initial=0) == 1))
        at = {int(weights[k].argmax()): k for k in alone}  # where a series itself has gone
        totals = []
        for t in self.totals:
            same = np.isclose(weights, t.weights).all(1)
            values[:, same] = np.where(
                np.isnan(values[:, same]), t.values[:, None], values[:, same]
            )
            members = np.flatnonzero(t.weights)
            if all(int(d) in at for d in members):
                own = np.zeros(len(columns))
                own[[at[int(d)] for d in members]] = t.weights[members]
                totals.append(Total(own, t.values, t.name))
        return Given(values, totals, columns, self.index)

    def check_kept(self, rounded: np.ndarray, kept: np.ndarray) -> None:
        """See that constrained paths still have what is given.

        Args:
            rounded: paths ``(S, P, D)``, some series of which were made whole numbers.
            kept: the same, within bounds.

        Raises:
            OptionError: a value that is given was changed, or bounds moved a total.

        Warns:
            DataWarning: rounding moved a total.
        """
        wrong = np.abs(kept - self.values) > TOLERANCE * (1e-2 + np.abs(self.values))
        for j, d in np.argwhere(wrong.any(0))[:1].tolist():
            became = kept[wrong[:, j, d].argmax(), j, d]
            raise OptionError(
                f"series {self._name(d)} at {self._time(j)} is given as {self.values[j, d]:g}, the "
                f"constraints make it {became:g}: leave the series out of them, or give another "
                "value"
            )
        for t in self.totals:
            sums = kept @ t.weights
            allowed = TOLERANCE * (np.abs(t.values) + np.abs(kept) @ np.abs(t.weights))
            off = (np.abs(sums - t.values) > allowed).any(0)
            moved = ((rounded != kept) & (t.weights != 0)).any((0, 2))
            for j in np.flatnonzero(off & moved)[:1].tolist():
                raise OptionError(
                    f"the total {t.name!r} at {self._time(j)} is given as {t.values[j]:g}, within "
                    f"the bounds paths have {sums[:, j].min():g} to {sums[:, j].max():g}: give "
                    "wider bounds, or leave the total free (NaN)"
                )
            for j in np.flatnonzero(off)[:1].tolist():
                warn(
                    f"the total {t.name!r} at {self._time(j)} is given as {t.values[j]:g}, paths of"
                    f" whole numbers have {sums[:, j].min():g} to {sums[:, j].max():g}: leave one "
                    "of its series unrounded to keep it",
                )

    def _check(self) -> None:
        shape = self.values.shape
        if self.values.ndim != 2 or not self.values.size:
            raise DataError(f"given values have shape {shape}, not (P, D)")
        for t in self.totals:
            if t.weights.shape != shape[1:] or t.values.shape != shape[:1]:
                raise DataError(
                    f"the total {t.name!r} has weights {t.weights.shape} and values "
                    f"{t.values.shape}, expected ({shape[1]},) and ({shape[0]},)"
                )
            if not np.isfinite(t.weights).all() or not t.weights.any():
                raise DataError(f"the total {t.name!r} has weights that are not finite, or all 0")
        bad = np.argwhere(np.isinf(self.values))
        if len(bad):
            j, d = map(int, bad[0])
            raise DataError(
                f"series {self._name(d)} at {self._time(j)} is given as {self.values[j, d]}: "
                "make it NaN if it is free"
            )
        for t in self.totals:
            if np.isinf(t.values).any():
                j = int(np.isinf(t.values).argmax())
                raise DataError(
                    f"the total {t.name!r} at {self._time(j)} is given as {t.values[j]}: make it "
                    "NaN if it is free"
                )
        for j in range(shape[0]):
            self._check_step(j)

    def _check_step(self, j: int) -> None:
        """Raise a DataError if what is given at a step has no solution."""
        there = [t for t in self.totals if not np.isnan(t.values[j])]
        known = ~np.isnan(self.values[j])
        rows: list[np.ndarray] = []
        sums: list[float] = []
        for i, t in enumerate(there):
            parts = np.where(known, t.weights * np.nan_to_num(self.values[j]), 0.0)
            size = np.abs(t.weights).max()
            rows.append(np.where(known, 0.0, t.weights) / size)
            sums.append((t.values[j] - parts.sum()) / size)
            best = np.linalg.lstsq(np.stack(rows), np.array(sums), rcond=1e-9)[0]
            wrong = np.abs(np.stack(rows) @ best - sums).max()
            if wrong <= TOLERANCE * (np.abs(t.values[j]) + np.abs(parts).sum()) / size:
                continue
            if not rows[-1].any():
                raise DataError(
                    f"the total {t.name!r} at {self._time(j)} is given as {t.values[j]:g}, but all "
                    f"its series are given too and sum to {parts.sum():g}: leave one of them free "
                    "(NaN), or the total"
                )
            others = " and ".join(repr(other.name) for other in there[:i])
            raise DataError(
                f"the total {t.name!r} at {self._time(j)} contradicts {others}: no values have "
                "these totals; leave one of them free (NaN)"
            )

    def _name(self, d: int) -> str:
        return f"number {d}" if self.columns is None else repr(self.columns[d])

    def _time(self, j: int) -> str:
        return f"step {j} of the horizon" if self.index is None else str(self.index[j])
