"""What an exported model draws is what the predictor draws; the runner alone suffices."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import series
from timediff import (
    Forecaster,
    OptionError,
    Options,
    Recalibration,
    SavedModelError,
    TimediffError,
    TimeGradPredictor,
    export,
    runner,
    runner_parts,
    runner_steps,
)
from timediff._chain import record
from timediff._frequency import period, text_of
from timediff._manifest import anchor, manifest_of
from timediff.diffusion import PARAMETERIZATIONS, SAMPLERS, ConditionalDiffusion, Denoiser
from timediff.diffusion.denoisers import MLP, LearnedVariance
from timediff.diffusion.noise import PathNoise
from timediff.diffusion.samplers import Start
from timediff.diffusion.schedule import linear
from timediff.feature_spec import Categories, FeatureSpec, Numbers
from timediff.frames import from_wide
from timediff.seasonality import calendar, calendar_periods, steps_of
from timediff.windows import WindowSpec, build_network

PLAIN = WindowSpec("h", 6, 12, 24, lookback=30, seasonal=(24, 48), profiles=(24,), level=24)
RESIDUAL = dataclasses.replace(PLAIN, before=1)  # with common factors
LEVEL = WindowSpec("h", 6, 12, 24, lags=(1, 3, 24), scaling="mean", scale_window="context")


def random_predictor(spec: WindowSpec = RESIDUAL, dim: int = 3, **options) -> TimeGradPredictor:
    """A predictor with random weights, all of which matter."""
    torch.manual_seed(0)
    small = {"hidden_size": 8, "diff_steps": 8, "prior_width": 8}
    wide = {} if options.get("denoiser") == "wavenet" else {"denoiser_options": {"width": 16}}
    options = Options(**{**small, **wide, "prior": spec.lookback > 0, **options})
    network = build_network(options, spec, dim)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if spec.lookback:
            common = torch.randn(200, dim) + torch.randn(200, 1)
            if spec.before:
                for buffer in network.factors.buffers():
                    buffer.uniform_(0.1, 0.5)
            network.whitening.fit(common, torch.ones(200, dim, dtype=torch.bool), 200)
            network.whitening.stretch(1.5)
        network.low.fill_(-6.0)
        network.high.fill_(6.0)
    return TimeGradPredictor(network, spec, [f"s{i}" for i in range(dim)], "cpu")


def history(length: int = 300, dim: int = 3) -> np.ndarray:
    """``(T, D)``, with gaps at the begin, in the middle and at the end."""
    values = series(length, dim).T.copy()
    values[:20, 0] = np.nan
    values[length // 2 : length // 2 + 30, 1] = np.nan
    values[-2:, 2] = np.nan
    return values


def entry(values: np.ndarray, freq: str = "h") -> dict:
    return {"start": period("2024-01-01", freq), "target": values.T}


def numbers(size: int, own: bool, dim: int = 3) -> Numbers:
    """Of so many features, with moments of their own."""
    moments = np.random.default_rng(size).uniform(0.5, 2.0, (2, dim if own else 1, size))
    loc, scale = (tuple(map(tuple, table)) for table in moments.tolist())
    return Numbers(size, own, None, loc, scale)


def categories(own: bool) -> Categories:
    return Categories(2, own, None, (("north", "south"), ("a", "b", "c")))


KINDS = {
    "known": FeatureSpec(known=numbers(2, own=False)),
    "known of each": FeatureSpec(known=numbers(2, own=True)),
    "past": FeatureSpec(past=numbers(2, own=False)),
    "past of each": FeatureSpec(past=numbers(1, own=True)),
    "real": FeatureSpec(real=numbers(2, own=True)),
    "category": FeatureSpec(category=categories(own=True)),
    "of the group": FeatureSpec(real=numbers(1, own=False), category=categories(own=False)),
    "all": FeatureSpec(
        numbers(2, own=True), numbers(1, own=False), numbers(1, own=True), categories(own=True)
    ),
}


def with_features(spec: WindowSpec, kind: str) -> WindowSpec:
    return dataclasses.replace(spec, features=KINDS[kind])


def features_of(spec: WindowSpec, length: int, dim: int = 3) -> tuple[dict, dict]:
    """Features as the runner takes them, and as an entry has them; some of the past are missing."""
    rng, given, fields = np.random.default_rng(3), {}, {}
    steps = {"known": (length + spec.prediction_length,), "past": (length,), "real": ()}
    for (name, field), kind in zip(spec.features.fields(), [*steps, "category"], strict=True):
        shape = *steps.get(kind, ()), *(dim,) * field.own, field.size
        if not field.size:
            continue
        if kind == "category":
            codes = rng.integers(0, 2, shape)
            given[kind] = np.empty(shape, object)
            for i, known in enumerate(field.labels):
                given[kind][..., i] = np.array(known, object)[codes[..., i]]
            fields |= {name: codes.T, "info": {"features": {"categories": field.labels}}}
            continue
        given[kind] = x = rng.standard_normal(shape)
        if kind != "real":
            x[: length // 3, ..., 0] = np.nan
            x[length - 3 : length - 1] = np.nan
        fields[name] = x.T
    return given, fields


def plain_runner(predictor: TimeGradPredictor) -> runner.Runner:
    """A runner of a model whose networks were not exported: for windows and chains."""
    made = runner.Runner.__new__(runner.Runner)
    made.manifest = json.loads(json.dumps(manifest_of(predictor, "onnx")))
    made.dim, made.horizon = predictor.network.target_dim, predictor.spec.prediction_length
    made.first = -predictor.spec.first
    return made


def far(ours: np.ndarray, theirs: np.ndarray, values: np.ndarray) -> float:
    """The largest difference in deviations of the series, or of paths that go further."""
    scale = np.maximum(np.nanstd(values, axis=0), ours.std((0, 1)))
    return float(np.abs((ours - theirs) / scale).max())


# -- the parts of the runner ------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 4, 7])
@pytest.mark.parametrize("seed", [0, 5, 2**63 - 1])
def test_the_noise_is_the_predictors(dim, seed):
    paths = np.array([0, 1, 999, 2**20])
    theirs = runner_parts.PathNoise(seed, paths, dim)
    ours = PathNoise(torch.full((4,), seed), torch.from_numpy(paths), dim)
    for _ in range(40):  # longer than what is drawn ahead
        np.testing.assert_allclose(theirs(), ours().numpy(), atol=2e-6)


@pytest.mark.parametrize(
    "freq",
    ["h", "15min", "30s", "D", "2D", "W-SUN", "W-WED", "M", "Q-DEC", "Q-FEB", "Y", "B", "3h"],
)
def test_the_calendar_is_the_predictors(freq):
    start, yearly = period("2023-11-29 22:30:00", freq), freq in ("h", "D")
    rule = {
        "kind": steps_of(freq)[0],
        "multiple": steps_of(freq)[1],
        "anchor": anchor(freq),
        "fields": calendar_periods(freq, yearly),
    }
    ours = calendar(start, 800 if freq != "Y" else 20, freq, yearly)
    theirs = runner_parts.calendar("2023-11-29T22:30:00", np.arange(len(ours)), rule)
    np.testing.assert_allclose(theirs, ours, atol=1e-6)


class Half(Denoiser):
    """A known function of its inputs."""

    def condition(self, h):
        return h

    def denoise(self, x, k, condition):
        return torch.tanh(x) * k / 10 + condition


class Share(LearnedVariance):
    """The second network says the share itself."""

    def fraction(self, x, k, condition):
        return self.variance.denoise(x, k, condition.variance)


@pytest.mark.parametrize("parameterization", list(PARAMETERIZATIONS))
@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("adams", {"order": 3, "steps": 6}),
        ("dpm_solver", {"order": 3, "steps": 7, "spacing": "logsnr"}),
        ("ddim", {"eta": 0.5, "steps": 5}),
        ("ddpm", {"variance": "interpolated"}),
        ("ddpm", {"variance": "learned"}),
        ("adams", {"steps": 1}),
    ],
)
def test_a_chain_is_a_list_of_sums(sampler, options, parameterization):
    denoiser = Share(Half(), Half()) if options.get("variance") == "learned" else Half()
    model = ConditionalDiffusion(denoiser, linear(12, beta_end=0.3), parameterization)
    built = SAMPLERS.build(sampler, **options)
    chain = json.loads(json.dumps(record(built, model)))
    noise = np.random.default_rng(0).standard_normal((40, 5, 3)).astype("f4")
    h = np.random.default_rng(1).standard_normal((5, 3)).astype("f4")
    mean, variance = np.float32([0.3, -0.2, 0.1]), np.float32([0.5, 1.5, 1.0])

    def denoise(inputs):
        x, k = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["k"])
        return [Half().denoise(x, k, torch.from_numpy(inputs["condition"])).numpy()]

    graphs = {"condition": lambda inputs: [inputs["h"]] * 2}
    graphs |= {"denoiser": denoise, "variance": denoise}
    steps = runner_steps.Steps({"chain": chain}, graphs)
    theirs = steps.chain(h, iter(noise).__next__, mean, variance)
    draws = map(torch.from_numpy, noise)
    start = Start(torch.from_numpy(mean), torch.from_numpy(variance))
    ours = built.sample(model, torch.from_numpy(h), draws.__next__, start)
    np.testing.assert_allclose(theirs, ours.numpy(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("length", [8, 25, 130, 300])
@pytest.mark.parametrize("spec", [RESIDUAL, PLAIN, LEVEL], ids=["factors", "residual", "level"])
def test_the_runner_gathers_the_window_itself(spec, length):
    predictor, values = random_predictor(spec), history(300)[:length]
    values[5] = 4.0  # no series without an observation
    (wanted,) = export.windows(predictor, [entry(values)])
    got = plain_runner(predictor).window(values, "2024-01-01")
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
        assert got[name].dtype == array.dtype, name


@pytest.mark.parametrize("length", [8, 25, 300])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", [RESIDUAL, PLAIN, LEVEL], ids=["factors", "residual", "level"])
def test_the_runner_gathers_features_itself(base, kind, length):
    spec, values = with_features(base, kind), history(300)[:length]
    values[5] = 4.0
    given, fields = features_of(spec, length)
    predictor = random_predictor(spec)
    (wanted,) = export.windows(predictor, [entry(values) | fields])
    got = plain_runner(predictor).window(values, "2024-01-01", **given)
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
        assert got[name].dtype == array.dtype, name


@pytest.mark.parametrize("scaling", ["mean", "standard", "robust", "none"])
@pytest.mark.parametrize("window", ["series", "context"])
def test_every_scaling_is_the_predictors(scaling, window):
    spec = WindowSpec("h", 6, 12, None, lags=(1,), scaling=scaling, scale_window=window)
    predictor, values = random_predictor(spec), history()
    values[-30:, 1] = 3.0  # constant in the context
    (wanted,) = export.windows(predictor, [entry(values)])
    got = plain_runner(predictor).window(values, "2024-01-01")
    for name in ("loc", "scale"):
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-6)


def test_a_series_without_observation_and_a_large_level_are_the_predictors():
    predictor, values = random_predictor(), history().astype(float)
    values[:, 1] = np.nan
    values[:, 2] += 3e9
    (wanted,) = export.windows(predictor, [entry(values)])
    got = plain_runner(predictor).window(values, "2024-01-01")
    assert np.isnan(got["shift"]).tolist() == [False, True, False] and got["shift"][2] > 2e9
    assert sorted(got) == sorted(wanted)
    for name, part in wanted.items():
        np.testing.assert_allclose(got[name], part, rtol=1e-5, atol=1e-5, err_msg=name)


def test_values_that_do_not_fit_are_errors():
    made = plain_runner(random_predictor())
    with pytest.raises(ValueError, match=r"shape \(9, 2\), expected \(time, 3\)"):
        made.window(np.zeros((9, 2)), "2024")
    with pytest.raises(ValueError, match="no observation"):
        made.window(np.full((9, 3), np.nan), "2024")


# -- the whole --------------------------------------------------------------------------------


def check(predictor: TimeGradPredictor, folder, values: np.ndarray) -> None:
    """Given a window and noise, given a window and a seed, and given the history."""
    features, fields = features_of(predictor.spec, *values.shape)
    known = entry(values, predictor.spec.freq) | fields
    ours = next(predictor.predict([known], num_samples=40, seed=7)).samples
    made = runner.Runner(folder)
    (window,) = export.windows(predictor, [known])
    assert far(ours, made.sample(window, 40, seed=7), values) < 1e-5
    assert far(ours, made.predict(values, "2024-01-01", 40, 7, **features), values) < 1e-5
    few = made.predict(values, "2024-01-01", 3, 7, **features)  # another size of the batch
    assert far(ours[:3], few, values) < 1e-5
    # a second entry has noise of its own
    second = list(predictor.predict([known] * 2, num_samples=3, seed=7))[1].samples
    assert far(second, made.sample(window, 3, seed=7, position=1), values) < 1e-5
    state = int(np.random.SeedSequence([7, 0]).generate_state(1, np.uint64)[0] >> 1)
    source = PathNoise(torch.full((3,), state), torch.arange(3), predictor.network.target_dim)
    noise = np.stack([source().numpy() for _ in range(400)], axis=1)
    assert far(ours[:3], made.sample(window, 3, noise=noise), values) < 1e-5
    assert made.manifest["difference"] < 1e-5


def test_programs_draw_what_the_predictor_draws(tmp_path):
    predictor = random_predictor()
    check(predictor, export.export_programs(predictor, tmp_path / "model"), history())
    with pytest.raises(SavedModelError, match="overwrite=True"):
        export.export_programs(predictor, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow  # some seconds of tracing
def test_a_learned_variance_that_is_not_drawn_with_is_left_out(tmp_path):
    predictor = random_predictor(variance_weight=0.1)
    folder = export.export_programs(predictor, tmp_path / "model")
    check(predictor, folder, history())
    assert not (folder / "variance.pt2").exists()


PUBLISHED = {
    "cell": "lstm",
    "num_layers": 2,
    "cond_dim": 5,
    "embedding_dim": 1,
    "denoiser": "wavenet",
    "denoiser_options": {"layers": 2, "channels": 2},
    "schedule": "linear",
    "parameterization": "epsilon",
    "sampler": "ddpm",
    "steps": None,
    "start": "standard",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", [RESIDUAL, LEVEL], ids=["residual", "level"])
def test_features_are_read_as_the_predictor_reads_them(spec, kind, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    predictor = random_predictor(with_features(spec, kind))
    check(predictor, export.export_onnx(predictor, tmp_path / "model"), history(100))


@pytest.mark.slow  # some seconds of tracing
def test_programs_read_features_too(tmp_path):
    predictor, values = random_predictor(with_features(RESIDUAL, "all")), history().astype(float)
    values[:, 2] += 3e9  # counted from a level
    check(predictor, export.export_programs(predictor, tmp_path / "model"), values)


@pytest.mark.slow
@pytest.mark.parametrize("write", [export.export_onnx, export.export_programs])
@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (PLAIN, {"prior_members": 1, "sampler": "dpm_solver", "embedding_dim": 0}),
        (LEVEL, PUBLISHED),
        (LEVEL, {"start": "context", "embedding_dim": 0}),
        (
            PLAIN,
            {
                "variance_weight": 0.1,
                "sampler": "ddpm",
                "steps": None,
                "sampler_options": {"variance": "learned"},
            },
        ),
        (
            WindowSpec("Y", 6, 12, None, lookback=2),  # nothing but the last values
            {"cell": "lstm", "denoiser": "wavenet", "denoiser_options": {"layers": 2}},
        ),
    ],
    ids=["residual", "published", "level", "learned", "years"],
)
def test_every_kind_of_network(write, spec, options, tmp_path):
    if write is export.export_onnx:
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    predictor = random_predictor(spec, **options)
    check(predictor, write(predictor, tmp_path / "model"), history(100))


@pytest.mark.slow
def test_a_copied_folder_needs_neither_timediff_nor_torch(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    predictor, values = random_predictor(dim=1, prior_members=1), history(dim=3)[:, :1]
    export.export_onnx(predictor, tmp_path / "model")
    shutil.move(tmp_path / "model", tmp_path / "elsewhere")
    np.save(tmp_path / "values.npy", values)
    code = (
        "import sys, numpy as np; sys.path.insert(0, 'elsewhere'); from runner import Runner\n"
        "paths = Runner('elsewhere').predict(np.load('values.npy'), '2024-01-01', 5, seed=1)\n"
        "np.save('paths.npy', paths); assert not {'torch', 'timediff', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    ours = next(predictor.predict([entry(values)], num_samples=5, seed=1)).samples
    assert far(ours, np.load(tmp_path / "paths.npy"), values) < 1e-5


# -- what goes wrong --------------------------------------------------------------------------


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    find = export.importlib.util.find_spec
    monkeypatch.setattr(
        export.importlib.util, "find_spec", lambda n: None if n == "onnxscript" else find(n)
    )
    with pytest.raises(ImportError, match=r"onnxscript: pip install 'timediff\[export\]'"):
        export.export_onnx(random_predictor(), tmp_path / "model")


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(SavedModelError, match="left alone"):
        export.export_programs(random_predictor(), tmp_path / "model", overwrite=True)
    assert (tmp_path / "model" / "thesis.txt").exists()


def test_a_calibrated_forecaster_is_exported_calibrated(tmp_path):
    predictor, values = random_predictor(), history()
    values[:, 0] = np.abs(values[:, 0]).round()  # counts
    stamps = pd.date_range("2024-01-01", periods=len(values), freq="h")
    table = pd.DataFrame(values, stamps, predictor.columns)
    forecaster = Forecaster.from_predictor(predictor, table, seed=0)
    rng = np.random.default_rng(0)
    paths, actuals = rng.standard_normal((20, 50, 6, 3)), 2 * rng.standard_normal((20, 6, 3))
    paths[..., 0], actuals[..., 0] = np.abs(paths[..., 0]), np.abs(actuals[..., 0])
    totals = {"two": [1, 2]}
    forecaster.recalibration = Recalibration(paths, actuals, step_groups=2, totals=totals)
    made = runner.Runner(export.export_programs(forecaster, tmp_path / "model"))
    plain = made.predict(values, "2024-01-01", 60, calibrated=False)
    assert far(forecaster.predict(num_samples=60, calibrated=False).samples, plain, values) < 1e-5
    ours = forecaster.predict(num_samples=60).samples
    # totals put values in an order, which last digits may change
    assert far(ours, made.predict(values, "2024-01-01", 60), values) < 1e-4
    (window,) = export.windows(forecaster)
    assert far(ours, made.sample(window, 60, calibrated=True), values) < 1e-4
    assert far(ours, plain, values) > 0.1
    made.widths = {}  # as of a predictor alone
    with pytest.raises(ValueError, match="was not calibrated"):
        made.predict(values, "2024-01-01", calibrated=True)


def test_tables_of_features_are_read_as_arrays_are():
    spec = with_features(RESIDUAL, "all")
    predictor, values = random_predictor(spec), history()
    given, _ = features_of(spec, len(values))
    stamps = pd.date_range("2024-01-01", periods=len(values) + 6, freq="h")
    names, past = predictor.columns, stamps[: len(values)]
    each = pd.MultiIndex.from_product([["load", "wind"], names])
    static = pd.DataFrame(given["real"], names, ["area"])
    static = static.assign(where=given["category"][:, 0], kind=given["category"][:, 1])
    (got,) = export.windows(
        predictor,
        pd.DataFrame(values, past, names),
        known=pd.DataFrame(given["known"].swapaxes(1, 2).reshape(-1, 6), stamps, each),
        past=pd.DataFrame(given["past"], past, ["price"]),
        static=static,
    )
    wanted = plain_runner(predictor).window(values, "2024-01-01", **given)
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


DAYS = pd.offsets.CustomBusinessDay(holidays=["2024-01-02", "2024-02-07"], weekmask="Sun Mon Tue")
HOURS = pd.offsets.CustomBusinessHour(start="09:00", end="17:00", holidays=["2024-01-03"])


@pytest.mark.parametrize("offset", [DAYS, HOURS, "SMS", "WOM-2TUE", "2C"], ids=str)
def test_a_window_of_a_calendar_is_the_predictors(offset):
    spec = dataclasses.replace(RESIDUAL, freq=text_of(offset))
    times = pd.date_range("2024-01-01", periods=106, freq=offset)
    predictor, values = random_predictor(spec), history(100)
    table = pd.DataFrame(values, times[:100], predictor.columns)
    (wanted,) = export.windows(predictor, table)
    made = plain_runner(predictor)
    got = made.window(values, times)
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    for start in ("2024-01-01", times[:-1]):
        with pytest.raises(ValueError, match="steps to forecast, 106 in all, not"):
            made.window(values, start)
    with pytest.raises(ValueError, match="give 8 more rows and times before these"):
        made.window(values[:10], times[:16])


@pytest.mark.slow  # some seconds of tracing
def test_a_model_of_a_calendar_is_exported(tmp_path):
    spec = dataclasses.replace(with_features(RESIDUAL, "category"), freq=text_of(HOURS))
    predictor, values = random_predictor(spec), history(100)
    times = pd.date_range("2024-01-01", periods=106, freq=HOURS)
    (known,) = from_wide(pd.DataFrame(values, times[:100], predictor.columns), freq=spec.freq)
    given, fields = features_of(spec, 100)
    fields["info"] |= known["info"]
    ours = next(predictor.predict([known | fields], num_samples=40, seed=7)).samples
    made = runner.Runner(export.export_programs(predictor, tmp_path / "model"))
    assert far(ours, made.predict(values, times, 40, seed=7, **given), values) < 1e-5


class Pairs(MLP):
    """A denoiser whose condition is no tensor."""

    def condition(self, h):
        return h, self.cond(h)


def test_a_part_that_cannot_be_exported_is_an_error(tmp_path):
    predictor = random_predictor(denoiser=Pairs(3, 8, width=16))
    with pytest.raises(OptionError, match="Pairs cannot be exported: its condition is a tuple"):
        export.export_programs(predictor, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_features_that_do_not_fit_are_errors():
    names = {"known": ("load", "wind")}
    features = KINDS["all"]
    features = dataclasses.replace(
        features, known=dataclasses.replace(features.known, names=names["known"])
    )
    spec = dataclasses.replace(RESIDUAL, features=features)
    made, values = plain_runner(random_predictor(spec)), history(40)
    given, _ = features_of(spec, 40)

    def window(**changed):
        made.window(values, "2024", **{**given, **changed})

    with pytest.raises(ValueError, match=r"give known of the shape \(46, 3, 2\), .*'load', 'wind'"):
        window(known=None)
    with pytest.raises(
        ValueError, match=r"past of the shape \(40, 1\); real of the shape \(3, 1\)"
    ):
        window(past=None, real=None)
    with pytest.raises(ValueError, match=r"known has the shape \(45, 3, 2\): give .*\(46, 3, 2\)"):
        window(known=given["known"][:-1])
    window(known=np.concatenate([given["known"], given["known"]]))  # more is known
    unknown = given["known"].copy()
    unknown[41, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"known is nan at \(41,"):
        window(known=unknown)
    with pytest.raises(ValueError, match="past is inf"):
        window(past=np.full((40, 1), np.inf))
    with pytest.raises(ValueError, match="real is nan"):
        window(real=np.full((3, 1), np.nan))
    with pytest.raises(
        ValueError, match=r"category 'east' was not in the training data: \['north'"
    ):
        window(category=np.array([["east", "a"]] * 3, object))
    with pytest.raises(ValueError, match="no features 'price': it reads known, past, real"):
        window(price=np.zeros(3))
    with pytest.raises(ValueError, match="no features 'known': it reads no features"):
        plain_runner(random_predictor()).window(values, "2024", known=np.zeros((46, 1)))


def test_other_paths_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(runner._residuals, "LIMIT", 0.1)
    with pytest.raises(TimediffError, match="part that the runner does not know"):
        export.export_programs(random_predictor(), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_format_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no readable exported model"):
        runner.Runner(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="has format 99, this runner reads 5"):
        runner.Runner(tmp_path)


def test_the_runners_files_import_nothing_of_timediff():
    folder = Path(runner.__file__).parent
    for name in ("runner", *runner.BESIDE):
        text = (folder / f"{name}.py").read_text().splitlines()
        lines = [line.split() for line in text if line.startswith(("import ", "from "))]
        names = {words[1].split(".")[0] for words in lines}
        assert names <= {"collections", "importlib", "json", "numpy", "pathlib", "types", "typing"}


def test_a_table_in_another_order_is_put_right():
    predictor, values = random_predictor(), history()
    table = pd.DataFrame(
        values, pd.date_range("2024-01-01", periods=len(values), freq="h"), ["s0", "s1", "s2"]
    )
    (wanted,) = export.windows(predictor, table)
    (got,) = export.windows(predictor, table[["s2", "s0", "s1"]])
    np.testing.assert_array_equal(got["target"], wanted["target"])
