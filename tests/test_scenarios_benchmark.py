"""The exact law that scenarios are compared with, against draws from it; and one small run."""

import numpy as np
import pytest

from benchmarks import scenarios
from tests.conftest import QUICK
from timediff import TimeGradEstimator
from timediff.synthetic import generate


@pytest.fixture(scope="module")
def data():
    return generate("var", 3, length=400, prediction_length=5, windows=2)


def test_the_joint_law_is_that_of_its_draws(data):
    law = data.oracle.law
    history = data.train[0]["target"].T
    paths = law.sample(history, 5, 40_000, np.random.default_rng(0)).reshape(40_000, -1)
    covariance = scenarios.joint(law, 5)
    spread = np.sqrt(np.diag(covariance))
    assert np.abs((np.cov(paths.T) - covariance) / np.outer(spread, spread)).max() < 0.03
    for step, block in enumerate(law.covariance(5)):
        own = slice(3 * step, 3 * step + 3)
        np.testing.assert_allclose(covariance[own, own], block)


def test_draws_that_happen_to_fit_have_the_conditional_law():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((3, 3))
    covariance, mean = root @ root.T, np.array([1.0, 2.0, 3.0])
    x = mean + rng.standard_normal((2_000_000, 3)) @ root.T
    row = np.array([[1.0, 1.0, 0.0]])
    some = x[np.abs(x @ row[0] - 4.0) < 0.02]
    m, c = scenarios.condition(mean, covariance, row, np.array([4.0]))
    np.testing.assert_allclose(some.mean(0), m, atol=0.05)
    np.testing.assert_allclose(np.cov(some.T), c, atol=0.1)


def test_a_row_for_every_case_and_method(data, monkeypatch):
    monkeypatch.setattr(scenarios, "PATHS", 20)
    monkeypatch.setattr(scenarios, "ENSEMBLE", 60)
    predictor = TimeGradEstimator("h", 5, seed=0, **QUICK).train(data.train)
    (entry, _), (whole, _) = scenarios.inputs(data), data.test
    truth = whole["target"][:, -5:].T.astype(float)
    rows = list(scenarios.compare(predictor, entry, truth, data.oracle.law, 0))
    assert len(rows) == 1 + 6 * 5
    assert {row["paths"] for row in rows} == {
        *("nothing", "scenarios", "no look-ahead", "no weights", "ensemble")
    }
    assert all(np.isfinite(row["mean"]) and row["effective"] > 0 for row in rows)
    assert "deviations" in scenarios.title([{**row, "law": "var"} for row in rows])
