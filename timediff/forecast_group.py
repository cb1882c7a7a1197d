"""The forecasts of several groups: each for itself, or all in one table."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from timediff._any_table import by_group
from timediff._tables import check_distinct
from timediff.errors import DataError
from timediff.results import Forecast
from timediff.types import Number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ForecastGroup(dict[Hashable, Forecast]):
    """The forecasts of several groups, by the caller's keys."""

    @property
    def _column(self) -> str:
        """The caller's name of the groups."""
        return next(iter(self.values())).names.group or "group"

    def _keys(self, tables: Sequence[pd.DataFrame]) -> pd.Index:
        """The group of each row of tables, one of each group; a tuple is one key."""
        return pd.Index(list(self), tupleize_cols=False).repeat([len(table) for table in tables])

    def _stacked(self, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Tables over time, one of each group, as one over (group, time)."""
        table = pd.concat(tables)
        names = [self._column, table.index.name]
        index = pd.MultiIndex.from_arrays([self._keys(tables), table.index], names=names)
        return table.set_axis(index, axis=0)

    def to_frame(self, **options: Any) -> pd.DataFrame:
        """The tables of all groups, one after another, the first column says of which group."""
        tables = [forecast.to_frame(**options) for forecast in self.values()]
        table = pd.concat(tables, ignore_index=True)
        check_distinct([self._column, *table.columns])
        table.insert(0, self._column, self._keys(tables))
        return table

    def mean(self) -> pd.DataFrame:
        """The mean of the paths of each group, (group, time) × series."""
        return self._stacked([forecast.mean() for forecast in self.values()])

    def median(self) -> pd.DataFrame:
        """The median of the paths of each group, (group, time) × series."""
        return self._stacked([forecast.median() for forecast in self.values()])

    def std(self) -> pd.DataFrame:
        """The standard deviation of the paths of each group, (group, time) × series."""
        return self._stacked([forecast.std() for forecast in self.values()])

    def quantile(self, q: Number) -> pd.DataFrame:
        """A quantile of the paths of each group, (group, time) × series."""
        return self._stacked([forecast.quantile(q) for forecast in self.values()])

    def aggregate(self, groups: Mapping[Any, Any] | pd.DataFrame) -> "ForecastGroup":
        """The same totals of each group; see :meth:`Forecast.aggregate`."""
        return ForecastGroup({key: one.aggregate(groups) for key, one in self.items()})

    def constrain(
        self,
        lower: Number | Mapping[Any, Any] | pd.Series | None = None,
        upper: Number | Mapping[Any, Any] | pd.Series | None = None,
        integer: Any = False,
    ) -> "ForecastGroup":
        """The same for each group; see :meth:`Forecast.constrain`."""
        kept = {key: one.constrain(lower, upper, integer) for key, one in self.items()}
        return ForecastGroup(kept)

    def plot(self, actuals: Any = None, **options: Any) -> dict[Hashable, "Figure"]:
        """Fan charts, a figure for each group; see :meth:`Forecast.plot`.

        Args:
            actuals: what was observed: a table for each group, or one with the column of groups.
            options: as there.
        """
        seen = self._by_group(actuals) if actuals is not None else {}
        return {key: one.plot(seen.get(key), **options) for key, one in self.items()}

    def _by_group(self, actuals: Any) -> Mapping[Hashable, Any]:
        """What was observed, by group.

        Raises:
            DataError: it is neither a dict nor a table with the column of groups.
        """
        found = by_group(actuals, self._column)
        if not isinstance(found, Mapping):
            raise DataError(
                f"there are several groups, {list(self)}: give a table for each in a dict, or one "
                f"with the column {self._column!r}"
            )
        return found

    def score(self, actuals: Any) -> pd.DataFrame:
        """Scores of each group, a row each.

        Args:
            actuals: a table for each group, or one with the column of groups.
        """
        actuals = self._by_group(actuals)
        missing = [key for key in self if key not in actuals]
        if missing:
            raise DataError(f"there are no observations of group {missing[0]!r}")
        return pd.DataFrame({key: self[key].score(actuals[key]) for key in self}).T
