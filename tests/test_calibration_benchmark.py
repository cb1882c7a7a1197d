"""The benchmark of recalibration learns from windows before the test, and scores those after."""

from argparse import Namespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import calibration
from tests.test_recalibration import gaussian


def test_the_windows_to_learn_from_end_where_the_test_starts():
    data = calibration.load_dataset("traffic")
    first = calibration.past(data, 3)
    train, whole = first.train[0]["target"], data.train[0]["target"]
    assert train.shape[1] == whole.shape[1] - 3 * 24
    assert [e["target"].shape[1] - train.shape[1] for e in first.test] == [24, 48, 72]
    np.testing.assert_array_equal(calibration.targets(first)[-1].numpy().T, whole[:, -24:])


def test_what_is_too_certain_is_better_in_every_variant():
    rng = np.random.default_rng(0)
    (known, seen), (test, y) = gaussian(40, rng, 0.5), gaussian(40, rng, 0.5)
    found = calibration.variants((known, test), (seen, y))
    assert list(found) == ["before", *calibration.VARIANTS]
    rows = pd.DataFrame({name: row for name, (row, _) in found.items()}).T
    assert (rows["miscoverage"][1:] < 0.5 * rows["miscoverage"].iloc[0]).all()
    assert (rows["crps"][1:] < rows["crps"].iloc[0]).all()
    assert all(curve.shape == (2, 19) for _, curve in found.values())
    table = rows.assign(data="x", model="m", variant=rows.index)
    before, after = rows.loc[["before", "default"], "coverage90"]
    assert f"x {before:.3f} to {after:.3f} (CRPS -" in calibration.title(table)
    curves = {("x", "m", name): curve for name, (_, curve) in found.items()}
    line = calibration.picture(curves, [("x", "m")]).axes[1].lines[1]
    assert line.get_ydata()[9] == pytest.approx(100 * (found["before"][1][1, 9] - 0.5))


def test_paths_are_drawn_once(tmp_path, monkeypatch):
    data = calibration.load_dataset("traffic")
    first = calibration.past(data, 2)
    monkeypatch.setattr(calibration, "simple_forecasts", lambda *_: {"twin": Twin()})
    given = Namespace(preset="twin", runs=tmp_path, seed=0)
    before, test = calibration.drawn(data, first, given, {})["twin"]
    assert before.shape[0] == 2 and test.shape[0] == len(data.test)
    monkeypatch.setattr(Twin, "predict", None)
    np.testing.assert_array_equal(calibration.drawn(data, first, given, {})["twin"][1], test)


class Twin:
    """Draws every window's last day."""

    def predict(self, entries, num_samples, seed):
        for entry in entries:
            yield Namespace(samples=entry["target"][None, :, -24:].transpose(0, 2, 1))
