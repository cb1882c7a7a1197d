"""Fan charts draw what the forecast says."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import entry
from timediff import OptionError
from timediff.baselines import PastSeasons
from timediff.plot import fan_chart


@pytest.fixture
def forecast():
    data = entry(info={"columns": ["x", "y", "z"]})
    return next(PastSeasons(6, season=24, num_seasons=9).predict([data], num_samples=40, seed=0))


def test_one_panel_a_series_and_one_for_the_sum(forecast, tmp_path):
    figure = fan_chart(forecast)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "x",
        "y",
        "z",
        "sum of all 3 series",
    ]
    assert len(fan_chart(forecast, series=["y"], total=False).axes) == 1
    figure.savefig(tmp_path / "fan.png")
    assert (tmp_path / "fan.png").stat().st_size > 10_000


def test_the_median_line_is_the_median_of_the_paths(forecast):
    figure = fan_chart(forecast, series=["z"])
    for ax, paths in zip(
        figure.axes, (forecast.samples[:, :, 2], forecast.samples.sum(2)), strict=True
    ):
        median = np.quantile(paths, 0.5, axis=0)
        drawn = [np.asarray(line.get_ydata(), dtype=float) for line in ax.lines]
        assert any(len(y) == 6 and np.allclose(y, median, atol=1e-5) for y in drawn)


def test_actuals_are_drawn_and_neither_table_is_changed(forecast):
    index = pd.date_range("2024-01-01", periods=246, freq="h")
    table = pd.DataFrame(np.arange(738.0).reshape(246, 3), index=index, columns=["x", "y", "z"])
    before = table.copy()
    figure = fan_chart(forecast, history=table[:240], target=table, series=["x"], total=False)
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in figure.axes[0].lines])
    assert table["x"].iloc[-1] in values
    pd.testing.assert_frame_equal(table, before)


def test_mistakes_are_named(forecast):
    with pytest.raises(OptionError, match="w"):
        fan_chart(forecast, series=["w"])
    with pytest.raises(ValueError, match="no forecast"):
        fan_chart([])
