"""Pictures of calibration and of the joint law show what they say."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from tests.test_recalibration import backtest, forecast
from timediff import Forecast, OptionError, Recalibration
from timediff.scores import coverage, coverage_sum


def small() -> Forecast:
    rng = np.random.default_rng(0)
    history = {
        "start": pd.Period("2023-12-31", "h"),
        "target": rng.standard_normal((3, 24)).astype(np.float32),
        "info": {"columns": list("abc")},
    }
    return forecast(rng.standard_normal((60, 6, 3)).astype(np.float32), history=history)


def test_reliability_is_the_coverage_of_series_and_sum(tmp_path):
    tested = backtest(30)
    figure = tested.plot_calibration()
    axes = figure.axes
    assert [ax.get_title(loc="left") for ax in axes[:2]] == ["each series", "the sum"]
    for ax, score in zip(axes[:2], (coverage, coverage_sum), strict=True):
        curve = next(line for line in ax.lines if line.get_label() == "forecast")
        at = {round(x): y for x, y in curve.get_xydata()}
        expected = score(tested._paths(), tested._target, 0.8)
        assert at[80] == pytest.approx(100 * expected.item(), abs=1e-3)
    figure.savefig(tmp_path / "calibration.png")


def test_after_a_recalibration_the_curve_is_that_of_windows_left_out():
    tested, fresh = backtest(30), backtest(30, seed=1)
    recalibration = Recalibration(tested)
    for one, after in (
        (tested, recalibration.held_out()),
        (fresh, recalibration.apply(fresh).samples),
    ):
        ax = one.plot_calibration(recalibration).axes[0]
        lines = {line.get_label(): line for line in ax.lines}
        assert {"before", "after"} <= set(lines)
        at = {round(x): y for x, y in lines["after"].get_xydata()}
        pair = type(one)(
            [f.with_samples(x) for f, x in zip(one.forecasts, after, strict=True)], one.actuals
        )
        assert at[90] == pytest.approx(pair.coverage([90])["series"].item(), abs=1e-3)


def test_a_histogram_of_ranks_is_a_density():
    for patch in backtest(30).plot_calibration().axes[2].patches:
        values, edges, _ = patch.get_data()
        assert (values * np.diff(edges)).sum() == pytest.approx(1)
        assert values[[0, -1]].mean() > 1.3  # too certain: a U


def test_paths_in_colour_are_the_same_in_all_panels():
    one = small()
    figure = one.plot_paths(3)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "a",
        "b",
        "c",
        "sum of all 3 series",
    ]
    shown = [[line.get_ydata() for line in ax.lines if line.get_lw() == 1.6] for ax in figure.axes]
    totals = one.samples.sum((1, 2))
    picks = []
    for paths in zip(*shown, strict=True):
        (pick,) = np.flatnonzero((one.samples[..., 0] == paths[0]).all(1))
        picks.append(pick)
        for i in range(3):
            np.testing.assert_array_equal(paths[i], one.samples[pick, :, i])
        np.testing.assert_allclose(paths[3], one.samples[pick].sum(-1), rtol=1e-5, atol=1e-6)
    assert [(totals < totals[pick]).sum() for pick in picks] == [10, 30, 50]
    assert len(one.plot_paths(1, series=["b"]).axes) == 1
    with pytest.raises(OptionError, match="n is 7"):
        one.plot_paths(7)


def test_a_total_is_drawn_with_the_distribution_of_the_whole_horizon():
    one = small()
    table = pd.DataFrame(np.ones((6, 3)), one.index, list("abc"))
    figure = one.plot_total({"two": ["a", "b"], "spread": {"a": 1, "c": -1}}, actuals=table)
    fan, whole, _, spread = figure.axes
    assert fan.get_title(loc="left") == "two" and len(figure.axes) == 4
    at = {line.get_label(): line.get_xdata()[0] for line in whole.lines}
    assert at["median"] == pytest.approx(np.median(one.samples[..., :2].sum((1, 2))))
    assert at["observed"] == pytest.approx(12)
    assert {line.get_label(): line.get_xdata()[0] for line in spread.lines}["observed"] == 0
    assert one.plot_total().axes[0].get_title(loc="left") == "sum of all series"
    unknown = one.with_samples(np.where(np.arange(3) == 0, np.nan, one.samples))
    distribution = unknown.plot_total().axes[1]
    assert [text.get_text() for text in distribution.texts] == ["not known"]


def test_nothing_global_changes():
    before = dict(matplotlib.rcParams)
    small().plot_paths()
    small().plot_total()
    assert dict(matplotlib.rcParams) == before
