"""Curves of training, and the chain: what is drawn is what happened."""

import pickle

import numpy as np
import pandas as pd
import pytest

from tests.conftest import QUICK, entry, quick_estimator
from tests.test_forecaster import quick, table
from timediff import DataError, Forecaster, OptionError, TimeGradPredictor
from timediff.diffusion import SAMPLERS
from timediff.plot_training import Recorder, plot_chain, plot_training


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return quick(**{**QUICK, "max_epochs": 2, "diffusion_runs": 2}).fit(table())


def test_the_curves_hold_every_epoch_of_every_stage(fitted):
    curves = fitted.predictor.curves
    found = curves[["stage", "run", "epoch"]].to_numpy().tolist()
    assert found == [["prior", 0, 1]] + [["diffusion", run, e] for run in (0, 1) for e in (1, 2)]
    assert np.isfinite(curves[["train_loss", "val_loss"]]).all().all()
    figure = fitted.plot_training()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["prior", "diffusion, 2 runs"]
    line = next(x for x in figure.axes[1].lines if x.get_label() == "held-out windows")
    assert line.get_ydata().tolist() == curves.val_loss[1:3].tolist()


def test_training_again_is_a_line_of_its_own():
    columns = ["stage", "run", "epoch", "train_loss", "val_loss"]
    rows = [["prior", 0, 1, 2.0, 2.1], ["prior", 0, 2, 1.5, 2.0], ["prior", 1, 1, 1.9, np.nan]]
    (ax,) = plot_training(pd.DataFrame(rows, columns=columns)).axes
    assert ax.get_title(loc="left") == "prior"
    assert [x.get_label() for x in ax.lines if x.get_label()[0] != "_"] == [
        "training",
        "held-out windows",
        "training again, on all",
    ]


def test_a_single_epoch_is_a_whole_number():
    columns = ["stage", "run", "epoch", "train_loss", "val_loss"]
    (ax,) = plot_training(pd.DataFrame([["prior", 0, 1, 2.0, 2.1]], columns=columns)).axes
    assert all(tick == round(tick) for tick in ax.get_xticks())


def test_curves_without_validation_have_none():
    curves = quick_estimator(validation_windows=0).train([entry()]).curves
    assert curves.val_loss.isna().all() and curves.train_loss.notna().all()
    assert plot_training(curves).axes


def test_the_curves_are_saved_with_the_model(fitted, tmp_path):
    loaded = Forecaster.load(fitted.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(loaded.predictor.curves, fitted.predictor.curves)
    assert len(loaded.plot_training().axes) == 2
    unchecked = quick_estimator(validation_windows=0).train([entry()])
    unchecked.serialize(tmp_path)
    again = TimeGradPredictor.deserialize(tmp_path)
    pd.testing.assert_frame_equal(again.curves, unchecked.curves)  # NaN where nothing is held out
    for other in (again.compiled(), again.on(batch_size=3), pickle.loads(pickle.dumps(again))):
        assert other.curves is not None


def test_a_model_saved_without_curves_has_none(fitted, tmp_path):
    predictor = fitted.predictor
    path = tmp_path / "model"
    path.mkdir()
    TimeGradPredictor(predictor.network, predictor.spec, predictor.columns).serialize(path)
    assert TimeGradPredictor.deserialize(path).curves is None
    with pytest.raises(DataError, match="no curves"):
        plot_training(None)


def test_the_recorded_chain_is_the_one_that_draws(predictor):
    recorder = Recorder(SAMPLERS.build("ddpm"))
    (forecast,) = predictor.predict([entry()], num_samples=5, seed=1, sampler=recorder)
    (expected,) = predictor.predict([entry()], num_samples=5, seed=1, sampler="ddpm")
    assert np.array_equal(forecast.samples, expected.samples)
    steps, x = recorder.chain()
    assert steps == list(range(10, -1, -1)) and x.shape[0] == 11 and x.shape[2] == 3
    assert x[0, :5].std() > 0.3  # noise, of five paths


def test_the_chain_is_drawn(fitted):
    figure = fitted.plot_chain(["c", "a"])
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[0] == "step 10" and titles[4] == "step 0"
    assert figure.axes[0].get_xlabel() == "c" and figure.axes[0].get_ylabel() == "a"
    with pytest.raises(OptionError, match="'d'"):
        fitted.plot_chain(["d", "a"])
    for wrong in (["a", "a"], ["a", "b", "c"], []):
        with pytest.raises(OptionError, match="of one series, or two"):
            plot_chain(fitted.predictor, entry(), wrong)


def test_the_chain_of_one_series_is_its_density(fitted):
    single = quick(**QUICK).fit(table()[["a"]])
    for figure in (single.plot_chain(), fitted.plot_chain("a")):
        first = figure.axes[0]
        assert first.get_xlabel() == "a" and first.get_ylabel() == "density"
        areas = [bar.get_height() * bar.get_width() for bar in first.patches]
        assert sum(areas) == pytest.approx(1) and len(figure.axes) == 6
