"""The estimator and predictor as GluonTS uses them, and every trap on the way."""

import copy
import dataclasses
import json
import logging
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.dataset.common import FileDataset, ListDataset
from gluonts.dataset.jsonl import JsonLinesWriter
from gluonts.dataset.multivariate_grouper import MultivariateGrouper
from gluonts.dataset.pandas import PandasDataset
from gluonts.dataset.split import split
from gluonts.ev.metrics import MSE, MeanWeightedSumQuantileLoss
from gluonts.evaluation import MultivariateEvaluator, backtest_metrics, make_evaluation_predictions
from gluonts.model.estimator import Estimator
from gluonts.model.evaluation import evaluate_model
from gluonts.model.predictor import Predictor
from gluonts.torch.model.estimator import PyTorchLightningEstimator
from gluonts.torch.model.predictor import PyTorchPredictor
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from tests.conftest import QUICK, entry, quick_estimator, series
from timediff import (
    DataError,
    JointForecast,
    OptionError,
    SavedModelError,
    TimediffError,
    TimeGradEstimator,
    TimeGradPredictor,
)
from timediff.device import best_device
from timediff.diffusion import compiler
from timediff.diffusion.denoisers import MLP
from timediff.entries import read_dataset
from timediff.options import PRESETS, Options
from timediff.saving import FORMAT, checksum
from timediff.splits import split_windows, window_spec
from timediff.validation import improved, path_energy


def list_dataset():
    return ListDataset([entry()], freq="h", one_dim_target=False)


def file_dataset(tmp_path):
    JsonLinesWriter(use_gzip=False).write_to_file(list_dataset(), tmp_path / "data.json")
    return FileDataset(tmp_path, freq="h", one_dim_target=False)


def pandas_dataset():
    index = pd.date_range("2024-01-01", periods=240, freq="h")
    frame = pd.DataFrame(series().T, index=index, columns=["x", "y", "z"])
    return PandasDataset(frame, target=["x", "y", "z"])


def grouped_dataset():
    rows = [{"start": pd.Period("2024-01-01", "h"), "target": row} for row in series()]
    return MultivariateGrouper(max_target_dim=3)(ListDataset(rows, freq="h"))


@pytest.mark.parametrize("kind", ["list", "file", "pandas", "grouped", "generator"])
def test_trains_on_every_kind_of_dataset(kind, tmp_path):
    data = {
        "list": list_dataset,
        "file": lambda: file_dataset(tmp_path),
        "pandas": pandas_dataset,
        "grouped": grouped_dataset,
        "generator": lambda: (e for e in [entry()]),
    }[kind]()
    predictor = quick_estimator().train(data)
    if kind == "generator":
        data = (e for e in [entry()])
    (forecast,) = predictor.predict(data, num_samples=5)
    assert forecast.samples.shape == (5, 6, 3)
    assert forecast.start_date == pd.Period("2024-01-11", "h")
    assert np.isfinite(forecast.samples).all()


def test_is_what_gluonts_takes_it_for():
    estimator = quick_estimator()
    assert isinstance(estimator, PyTorchLightningEstimator) and isinstance(estimator, Estimator)
    assert issubclass(TimeGradPredictor, PyTorchPredictor)


def test_several_entries_of_different_lengths_train_together():
    data = [entry(240), entry(100, seed=1), entry(61, seed=2)]
    predictor = quick_estimator().train(data)
    forecasts = list(predictor.predict(data, num_samples=4))
    assert [f.start_date - data[0]["start"] for f in forecasts] == [
        pd.tseries.offsets.Hour(n) for n in (240, 100, 61)
    ]


def test_univariate_entries_give_univariate_forecasts():
    rows = [
        {"start": "2024-01-01", "target": row, "item_id": str(i)} for i, row in enumerate(series())
    ]
    data = ListDataset(rows, freq="h")
    forecasts = list(quick_estimator().train(data).predict(data, num_samples=4))
    assert [f.samples.shape for f in forecasts] == [(4, 6)] * 3
    assert [f.item_id for f in forecasts] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "freq", ["5min", "15min", "h", "D", "B", "W", "M", "ME", "MS", "Q", "Y", "2h"]
)
def test_every_frequency_trains_and_forecasts(freq):
    start = pd.Period("1990-01-01", {"ME": "M", "MS": "M"}.get(freq, freq))
    data = [{"start": start, "target": series(60, 2)}]
    estimator = TimeGradEstimator(freq, 4, seed=0, **{**QUICK, "num_batches_per_epoch": 1})
    (forecast,) = estimator.train(data).predict(data, num_samples=3)
    assert forecast.start_date == start + 60
    assert np.isfinite(forecast.samples).all()


def test_a_short_history_caps_the_lags_and_says_so(caplog):
    with caplog.at_level(logging.INFO, logger="timediff"):
        predictor = quick_estimator().train([entry(60)])
    assert max(predictor.spec.lookback, *predictor.spec.seasonal) <= (60 - 6) // 2
    assert "seasonal values beyond 27 steps left out" in caplog.text
    with caplog.at_level(logging.INFO, logger="timediff"):
        predictor = quick_estimator(prior=False).train([entry(60)])
    assert max(predictor.spec.lags) <= (60 - 6) // 2
    assert "lags [48, 168, 336] left out" in caplog.text


