"""Features of entries: what is refused and kept, what reaches the paths, and what they gain."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.dataset.common import ListDataset
from gluonts.dataset.split import split
from gluonts.evaluation import make_evaluation_predictions

from tests.conftest import QUICK, entry, quick_estimator
from tests.promotions import by_kind, known_ahead, leading, windows, without
from timediff import DataError, Forecaster, TimeGradEstimator, TimeGradPredictor
from timediff.entries import read_dataset
from timediff.feature_spec import FeatureSpec
from timediff.network import LevelNetwork
from timediff.store import SeriesStore
from timediff.windows import WindowSpec, build_network

P, T, D = 6, 240, 3
NAMES = {
    "feat_dynamic_real": ["price", "promo"],
    "past_feat_dynamic_real": ["wind"],
    "feat_static_real": ["size"],
    "feat_static_cat": ["kind"],
    "categories": [["large", "small"]],
}


def full(own: bool = True, ahead: int = P, seed: int = 0, **fields) -> dict:
    """An entry with features of every kind; those of each series where ``own``."""
    rng = np.random.default_rng(seed)
    width = (D,) if own else ()
    return entry(
        T,
        D,
        info={"columns": ["x", "y", "z"], "features": NAMES},
        feat_dynamic_real=rng.standard_normal((2, *width, T + ahead)).astype("f4"),
        past_feat_dynamic_real=rng.standard_normal((1, *width, T)).astype("f4"),
        feat_static_real=rng.standard_normal((1, *width)),
        feat_static_cat=rng.integers(0, 2, (1, *width)) if not own else np.array([[0, 1, 0]]),
        **fields,
    )


def features_estimator(**options) -> TimeGradEstimator:
    """An estimator that trains in half a second."""
    return quick_estimator(P, **options)


MODELS = {
    "default": {},
    "no embedding": {"embedding_dim": 0, "seasonal_values": 0, "lookback": 5},
    "paper": {"preset": "paper"},
}


@pytest.fixture(scope="module")
def trained() -> TimeGradPredictor:
    return features_estimator().train([full()])


def paths(predictor: TimeGradPredictor, *data: dict) -> np.ndarray:
    return np.stack([f.samples for f in predictor.predict(data, num_samples=4, seed=1)])


def changed(data: dict, field: str, where: tuple, value: float) -> dict:
    values = np.array(data[field], dtype=np.float64)
    values[where] = value
    return {**data, field: values}


# -- what reaches the paths ------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False], ids=["of each series", "of the group"])
@pytest.mark.parametrize("model", MODELS)
def test_every_feature_reaches_the_paths_and_a_saved_model_is_the_same(model, own, tmp_path):
    torch.manual_seed(0)
    data, other = full(own), full(own, seed=1)
    other["feat_static_cat"] = 1 - data["feat_static_cat"]  # the same categories
    predictor = features_estimator(**MODELS[model]).train([data, other])
    for name, p in predictor.network.named_parameters():
        if name.endswith("outlet.weight"):  # what begins at 0
            torch.nn.init.normal_(p, std=0.1)
    drawn = paths(predictor, data)
    assert np.isfinite(drawn).all()
    for field, where in {
        "feat_dynamic_real": (1, ..., T + 2),
        "past_feat_dynamic_real": (0, ..., T - 1),
        "feat_static_real": (0, ...),
    }.items():
        assert not np.array_equal(paths(predictor, changed(data, field, where, 3.0)), drawn), field
    moved = {**data, "feat_static_cat": other["feat_static_cat"]}
    assert not np.array_equal(paths(predictor, moved), drawn)
    predictor.serialize(tmp_path)
    same = TimeGradPredictor.deserialize(tmp_path, device="cpu")
    assert same.spec == predictor.spec
    assert np.array_equal(paths(same, data), drawn)


def test_every_feature_has_a_gradient():
    data = full()
    estimator = features_estimator(preset="paper")
    panels = read_dataset([data], "h")
    spec = dataclasses.replace(estimator._spec(T), features=FeatureSpec.of(panels))
    network = build_network(estimator.options, spec, D)
    assert isinstance(network, LevelNetwork)
    torch.nn.init.normal_(network.diffusion.denoiser.outlet.weight)
    batch = SeriesStore(panels, spec).gather(torch.tensor([0]), torch.tensor([200]))
    network.loss(batch).sum().backward()
    assert [n for n, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("model", MODELS)
def test_nothing_of_the_past_only_features_beyond_the_end_is_read(model):
    """GluonTS's evaluation cuts the target and leaves them."""
    data = full()
    predictor = features_estimator(**MODELS[model]).train([data])
    more = np.concatenate([data["past_feat_dynamic_real"], np.full((1, D, P), 1e3)], axis=-1)
    assert np.array_equal(paths(predictor, {**data, "past_feat_dynamic_real": more}),
                          paths(predictor, data))  # fmt: skip


