"""The law of single innovations: found in training, drawn, saved, and let go where it changed."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import quick_estimator
from timediff import TimeGradPredictor
from timediff.diffusion.mixture import MarginalLaw
from timediff.fitting import Fitting
from timediff.network import ResidualNetwork
from timediff.options import Options
from timediff.splits import window_spec
from timediff.windows import build_network

P, D, T = 6, 5, 1200


def entry(kind: str, held_out: str | None = None, late: int = 120) -> dict:
    """Independent noise of standard deviation 1, of another kind in the last steps."""
    rng = np.random.default_rng(0)

    def noise(kind: str, length: int) -> np.ndarray:
        if kind == "normal":
            return rng.standard_normal((D, length))
        return rng.standard_gamma(0.5, (D, length)) * 2**0.5  # most near 0, some far above

    x = np.concatenate([noise(kind, T - late), noise(held_out or kind, late)], axis=1)
    start = pd.Period("2024-01-01", "h")
    return {"start": start, "target": (20 + x).astype(np.float32), "item_id": "a"}


def trained(data: dict, **options) -> TimeGradPredictor:
    """A predictor whose prior is the best simple forecast, and whose denoiser learned nothing."""
    options = {"prior_epochs": 0, "validation_windows": 20, "spread": False, "lr": 1e-9, **options}
    options = {"bound_samples": False, "marginal_components": 4, **options}
    return quick_estimator(P, **options).train([data])


def skewness(predictor: TimeGradPredictor, data: dict) -> float:
    """Of single numbers around the mean of their series and step."""
    (forecast,) = predictor.predict([data], num_samples=1000, seed=0)
    x = forecast.samples.astype(float)
    x = (x - x.mean(0)) / x.std(0)
    return float((x**3).mean())


def is_normal(predictor: TimeGradPredictor) -> bool:
    marginal = predictor.network.diffusion.marginal
    return torch.equal(marginal.guess, MarginalLaw(marginal.schedule, 4).guess)


def test_paths_have_the_law_of_the_innovations_before_anything_is_learned():
    data = entry("skewed")
    found, without = (skewness(trained(data, marginal_components=n), data) for n in (4, 1))
    assert abs(without) < 0.1
    assert found > 1.5  # the data have 2.8; five steps of the sampler lose some of it


def test_it_is_in_what_is_saved(tmp_path):
    data = entry("skewed")
    predictor = trained(data)
    predictor.serialize(tmp_path)
    loaded = TimeGradPredictor.deserialize(tmp_path, "cpu")
    assert torch.equal(
        loaded.network.diffusion.marginal.guess, predictor.network.diffusion.marginal.guess
    )
    first, second = (next(p.predict([data], 3, seed=0)).samples for p in (predictor, loaded))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("given", "history", "expected"),
    [(None, 599, 4), (None, 600, 1), (1, 100, 1), (2, 5000, 2)],
)
def test_only_where_the_history_is_short_if_nothing_else_is_said(given, history, expected):
    spec = window_spec(Options(marginal_components=given), "h", P, history)
    assert spec.components == expected
    network = build_network(Options(marginal_components=given), spec, D)
    assert (network.diffusion.marginal is None) == (expected == 1)


@pytest.mark.parametrize("refit", [None, 0.05])
def test_it_is_let_go_where_the_held_out_windows_are_of_another_law(refit):
    assert is_normal(trained(entry("skewed", "normal"), refit=refit))
    assert not is_normal(trained(entry("skewed"), refit=refit))


def test_gaps_do_not_count():
    data = entry("skewed")
    holes = np.random.default_rng(1).random((D, T)) < 0.3
    holes[:, -40:] = False
    gaps = {**data, "target": np.where(holes, np.nan, data["target"]).astype(np.float32)}
    assert skewness(trained(gaps), gaps) > 1.5


def test_the_published_model_knows_nothing_of_it():
    network = quick_estimator(P, preset="paper", max_epochs=1).train([entry("normal")]).network
    assert not isinstance(network, ResidualNetwork)
    assert network.diffusion.marginal is None


def test_it_stays_as_it_is_where_training_goes_on():
    """What the network has learned is beside this law."""
    first = trained(entry("skewed"))
    on = quick_estimator(P, prior_epochs=0, validation_windows=20, spread=False, lr=1e-9)
    assert on.options.marginal_components is None  # as many as the predictor has
    again = on.train_from(first, [entry("skewed", "normal")])
    before, after = (p.network.diffusion.marginal.guess for p in (first, again))
    assert torch.equal(before, after)


def test_the_law_is_that_of_the_run_that_is_kept(monkeypatch):
    """Another run may find that the normal law says more; if it loses, the refit forgets that."""
    data, verdicts = entry("skewed"), []
    fit = Fitting._fit_marginal

    def fit_marginal(self, network, pool, held):
        fit(self, network, pool, held)
        if len(held.w):
            self.normal = len(verdicts) > 0
        verdicts.append(self.normal)

    monkeypatch.setattr(Fitting, "_fit_marginal", fit_marginal)
    energies = iter([1.0, 2.0])
    monkeypatch.setattr("timediff.training.path_energy", lambda *_: next(energies))
    monkeypatch.setattr("timediff.network.factors.CommonFactors.any", True)
    predictor = trained(data, diffusion_runs=2, refit=0.05)
    assert verdicts[:2] == [False, True]
    assert not is_normal(predictor)
