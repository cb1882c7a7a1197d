"""How wide to draw: what held-out windows say of it, and what becomes of that."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import quick_estimator
from tests.network.test_timegrad import make
from timediff import TimeGradPredictor, spread
from timediff.stages import Stages
from timediff.validation import Source

P, D = 6, 5


def noise(common: float = 1.0, held_out: int = 240) -> dict:
    """White noise, a part of it common to all series; of another law in the last steps."""
    rng = np.random.default_rng(0)
    late = np.arange(2400) >= 2400 - held_out
    x = np.where(late, common, 1.0) * rng.standard_normal(2400)
    x = x + rng.standard_normal((D, 2400))
    start = pd.Period("2024-01-01", "h")
    return {"start": start, "target": (20 + x).astype(np.float32), "item_id": "a"}


def trained(data: dict, **options) -> TimeGradPredictor:
    """A predictor whose prior is the best simple forecast: the mean of the past."""
    options = {"prior_epochs": 0, "validation_windows": 40, **options}
    return quick_estimator(P, **options).train([data])


def drawn(predictor: TimeGradPredictor) -> float:
    """The factor."""
    w = predictor.network.whitening
    return round(float(w.widths[w.values.argmax()]), 3)


@pytest.mark.parametrize(
    ("common", "least", "most"),
    [
        (1.0, 0.9, 1.15),  # as in training
        (2.5, 1.75, 3.0),  # moving together more
        (0.0, 0.5, 0.8),  # and less
    ],
)
def test_held_out_windows_say_how_wide(common, least, most):
    assert least <= drawn(trained(noise(common))) <= most


def test_paths_are_as_wide_as_the_held_out_windows():
    data = noise(2.5)
    predictor = trained(data)
    (wide,) = predictor.predict([data], num_samples=2000, seed=0)
    predictor.network.whitening.stretch(1.0)
    (narrow,) = predictor.predict([data], num_samples=2000, seed=0)
    before, after = (f.samples.sum(2).std(0).mean() for f in (narrow, wide))
    exact = np.sqrt(D**2 * 2.5**2 + D)
    assert before < 0.6 * exact < 0.8 * exact < after < 1.2 * exact


def test_it_can_be_left_out():
    assert drawn(trained(noise(2.5), spread=False)) == 1.0
    assert drawn(trained(noise(2.5), validation_windows=0)) == 1.0


def test_it_is_kept_where_all_is_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr("timediff.training.held_out_spread", lambda *_: 1.5)
    runs = []
    run = Stages.run
    monkeypatch.setattr(Stages, "run", lambda *a, **k: (runs.append(a), run(*a, **k))[1])
    predictor = trained(noise(), refit=0.01)
    assert len(runs) == 2  # of the diffusion one more
    assert drawn(predictor) == 1.5
    predictor.serialize(tmp_path)
    assert drawn(TimeGradPredictor.deserialize(tmp_path)) == 1.5


def test_few_windows_are_not_believed():
    """The same misfit in two windows and in forty: the fewer there are, the nearer to 1."""
    many, few = (drawn(trained(noise(2.5, held_out=P * n), validation_windows=n)) for n in (40, 2))
    assert 1.0 <= few < many


def test_paths_of_the_same_innovations_are_the_paths():
    network, batch, _ = make(gaps=False, starts=(150, 171, 60))
    network.eval()
    e = torch.randn(300, 3) + torch.randn(300, 1)
    network.whitening.fit(e, torch.ones_like(e, dtype=torch.bool), 300)
    seeds, past = torch.tensor([4, 5, 6]), network.pasts(batch)
    w = network.innovation_paths(past, 10, seeds)
    for factor in (1.0, 2.0):
        network.whitening.stretch(factor)
        paths = network.sample(batch, 10, seeds)
        assert torch.allclose(network.unrolled(past, w, batch), paths, rtol=1e-4, atol=1e-4)


def test_gaps_and_windows_without_an_observation_are_left_out():
    network, _, store = make(gaps=False, starts=(150, 171, 60))
    network.eval()
    held_out = Source(store, torch.tensor([[0, 171], [0, 60]]))
    e = torch.randn(300, 3) + torch.randn(300, 1)
    network.whitening.fit(e, torch.ones_like(e, dtype=torch.bool), 300)
    expected = spread.HeldOutPaths(network, held_out, torch.ones(3)).losses(1.5)
    first = store.first[0] + 150
    store.observed[first : first + P] = False
    more = Source(store, torch.tensor([[0, 171], [0, 60], [0, 150]]))
    paths = spread.HeldOutPaths(network, more, torch.ones(3))
    assert paths.windows == 2
    assert paths.losses(1.5) == pytest.approx(expected)
    store.observed[store.first[0] + 60, 1] = False  # of which nothing is read then
    store.values[store.first[0] + 60, 1] = 1e6
    assert max(spread.HeldOutPaths(network, more, torch.ones(3)).losses(1.5)) < 10
    store.observed[:] = False
    assert spread.held_out_spread(network, more, torch.ones(3)) == 1.0


def test_paths_that_are_not_finite_change_nothing():
    network, _, store = make(gaps=False)
    network.eval()
    network.dynamics.phi.data.fill_(float("nan"))
    held_out = Source(store, torch.tensor([[0, 171], [0, 60]]))
    assert spread.held_out_spread(network, held_out, torch.ones(3)) == 1.0