def test_windows_hold_the_features_of_their_steps():
    panels = read_dataset([full()], "h")
    spec = WindowSpec("h", P, P, 24, lookback=30, seasonal=(24, 48), profiles=(24,), level=24)
    spec = dataclasses.replace(spec, features=FeatureSpec.of(panels))
    store = SeriesStore(panels, spec)
    known = spec.features.known.standardise(panels[0].features.known)
    past = spec.features.past.standardise(panels[0].features.past)
    start, series = torch.tensor([100, 180]), torch.tensor([2, 0])
    x = store.gather_rows(torch.tensor([0, 0]), start, series).rows.features
    for i, (s, d) in enumerate(zip(start, series, strict=True)):
        np.testing.assert_array_equal(x.recent[i], known[s - 30 : s, d])
        np.testing.assert_array_equal(x.horizon[i], known[s : s + P, d])
        np.testing.assert_array_equal(x.seasonal[i, :, 1], known[s - 48 : s - 48 + P, d])
        np.testing.assert_allclose(x.past[i], known[:s, d].mean(0), atol=1e-6)
        days = np.stack([known[k % 24 : k - 23 : 24, d].mean(0) for k in range(s, s + P)])
        np.testing.assert_allclose(x.profile[i, :, 0], days, atol=1e-6)
        np.testing.assert_array_equal(x.lagged[i], past[s - 24 : s, d])
    rows = store.gather(torch.tensor([0, 0]), start).rows
    whole = store.gather_rows(
        torch.zeros(12, dtype=torch.long),
        torch.stack([start - P, start], 1).flatten().repeat_interleave(D),
        torch.arange(D).repeat(4),
    ).rows
    for one, other in zip(rows.features[:-1], whole.features[:-1], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(rows.calendar, whole.calendar)
    ahead = SeriesStore(panels, spec, for_forecast=True)
    rows = ahead.gather(torch.tensor([0]), torch.tensor(ahead.lengths)).rows
    np.testing.assert_array_equal(rows.features.horizon[-1], known[T : T + P, D - 1])
    np.testing.assert_array_equal(rows.features.lagged[-1], past[T - 24 : T, D - 1])


def test_a_gap_is_filled_with_the_last_value(trained):
    data = full()
    for field in ("feat_dynamic_real", "past_feat_dynamic_real"):
        gap, carried = np.array(data[field]), np.array(data[field])
        gap[..., 200:205] = np.nan
        carried[..., 200:205] = carried[..., 199:200]
        assert np.array_equal(
            paths(trained, {**data, field: gap}), paths(trained, {**data, field: carried})
        )


def test_a_series_owes_its_effects_exactly():
    """Without noise, a prior that starts as a repeated day and a linear effect is exact."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 1000)).astype("f4")
    day = np.sin(2 * np.pi * np.arange(1000) / 24) + np.zeros((2, 1))
    beta = np.array([[3.0, 0.0], [-2.0, 5.0]])
    data = entry(1000, 2, target=(10 + day + beta @ x).astype("f4"), feat_dynamic_real=x)
    panels = read_dataset([data], "h")
    estimator = features_estimator()
    spec = dataclasses.replace(estimator._spec(1000), features=FeatureSpec.of(panels))
    network = build_network(estimator.options, spec, 2)
    store = SeriesStore(panels, spec)
    g = torch.Generator().manual_seed(0)
    start, series = torch.randint(400, 990, (1000,), generator=g), torch.arange(1000) % 2
    network.start(store.gather_rows(torch.zeros(1000, dtype=torch.long), start, series))
    scale = np.array(spec.features.known.scale[0])
    found = network.priors[0].effects.beta.detach().numpy() * store.unit[0].numpy()[:, None] / scale
    np.testing.assert_allclose(found, beta, atol=0.05)


# -- what is refused -------------------------------------------------------------------------


def message(data: dict, predictor: TimeGradPredictor) -> str:
    with pytest.raises(DataError) as error:
        paths(predictor, data)
    return str(error.value)


def test_features_are_found_by_their_names(trained):
    data = full()
    other = {**data, "feat_dynamic_real": data["feat_dynamic_real"][::-1]}
    other["info"] = {**(data.get("info") or {})}
    other["info"]["features"] = {**NAMES, "feat_dynamic_real": ["promo", "price"]}
    np.testing.assert_array_equal(paths(trained, other), paths(trained, data))


def test_a_future_that_is_not_given_is_named(trained):
    text = message(full(ahead=2), trained)
    assert "feature 'price' of series 'x' (feat_dynamic_real) of 'a' has no value at" in text
    assert "2024-01-11 02:00" in text and "up to 2024-01-11 05:00" in text
    assert "as past_feat_dynamic_real (with tables: past=)" in text
    text = message(changed(full(), "feat_dynamic_real", (1, 2, T + 3), np.nan), trained)
    assert "feature 'promo' of series 'z'" in text and "2024-01-11 03:00" in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"feat_dynamic_real": None}, r"'a' has 0 features in feat_dynamic_real, but the model was "
         r"trained with 2, \['price', 'promo'\]: give 2 \(with tables: known=\)"),
        ({"feat_static_real": np.zeros((2, D)), "info": None},
         "has 2 features in feat_static_real, but the model was trained with 1"),
        ({"past_feat_dynamic_real": np.zeros((1, T))},
         "past_feat_dynamic_real of 'a' is one for the whole group, but .* one for each series"),
        ({"past_feat_dynamic_real": np.zeros((1, D, T - 1))},
         r"has 239 steps, its target 240: .* \(with tables: past=\)"),
        ({"past_feat_dynamic_real": np.zeros((1, 2, T))}, "not the 3 series of the target"),
        ({"past_feat_dynamic_real": np.zeros(T)}, r"has shape \(240,\), not \(F, T\)"),
        ({"past_feat_dynamic_real": np.full((1, D, T), np.inf)},
         "feature 'wind' of series 'x' .* is inf at 2024-01-01 00:00"),
        ({"feat_static_real": np.full((1, D), np.nan)}, "feature 'size' of series 'x' .* is nan"),
        ({"feat_static_cat": np.array([[0, 1, 2]])}, "has the code 2 for 2 labels"),
        ({"feat_static_cat": np.array([[0, 1, 0.5]])}, "no whole numbers"),
        ({"info": {"features": {**NAMES, "categories": [["large", "tiny"]]}}},
         "'kind' of series number 1 .* has the category 'tiny', which was not in the training "
         r"data: these are \['large', 'small'\]"),
        ({"info": {"features": {**NAMES, "feat_dynamic_real": ["promo", "cost"]}}},
         r"holds \['promo', 'cost'\], but .* \['price', 'promo'\]: .* known="),
        ({"info": {"features": {"feat_dynamic_real": ["promo"]}}}, "1 names for the 2 features"),
    ],
)  # fmt: skip
def test_features_that_do_not_fit_are_named(trained, change, expected):
    with pytest.raises(DataError, match=expected):
        paths(trained, {**full(), **change})


def test_entries_must_agree_and_a_model_without_features_takes_none(predictor):
    with pytest.raises(DataError, match="but the first entry has 2"):
        features_estimator().train([full(), entry(info=None)])
    with pytest.raises(DataError, match="but the model was trained with 0: give none"):
        paths(predictor, full())
    grouper = entry(feat_static_cat=np.array([0]))  # GluonTS's grouper adds this to every entry
    assert np.array_equal(paths(predictor, grouper), paths(predictor, entry()))
    assert not features_estimator().train([grouper]).spec.features


def test_labels_say_which_category_it_is_not_their_order(trained):
    data = full()
    turned = {**NAMES, "categories": [["small", "large"]]}
    other = {**data, "info": {"features": turned}, "feat_static_cat": 1 - data["feat_static_cat"]}
    assert np.array_equal(paths(trained, other), paths(trained, data))


# -- around it -------------------------------------------------------------------------------


def test_gluonts_evaluation_and_split_give_the_features_of_the_horizon():
    data = ListDataset([full(own=False, ahead=0)], freq="h", one_dim_target=False)
    training, template = split(data, offset=-2 * P)
    predictor = features_estimator().train(training)
    instances = template.generate_instances(P, windows=2)
    drawn = list(predictor.predict(instances.input, num_samples=4, seed=1))
    assert [f.start_date for f in drawn] == [pd.Period("2024-01-10 12:00", "h") + k for k in (0, P)]
    forecasts, _ = make_evaluation_predictions(data, predictor, num_samples=4)
    assert next(iter(forecasts)).start_date == pd.Period("2024-01-10 18:00", "h")


def test_the_budget_counts_the_features(trained, predictor):
    assert trained.spec.floats(100) > 1.5 * predictor.spec.floats(100)


# -- what they gain --------------------------------------------------------------------------


def crps(predictor: TimeGradPredictor, cut: list[dict], whole: list[dict]) -> float:
    """Of all series and steps of these windows."""
    total = []
    drawn = predictor.predict(cut, num_samples=100, seed=0)
    for forecast, window, data in zip(drawn, cut, whole, strict=True):
        x, end = np.sort(forecast.samples, axis=0), window["target"].shape[-1]
        y = data["target"][..., end : end + len(x[0])].T
        weight = (2 * np.arange(1, 101) - 101).reshape(-1, *[1] * y.ndim)
        total.append((np.abs(x - y).mean(0) - (weight * x).mean(0) / 100).mean())
    return float(np.mean(total))


def gain(data: list[dict], prediction_length: int, number: int, fields: tuple, **options) -> float:
    """CRPS with these fields by that without; the last windows are for the test."""
    scores = []
    for given in (data, [without(d, *fields) for d in data]):
        cut = [w for d in given for w in windows(d, prediction_length, number)]
        train = [windows(d, prediction_length, number)[0] for d in given]
        kwargs = {"enable_progress_bar": False, "accelerator": "cpu"}
        estimator = TimeGradEstimator(
            "h", prediction_length, preset="fast", seed=0, trainer_kwargs=kwargs, **options
        )
        whole = [d for d in given for _ in range(number)]
        scores.append(crps(estimator.train(train), cut, whole))
    return scores[0] / scores[1]


@pytest.mark.slow
@pytest.mark.parametrize("own", [True, False], ids=["of each series", "of the group"])
def test_known_ahead_features_gain(own):
    assert gain([known_ahead(1500, own=own)], 12, 10, ("feat_dynamic_real",)) < 0.5


@pytest.mark.slow
def test_features_that_lead_gain():
    assert gain([leading(1500)], 6, 20, ("past_feat_dynamic_real",)) < 0.7


@pytest.mark.slow
def test_features_that_do_not_change_gain():
    data = by_kind(90, 120)
    assert gain(data, 12, 1, ("feat_static_cat",)) < 0.9
    assert gain(data, 12, 1, ()) < 0.7


@pytest.mark.slow
def test_useless_features_cost_little():
    data = known_ahead(1500)
    data["feat_dynamic_real"] = known_ahead(1500, seed=5)["feat_dynamic_real"]
    assert gain([data], 12, 10, ("feat_dynamic_real",)) < 1.05


def test_small_changes_of_a_large_level_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=T + P, freq="h")
    table = pd.DataFrame(rng.standard_normal((T, 2)), index[:T], ["x", "y"])
    swing = pd.DataFrame({"price": rng.choice([-1.0, 1.0], T + P)}, index)
    found = []
    for level in (0.0, 1e9):
        known = swing + level
        forecaster = Forecaster(P, seed=0, **{**QUICK, "prior_epochs": 2})
        forecaster.fit(table[:-1], known=known[: T - 1])
        forecaster.save(tmp_path / f"{level}")
        forecaster = Forecaster.load(tmp_path / f"{level}").update(table[-1:], known=known[T - 1 :])
        found.append(forecaster.predict(num_samples=3, seed=0).samples)
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)


def test_a_feature_beyond_single_precision_is_named():
    data = changed(full(), "past_feat_dynamic_real", (0, 0, 3), 1e39)
    message = r"'wind' of series 'x' .* is 1e\+39 at 2024-01-01 03:00, beyond what float32 holds"
    with pytest.raises(DataError, match=message):
        read_dataset([data], "h")