def test_validation_data_and_early_stopping():
    data, held_out = [entry(200)], [entry(240)]
    estimator = quick_estimator(max_epochs=30, patience=1, lr=0.3)
    output = estimator.train_model(data, held_out)
    assert output.trainer.current_epoch < 30
    assert "val_loss" in output.trainer.callback_metrics
    without = quick_estimator(validation_windows=0).train_model(data)
    assert "val_loss" not in without.trainer.callback_metrics


@pytest.mark.parametrize(
    ("horizons", "held_out"),
    [(2, 0), (3, 1), (5, 1), (6, 2), (9, 2), (10, 1), (39, 3), (300, 14)],
)
def test_a_tenth_is_held_out_and_of_a_short_history_one_or_two_horizons(horizons, held_out):
    steps, p = horizons * 12 + 5, 12
    panels = read_dataset([entry(steps)], "h")
    spec = window_spec(Options.from_preset("default"), "h", p, steps)
    train, validation, _ = split_windows(panels, spec, 14)
    last_seen = int(train[:, 1].max()) + p
    assert steps - last_seen == held_out * p
    assert all(last_seen <= start <= steps - p for start in validation[:, 1].tolist())
    assert (len(validation) > 0) == (held_out > 0)
    assert not len(split_windows(panels, spec, 0)[1])


def test_training_on_a_few_horizons_is_validated():
    output = quick_estimator(max_epochs=3).train_model([entry(7 * 6)])
    assert "val_loss" in output.trainer.callback_metrics


def test_the_best_epoch_is_kept():
    class Spoil(Callback):
        """Ruins the weights after the first epoch."""

        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1:
                for p in [*module.network.parameters(), *module.average.parameters()]:
                    p.data.fill_(7.0)

    kwargs = {**QUICK["trainer_kwargs"], "callbacks": [Spoil()]}
    predictor = quick_estimator(max_epochs=3, trainer_kwargs=kwargs, validation_windows=3).train(
        [entry()]
    )
    assert not any((p == 7.0).all() for p in predictor.network.parameters())


def test_the_average_of_weights_reaches_the_predictor():
    output = quick_estimator(max_epochs=2, validation_windows=0).train_model([entry()])
    module = output.trained_net
    average = dict(module.average.module.named_parameters())
    last = dict(module.network.named_parameters())
    for name, p in output.predictor.network.named_parameters():
        assert torch.equal(p, average[name])
    assert any(not torch.equal(average[name], last[name]) for name in last)


def test_the_same_seed_gives_the_same_model_and_paths_and_leaves_the_global_state_alone():
    data = [entry()]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = (quick_estimator(seed=3).train(data) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    other = quick_estimator(seed=4).train(data)
    draw = lambda p, seed: next(p.predict(data, num_samples=5, seed=seed)).samples  # noqa: E731
    assert np.array_equal(draw(one, 1), draw(two, 1))
    assert not np.array_equal(draw(one, 1), draw(one, 2))
    assert not np.array_equal(draw(one, 1), draw(other, 1))


def test_paths_do_not_depend_on_the_prediction_batch(predictor):
    data = [entry(240 - i) for i in range(5)]
    together = [f.samples for f in predictor.predict(data, num_samples=33, seed=1)]
    small = copy.deepcopy(predictor)
    small.batch_size = 2
    apart = [f.samples for f in small.predict(data, num_samples=7, seed=1)]
    for a, b in zip(together, apart, strict=True):
        assert np.array_equal(a[:7], b)


def draw(predictor) -> np.ndarray:
    (forecast,) = predictor.predict([entry()], num_samples=4, seed=1)
    return forecast.samples


@pytest.mark.slow  # half a minute of compilation
@pytest.mark.parametrize("options", [{}, {"denoiser": "wavenet"}], ids=["mlp", "wavenet"])
def test_a_compiled_predictor_draws_the_same_paths(options):
    predictor = quick_estimator(**options).train([entry()])
    fast = predictor.compiled()
    np.testing.assert_allclose(draw(fast), draw(predictor), rtol=1e-3, atol=1e-3)
    kernel = predictor.network.diffusion.denoiser.kernel
    assert kernel in fast.network.diffusion.denoiser.__dict__  # it did not fall back
    assert kernel not in predictor.network.diffusion.denoiser.__dict__


def test_a_compiled_predictor_stays_compiled_with_another_sampler(predictor):
    fast = predictor.compiled().with_sampler("ddim", steps=3)
    assert fast.network.diffusion.denoiser.is_compiled
    assert not predictor.with_sampler("ddim", steps=3).network.diffusion.denoiser.is_compiled


def test_the_memory_budget_says_how_many_windows_are_drawn_at_a_time(predictor, monkeypatch):
    data = [entry(240 - i) for i in range(5)]
    drawn, sizes = [], []
    sample = predictor.network.sample
    for budget in (float("inf"), 4.0, 1e-5):
        sizes.append([])
        options = dataclasses.replace(predictor.network.options, memory_budget=budget)
        monkeypatch.setattr(predictor.network, "options", options)
        monkeypatch.setattr(
            predictor.network,
            "sample",
            lambda b, *a: sizes[-1].append(len(b.target)) or sample(b, *a),
        )
        drawn.append([f.samples for f in predictor.predict(iter(data), num_samples=4, seed=1)])
    assert sizes == [[5], [5], [1] * 5]
    assert np.array_equal(drawn[0], drawn[1]) and np.array_equal(drawn[0], drawn[2])


def test_without_a_compiler_a_compiled_predictor_draws_as_the_plain_one(
    predictor, monkeypatch, caplog
):
    def refuse(function, **kwargs):
        def call(*inputs):
            raise RuntimeError("no compiler here")

        return call

    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setattr(compiler, "library", lambda *of: None)
    with caplog.at_level(logging.INFO, logger="timediff"):
        fast = predictor.compiled()
        assert np.array_equal(draw(fast), draw(predictor))
    assert caplog.text.count("not compiled: no compiler here") == 1
    assert np.array_equal(draw(pickle.loads(pickle.dumps(predictor.compiled()))), draw(predictor))


def test_gradients_accumulate_where_the_trainer_is_told_so():
    steps = []

    class Steps(Callback):
        def on_train_end(self, trainer, module):
            steps.append(trainer.global_step)

    for number in (1, 2):
        kwargs = {**QUICK["trainer_kwargs"], "callbacks": [Steps()]}
        kwargs["accumulate_grad_batches"] = number
        quick_estimator(trainer_kwargs=kwargs).train([entry()])
    assert steps == [3, 3, 2, 2]


def test_training_on_from_a_predictor_of_another_horizon_is_refused(predictor):
    other = TimeGradEstimator("h", 12, trainer_kwargs=QUICK["trainer_kwargs"])
    with pytest.raises(OptionError, match="forecasts 6 steps of 'h', this estimator 12"):
        other.train_from(predictor, [entry()])


def test_training_on_from_a_predictor(predictor):
    start = {name: t.clone() for name, t in predictor.network.state_dict().items()}
    estimator = quick_estimator(lr=1e-9, prior_lr=1e-9, ema_decay=None)
    trained = estimator.train_from(predictor, [entry(seed=1)])
    for name, p in trained.network.named_parameters():
        assert torch.allclose(p, start[name], atol=1e-6), name
    for name, t in predictor.network.state_dict().items():
        assert torch.equal(t, start[name]), "the predictor itself was changed"
    with pytest.raises(OptionError, match="the predictor is of another network"):
        quick_estimator(hidden_size=9).train_from(predictor, [entry()])


# -- GluonTS's own evaluation ----------------------------------------------------------------


def test_make_evaluation_predictions_and_the_multivariate_evaluator(predictor):
    forecasts, targets = make_evaluation_predictions(list_dataset(), predictor, num_samples=10)
    evaluator = MultivariateEvaluator(quantiles=[0.1, 0.5, 0.9], target_agg_funcs={"sum": np.sum})
    total, _ = evaluator(targets, forecasts, num_series=1)
    assert 0 < total["mean_wQuantileLoss"] < 1 and 0 < total["m_sum_mean_wQuantileLoss"] < 1


def test_evaluate_model(predictor):
    _, template = split(list_dataset(), offset=-12)
    test_data = template.generate_instances(6, windows=2)
    metrics = [MSE(), MeanWeightedSumQuantileLoss([0.1, 0.5, 0.9])]
    table = evaluate_model(predictor, test_data=test_data, metrics=metrics)
    assert np.isfinite(table.to_numpy(dtype=float)).all()


def test_backtest_metrics(predictor):
    evaluator = MultivariateEvaluator(quantiles=[0.5], num_workers=0)
    total, _ = backtest_metrics(list_dataset(), predictor, evaluator, num_samples=10)
    assert np.isfinite(total["mean_wQuantileLoss"])


def test_conveniences_of_a_forecast_work_for_several_series(predictor):
    """GluonTS: ``mean_ts``, ``quantile_ts`` and ``plot`` raise on multivariate forecasts."""
    data = entry(info={"columns": ["x", "y", "z"]})
    (forecast,) = predictor.predict([data], num_samples=9)
    assert isinstance(forecast, JointForecast)
    assert list(forecast.mean_ts.columns) == ["x", "y", "z"]
    np.testing.assert_array_equal(forecast.mean_ts.to_numpy(), forecast.mean)
    np.testing.assert_array_equal(forecast.quantile_ts(0.9).to_numpy(), forecast.quantile(0.9))
    assert len(forecast.plot().axes) >= 3
    one = forecast.copy_dim(1)
    assert one.samples.shape == (9, 6)


# -- changing the sampler --------------------------------------------------------------------


def test_the_sampler_can_be_changed(predictor):
    data = [entry()]
    usual = next(predictor.predict(data, num_samples=3, seed=0)).samples
    changed = predictor.with_sampler("dpm_solver", steps=7, order=3)
    drawn = next(changed.predict(data, num_samples=3, seed=0)).samples
    assert not np.array_equal(usual, drawn)
    direct = next(predictor.predict(data, num_samples=3, seed=0, sampler="ddim", steps=4)).samples
    ddim = predictor.with_sampler("ddim", steps=4)
    assert np.array_equal(direct, next(ddim.predict(data, num_samples=3, seed=0)).samples)
    steps_only = next(predictor.predict(data, num_samples=3, seed=0, steps=3)).samples
    three = predictor.with_sampler("adams", steps=3)
    assert np.array_equal(steps_only, next(three.predict(data, num_samples=3, seed=0)).samples)
    assert np.array_equal(usual, next(predictor.predict(data, num_samples=3, seed=0)).samples)
    for wrong in ({"sampler": "ddmp"}, {"sampler": "ddim", "steps": 11}, {"steps": 0}):
        with pytest.raises(OptionError):
            next(predictor.predict(data, **wrong))


# -- saving ----------------------------------------------------------------------------------

LOAD = """
import sys, numpy as np, pandas as pd
from pathlib import Path
from gluonts.model.predictor import Predictor
predictor = Predictor.deserialize(Path(sys.argv[1]))
target = np.load(sys.argv[2])
data = [{"start": pd.Period("2024-01-01", "h"), "target": target, "item_id": "a"}]
np.save(sys.argv[3], next(predictor.predict(data, num_samples=4, seed=9)).samples)
"""


@pytest.mark.parametrize("options", [{}, {"preset": "paper"}], ids=["default", "paper"])
def test_serialize_round_trips_exactly_in_another_process(options, tmp_path):
    predictor = quick_estimator(**options).train([entry()]).with_sampler("ddim", steps=4, eta=0.5)
    saved = tmp_path / "model"
    saved.mkdir()
    predictor.serialize(saved)
    assert {p.name for p in saved.iterdir()} == {
        "model.safetensors", "config.json", "gluonts-config.json",
    }  # fmt: skip
    np.save(tmp_path / "target.npy", entry()["target"])
    out = tmp_path / "samples.npy"
    subprocess.run(
        [sys.executable, "-c", LOAD, str(saved), str(tmp_path / "target.npy"), str(out)], check=True
    )
    here = next(predictor.predict([entry()], num_samples=4, seed=9)).samples
    assert np.array_equal(here, np.load(out))


def signed(text: str) -> str:
    """A configuration with the checksum that belongs to it."""
    config = json.loads(text)
    return json.dumps({**config, "config_sha256": checksum(config)})


def test_a_damaged_model_is_refused(predictor, tmp_path):
    predictor.serialize(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole, text = weights.read_bytes(), config.read_text()
    weights.write_bytes(whole[:-8])
    with pytest.raises(SavedModelError, match="truncated or altered"):
        Predictor.deserialize(tmp_path)
    weights.write_bytes(whole)
    config.write_text(text.replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'))
    with pytest.raises(SavedModelError, match=f"reads {FORMAT}: upgrade"):
        Predictor.deserialize(tmp_path)
    for damaged in (text[:100], ""):
        config.write_text(damaged)
        with pytest.raises(SavedModelError, match=r"config\.json is truncated or altered"):
            TimeGradPredictor.deserialize(tmp_path)
    config.write_bytes(b"\xff")
    with pytest.raises(SavedModelError, match=r"config\.json is truncated or altered"):
        Predictor.deserialize(tmp_path)
    config.write_text(text.replace('"hidden_size": 8', '"hidden_size": 9'))
    with pytest.raises(SavedModelError, match="is altered"):
        Predictor.deserialize(tmp_path)
    config.write_text(signed(config.read_text()))
    with pytest.raises(SavedModelError, match="does not describe"):
        Predictor.deserialize(tmp_path)
    config.unlink()
    with pytest.raises(SavedModelError):
        Predictor.deserialize(tmp_path)


def test_loading_imports_nothing_that_the_files_name(predictor, tmp_path):
    """GluonTS's decoder imports any dotted name that it finds in its JSON."""
    predictor.serialize(tmp_path)
    (tmp_path / "trap_module.py").write_text("raise SystemExit('imported')")
    config = json.loads((tmp_path / "config.json").read_text())
    config["columns"] = [{"__kind__": "type", "class": "trap_module.Trap"}]
    (tmp_path / "config.json").write_text(signed(json.dumps(config)))
    sys.path.insert(0, str(tmp_path))
    try:
        loaded = TimeGradPredictor.deserialize(tmp_path)
    finally:
        sys.path.remove(str(tmp_path))
    assert "trap_module" not in sys.modules
    assert loaded.columns == config["columns"]


def test_an_unnamed_plugin_is_not_half_saved(predictor, tmp_path):
    from timediff.diffusion import SAMPLERS

    own = predictor.with_sampler(SAMPLERS.build("ddim", steps=3))
    assert np.isfinite(next(own.predict([entry()], num_samples=2)).samples).all()
    with pytest.raises(SavedModelError, match="register"):
        own.serialize(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_copies_draw_the_same(predictor):
    for other in (copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):
        a, b = (
            next(p.predict([entry()], num_samples=2, seed=1)).samples for p in (predictor, other)
        )
        assert np.array_equal(a, b)


# -- the traps of GluonTS 0.17 that FINDINGS lists, each closed -------------------------------


class Counter(Callback):
    """Counts epochs."""

    def __init__(self):
        self.epochs = 0

    def on_train_epoch_end(self, trainer, module):
        self.epochs += 1


def test_early_stopping_and_checkpoints_of_the_user_are_of_the_diffusion(tmp_path):
    stop = EarlyStopping("val_loss", patience=1)
    keep = ModelCheckpoint(dirpath=tmp_path, monitor="val_loss", filename="{epoch}")
    seen = []

    class See(Callback):
        def on_fit_start(self, trainer, module):
            own = [c for c in trainer.callbacks if isinstance(c, EarlyStopping)]
            kept = [c for c in trainer.callbacks if c is keep]
            seen.append((module.stage, own[0] is stop, own[0].wait_count, len(own), len(kept)))
            own[0].wait_count = 7  # what a run leaves behind

    kwargs = {**QUICK["trainer_kwargs"], "callbacks": [stop, keep, See()]}
    runs = {"validation_windows": 3, "diffusion_runs": 3}
    quick_estimator(trainer_kwargs=kwargs, **runs).train([entry()])
    first, again = ("diffusion", True, 0, 1, 1), ("diffusion", False, 0, 1, 0)
    assert seen == [("prior", False, 0, 1, 0), first, again, again]
    state = torch.load(keep.best_model_path, weights_only=True)
    assert "optimizer_states" in state


def test_callbacks_are_still_there_in_the_second_training():
    counter = Counter()
    kwargs = {**QUICK["trainer_kwargs"], "callbacks": [counter]}
    estimator = quick_estimator(trainer_kwargs=kwargs, diffusion_runs=3)
    estimator.train([entry()])
    assert counter.epochs == 4  # one of the prior, three of the diffusion, from three starts
    estimator.train([entry()])
    assert counter.epochs == 8
    assert kwargs["callbacks"] == [counter]


def test_an_exception_in_training_is_raised_even_after_a_checkpoint():
    class Fail(Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 2:
                raise RuntimeError("disk on fire")

    kwargs = {**QUICK["trainer_kwargs"], "callbacks": [Fail()]}
    with pytest.raises(RuntimeError, match="disk on fire"):
        quick_estimator(max_epochs=4, trainer_kwargs=kwargs).train([entry()])


def test_training_goes_on_from_a_full_checkpoint_and_refuses_one_of_weights_only(tmp_path):
    full = ModelCheckpoint(dirpath=tmp_path, filename="full", save_last=False)
    kwargs = {**QUICK["trainer_kwargs"], "callbacks": [full]}
    quick_estimator(max_epochs=2, trainer_kwargs=kwargs, patience=99).train([entry()])
    output = quick_estimator(max_epochs=3, patience=99).train_model(
        [entry()], ckpt_path=str(tmp_path / "full.ckpt")
    )
    assert output.trainer.current_epoch == 3
    assert output.trainer.global_step == 9
    with pytest.warns(UserWarning, match="full.ckpt' has 2 epochs already, so nothing more is "):
        quick_estimator(max_epochs=2).train([entry()], ckpt_path=str(tmp_path / "full.ckpt"))
    state = torch.load(tmp_path / "full.ckpt", weights_only=True)
    torch.save({"state_dict": state["state_dict"]}, tmp_path / "weights.ckpt")
    with pytest.raises(OptionError, match="weights only"):
        quick_estimator().train([entry()], ckpt_path=str(tmp_path / "weights.ckpt"))
    with pytest.raises(OptionError, match="cannot be read"):
        quick_estimator().train([entry()], ckpt_path=str(tmp_path / "none.ckpt"))
    for other in (quick_estimator(hidden_size=9), quick_estimator(3), quick_estimator(prior=False)):
        with pytest.raises(OptionError, match=r"full.ckpt' is of another network: .*hidden_size"):
            other.train([entry()], ckpt_path=str(tmp_path / "full.ckpt"))


def test_a_model_with_numbers_of_numpy_is_saved(predictor, tmp_path, unchecked):
    made = quick_estimator(steps=np.int64(2), dropout=np.float32(0.5)).train([entry()])
    made.serialize(tmp_path)
    assert Predictor.deserialize(tmp_path).network.options == made.network.options
    one, other = (next(predictor.predict([entry()], 2, 0, steps=k)) for k in (np.int64(2), 2))
    np.testing.assert_array_equal(one.samples, other.samples)


def test_no_validation_on_purpose_is_no_warning(recwarn):
    quick_estimator(validation_windows=0).train([entry()])
    assert not [w for w in recwarn if "val_dataloader" in str(w.message)]


def test_nothing_is_written_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    list(quick_estimator(max_epochs=2).train([entry()]).predict([entry()], num_samples=2))
    assert list(tmp_path.iterdir()) == []


def test_a_logger_that_is_asked_for_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from lightning.pytorch.loggers import CSVLogger

    kwargs = {**QUICK["trainer_kwargs"], "logger": CSVLogger(tmp_path / "logs")}
    quick_estimator(trainer_kwargs=kwargs).train([entry()])
    assert list((tmp_path / "logs").rglob("metrics.csv"))


def test_auto_is_cuda_before_mps_before_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert best_device() == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert best_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert best_device() == torch.device("cuda")
    assert best_device("cpu") == torch.device("cpu")


# -- mistakes --------------------------------------------------------------------------------


def bad_entry(**changes):
    data = entry(info={"columns": ["x", "y", "z"]})
    return {**data, **changes}


def infinite():
    data = bad_entry()
    data["target"][1, 30] = np.inf
    return data


def empty():
    data = bad_entry()
    data["target"][:] = np.nan
    return data


MISTAKES = [
    (lambda: [], "no entries"),
    (lambda: bad_entry(), "put it in a list"),
    (lambda: [infinite()], "series 'y' of 'a' has the value inf at 2024-01-02 06:00"),
    (lambda: [empty()], "'a' has no observation in any series"),
    (lambda: [bad_entry(target=[["1", "two"], ["3", "4"]])], "not a table of numbers"),
    (lambda: [bad_entry(target=np.zeros((2, 3, 4)))], r"shape \(2, 3, 4\)"),
    (lambda: [bad_entry(target=np.zeros((3, 6)))], "has 6 steps"),
    (lambda: [bad_entry(start=pd.Period("2024-01-01", "D"))], "frequency 'D', but the model 'h'"),
    (lambda: [bad_entry(start="yesterday-ish")], "not a point in time"),
    (lambda: [{"target": np.zeros((3, 50))}], "no field 'start'"),
    (lambda: [entry(), entry(dim=2)], "entry number 1 has 2 series"),
    (lambda: [bad_entry(observed_values=np.ones((2, 240)))], "observed_values"),
    (lambda: [bad_entry(info={"columns": ["x"]})], "1 column names"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_a_mistake_in_the_data_is_named(make, message):
    with pytest.raises(DataError, match=message):
        quick_estimator().train(make())


def test_a_mistake_when_predicting_is_named(predictor):
    with pytest.raises(DataError, match="has 2 series, but the model was trained on 3"):
        next(predictor.predict([entry(dim=2)]))
    with pytest.raises(DataError, match="no observation"):
        next(predictor.predict([empty()]))
    named = quick_estimator().train([bad_entry()])
    with pytest.raises(DataError, match=r"column 0 .* is 'y', but the model was trained with 'x'"):
        next(named.predict([bad_entry(info={"columns": ["y", "x", "z"]})]))
    with pytest.raises(OptionError, match="num_samples"):
        next(predictor.predict([entry()], num_samples=0))


def poisoned(epochs: tuple, every_batch: bool) -> dict:
    """Trainer arguments that ruin a weight at the start of epochs of the diffusion's training."""

    class Poison(Callback):
        def ruin(self, trainer, module):
            if module.stage == "diffusion" and trainer.current_epoch in epochs:
                module.network.encoder.rnn.weight_hh_l0.data.fill_(np.nan)

        def on_train_epoch_start(self, trainer, module):
            self.ruin(trainer, module)

        def on_train_batch_start(self, trainer, module, batch, index):
            if every_batch:
                self.ruin(trainer, module)

    return {**QUICK["trainer_kwargs"], "callbacks": [Poison()]}


def test_training_that_goes_astray_goes_back_and_on(caplog):
    rates = []

    class Rates(Callback):
        def on_train_epoch_end(self, trainer, module):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    kwargs = poisoned((1, 2), every_batch=False)
    kwargs["callbacks"].append(Rates())
    options = {"max_epochs": 4, "validation_windows": 0, "prior_epochs": 0}
    output = quick_estimator(trainer_kwargs=kwargs, **options).train_model([entry()])
    assert output.trained_net.rollbacks == 2
    assert caplog.text.count("back to the last good weights, at half the learning rate") == 2
    astray, rates[:] = list(rates), []
    kwargs = {**QUICK["trainer_kwargs"], "callbacks": [Rates()]}
    quick_estimator(trainer_kwargs=kwargs, **options).train([entry()])
    assert np.allclose(np.array(astray) / rates, [1, 0.5, 0.25, 0.25])
    (forecast,) = output.predictor.predict([entry()], num_samples=3)
    assert np.isfinite(forecast.samples).all()


def test_a_loss_that_stays_nan_is_an_error_with_a_way_out():
    kwargs = poisoned((1, 2, 3, 4), every_batch=True)
    with pytest.raises(TimediffError, match=r"became nan in epoch 2, batch 2, after 5 .* lower lr"):
        quick_estimator(max_epochs=5, trainer_kwargs=kwargs).train([entry()])


def test_only_a_fall_of_the_loss_beyond_its_error_counts():
    generator = torch.Generator().manual_seed(0)
    before = torch.rand(80, generator=generator)
    noise = torch.randn(80, generator=generator)
    noise = (noise - noise.mean()) / noise.std()
    windows = torch.zeros(80, 2)
    error = np.sqrt(4 / 80)  # of the mean of 80 windows of which 20 are independent
    for fall, better in ((1.01, True), (0.99, False), (-5.0, False)):
        after = before - (noise + fall * error)
        assert improved(before, after, windows, 4.0) is better
    rows = noise.repeat_interleave(3)  # the rows of a window are not independent of each other
    assert not improved(rows, 0 * rows - 0.99 * error, windows, 4.0)
    assert improved(before[:1], before[:1] - 1e-3, windows[:1])


@pytest.mark.parametrize("preset", ["fast", "best"])
def test_presets_differ_in_effort_only(preset):
    sizes = {"prior_epochs": 1, "max_epochs": 1, "num_batches_per_epoch": 2, "prior_width": 16}
    estimator = TimeGradEstimator(
        "h", 6, preset=preset, seed=0, trainer_kwargs={"enable_progress_bar": False}, **sizes
    )
    (forecast,) = estimator.train([entry()]).predict([entry()], num_samples=3, seed=0)
    assert forecast.samples.shape == (3, 6, 3) and np.isfinite(forecast.samples).all()
    changed = set(PRESETS[preset])
    assert changed <= {
        "prior_members", "prior_width", "prior_epochs", "prior_passes",
        "max_epochs", "passes", "diffusion_runs", "steps",
    }  # fmt: skip


def test_of_several_runs_of_the_diffusion_the_one_with_the_best_paths_is_kept(monkeypatch):
    scores, networks = iter([3.0, 1.0, 2.0]), []

    def energy(network, *_):
        networks.append(copy.deepcopy(network))
        return next(scores)

    monkeypatch.setattr("timediff.training.path_energy", energy)
    kept = quick_estimator(diffusion_runs=3).train([entry()]).network
    first, second, third = (network.state_dict() for network in networks)
    for name, value in kept.state_dict().items():
        if name not in ("low", "high", "floor", "whole", "whitening.widths"):
            assert torch.equal(value, second[name]), name
    assert torch.equal(first["priors.0.inlet.weight"], third["priors.0.inlet.weight"])
    for name in ("encoder.rnn.weight_ih_l0", "diffusion.denoiser.inlet.weight", "position"):
        assert not torch.equal(first[name], second[name])
        assert not torch.equal(second[name], third[name])


@pytest.mark.parametrize("why", ["nothing observed", "not finite"])
def test_runs_that_cannot_be_compared_leave_the_first(monkeypatch, why):
    data, seen, scores = entry(), [], []

    def energy(network, *others):
        seen.append(copy.deepcopy(network))
        if why == "not finite":
            sample = network.sample
            network.sample = lambda *inputs: sample(*inputs) * torch.nan
        scores.append(path_energy(network, *others))
        vars(network).pop("sample", None)
        return scores[-1]

    if why == "nothing observed":
        data["target"][:, 216:] = np.nan
    monkeypatch.setattr("timediff.training.path_energy", energy)
    predictor = quick_estimator(validation_windows=4, diffusion_runs=2).train([data])
    assert scores == [np.inf, np.inf]
    for one, first in zip(predictor.network.parameters(), seen[0].parameters(), strict=True):
        assert torch.equal(one, first)
    assert np.isfinite(draw(predictor)).all()


def test_a_denoiser_given_as_an_object_is_copied_for_each_network():
    denoiser = MLP(3, 8, width=8)
    before = copy.deepcopy(denoiser.state_dict())
    counter = Counter()
    kwargs = {**QUICK["trainer_kwargs"], "callbacks": [counter]}
    options = {"denoiser": denoiser, "ema_decay": None, "diffusion_runs": 3, "seed": 1}
    estimator = quick_estimator(trainer_kwargs=kwargs, **options)
    one, two = (estimator.train([entry()]) for _ in range(2))
    assert counter.epochs == 8
    assert np.array_equal(draw(one), draw(two))  # the second did not begin where the first ended
    for name, value in denoiser.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_energy_score_of_held_out_windows_is_of_their_paths(monkeypatch):
    """It prefers the network whose spread is right, and does not see what was not observed."""
    seen = {}

    def energy(network, held_out, unit):
        if "right" in seen:
            return 0.0
        store, windows, _ = held_out
        seen["right"] = path_energy(network, held_out, unit)
        last = store.first[0] + int(windows[0, 1]) + 5
        store.observed[last, 1] = False
        seen["gap"] = path_energy(network, held_out, unit)
        store.values[last, 1] = 1e6  # read by the last window's horizon only
        seen["poisoned gap"] = path_energy(network, held_out, unit)
        store.observed[last, 1] = True
        seen["poisoned"] = path_energy(network, held_out, unit)
        store.values[last, 1] = 0.0
        network.priors[0].rho.data += 5.0
        seen["too wide"] = path_energy(network, held_out, unit)
        return 0.0

    monkeypatch.setattr("timediff.training.path_energy", energy)
    options = {"diffusion_runs": 2, "prior_members": 1, "validation_windows": 1, "batch_size": 4}
    quick_estimator(**options).train([entry()])
    assert 0 < seen["right"] < 0.5 * seen["too wide"]
    assert seen["poisoned gap"] == seen["gap"] < 1.1 * seen["right"]
    assert seen["poisoned"] > 1e3 * seen["right"]


def test_training_that_only_makes_it_worse_is_not_kept(caplog):
    """The start is the best simple forecast; it stays where learning finds nothing better."""
    with caplog.at_level(logging.INFO, logger="timediff"):
        estimator = quick_estimator(prior_lr=1.0, lr=1.0, max_epochs=2, gradient_clip=None)
        predictor = estimator.train([entry()])
    assert "training the prior did not improve on its start" in caplog.text
    assert (predictor.network.priors[0].outlet.weight == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lag": (1, 2)}, "did you mean 'lags'"),
        ({"hiden_size": 3}, "did you mean 'hidden_size'"),
        ({"preset": "papr"}, "did you mean 'paper'"),
        ({"cell": "rnn"}, "gru, lstm"),
        ({"sampler": "dpm"}, "dpm_solver"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"lags": [0, 1]}, "lags is 0"),
        ({"denoiser_options": {"depth": 3}}, "depth"),
        ({"schedule": "jsd", "parameterization": "epsilon"}, "x0"),
        ({"lags": [1, 5000], "prior": False}, "beyond the longest history"),
        ({"lookback": 5000}, "lookback 5000 is longer"),
        ({"prior_loss": "mse"}, "crps, nll"),
    ],
)
def test_a_mistake_in_the_options_is_named(options, message):
    with pytest.raises(OptionError, match=message):
        quick_estimator(**options).train([entry()])


def test_an_unknown_frequency_is_named():
    with pytest.raises(OptionError, match="freq='hourly' is no frequency"):
        TimeGradEstimator("hourly", 24)
    with pytest.raises(OptionError, match="prediction_length is 0"):
        TimeGradEstimator("h", 0)


@pytest.mark.parametrize("length", [1.5, True, "6", None])
def test_a_horizon_that_is_no_number_of_steps_is_named(length, unchecked):
    with pytest.raises(OptionError, match=f"prediction_length is {length!r}: give a whole"):
        TimeGradEstimator("h", length)
    assert TimeGradEstimator("h", np.int64(6)).prediction_length == 6


@pytest.mark.parametrize("freq", [5, None, pd.Timedelta("1h")])
def test_what_is_no_frequency_is_named(freq, unchecked):
    with pytest.raises(OptionError, match=r"freq is .*: give text such as 'h'"):
        TimeGradEstimator(freq, 6)


@pytest.mark.parametrize("seed", [1.5, "1", -1, True, 2**70])
def test_what_is_no_seed_is_named(seed, unchecked):
    with pytest.raises(OptionError, match=f"seed is {seed!r}: give a whole number"):
        TimeGradEstimator("h", 6, seed=seed)
    assert TimeGradEstimator("h", 6, seed=np.int64(3)).seed == 3


# -- missing values --------------------------------------------------------------------------


def test_gaps_in_history_give_finite_forecasts():
    data = entry()
    data["target"][0, 50:170] = np.nan
    data["target"][1, :30] = np.nan
    data["target"][:, 100] = np.nan
    data["target"][2, -20:] = np.nan
    (forecast,) = quick_estimator().train([data]).predict([data], num_samples=5)
    assert np.isfinite(forecast.samples).all()


def test_a_constant_series_stays_nearly_constant():
    data = entry()
    data["target"][1] = 42.0
    data["target"][2] = 0.0
    (forecast,) = quick_estimator().train([data]).predict([data], num_samples=20)
    assert np.abs(forecast.samples[:, :, 1] - 42).max() < 5
    assert np.abs(forecast.samples[:, :, 2]).max() < 0.5


def test_neither_training_nor_predicting_changes_the_data(predictor):
    data = entry()
    data["target"][0, 5] = np.nan
    before = data["target"].copy()
    quick_estimator().train([data])
    list(predictor.predict([data], num_samples=2))
    np.testing.assert_array_equal(before, data["target"])


def schedule(days: int) -> np.ndarray:
    """Departures by the hour, the same every day but for one hour in ten, where two are missing."""
    rng = np.random.default_rng(0)
    planned = np.array([[0, 4, 6, 3], [5, 0, 8, 2], [3, 7, 4, 9]]).repeat(6, axis=1)
    off = rng.random((3, 24 * days)) < 0.1
    return np.maximum(np.tile(planned, days) - 2 * off, 0).astype(np.float32)


def test_a_schedule_that_nearly_always_holds_is_not_forecast_as_if_it_always_did():
    """The score alone would let the scale vanish, and with it all that is not exact."""
    data = [{"start": pd.Period("2024-01-01", "h"), "target": schedule(50)}]
    options = {"num_batches_per_epoch": 30, "prior_epochs": 5, "prior_rows": 128}
    predictor = quick_estimator(**options).train(data)
    paths = next(predictor.predict(data, num_samples=200, seed=1)).samples
    assert np.abs(paths.mean((0, 1)) - [0, 4.8, 2.8]).max() < 0.6  # from midnight to six
    spread = paths.std(0).mean(0)
    assert spread[0] < 0.3  # none are planned
    assert spread[1:].min() > 0.2 and spread.max() < 1.2  # it is .6; without a reach less than .1


def test_where_much_was_held_out_all_is_trained_again_with_it_for_as_long_as_was_best():
    data = [{"start": pd.Period("2024-01-01", "h"), "target": schedule(30)}]

    def curves(**options):
        given = {"num_batches_per_epoch": 20, "prior_rows": 64, "lr": 0.02, "diffusion_runs": 2}
        given |= {"max_epochs": 2, "prior_epochs": 3, "refit": 0.05, **options}
        return quick_estimator(**given).train(data).curves

    found = curves()
    first, again = found[found["val_loss"].notna()], found[found["val_loss"].isna()]
    assert set(again["stage"]) == {"prior", "diffusion"}
    best = first.loc[first.groupby(["stage", "run"])["val_loss"].idxmin()]
    for stage, part in again.groupby("stage"):
        assert len(part) in best.loc[best["stage"] == stage, "epoch"].tolist()
    assert first.equals(found[: len(first)]) and first.equals(curves(refit=None))
    assert curves(validation_windows=2)["val_loss"].notna().all()  # 12 steps of 720


def test_only_then_is_it_known_what_was_held_out():
    """The end of the history has fractions, which are nowhere before."""
    data = [{"start": pd.Period("2024-01-01", "h"), "target": schedule(30)}]
    data[0]["target"][:, -60:] += 0.25
    seen = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if module.stage == "prior":
                seen.append(bool((batch.target % 1).any()))

    for refit in (0.05, None):
        seen.clear()
        kwargs = {**QUICK["trainer_kwargs"], "callbacks": [Watch()]}
        options = {"num_batches_per_epoch": 20, "prior_rows": 512, "trainer_kwargs": kwargs}
        quick_estimator(prior_epochs=2, refit=refit, **options).train(data)
        assert any(seen) == (refit is not None)
