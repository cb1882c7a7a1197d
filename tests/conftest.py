"""Small data and small models that the tests share."""

import logging
from pathlib import Path

import jaxtyping
import numpy as np
import pandas as pd
import pytest

import timediff

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

QUICK = {
    "max_epochs": 1,
    "num_batches_per_epoch": 3,
    "hidden_size": 8,
    "diffusion_runs": 1,
    "prior_epochs": 1,
    "prior_members": 1,
    "prior_width": 8,
    "prior_rows": 16,
    "batch_size": 8,
    "refit": None,
    "diff_steps": 10,
    "denoiser_options": {"width": 16},
    "trainer_kwargs": {"enable_progress_bar": False, "accelerator": "cpu"},
}

# tests in which annotations of arrays are executed: elsewhere that would take half of the time
SHAPES = {
    *("diffusion", "network", "scores"),
    *(
        f"test_{name}.py"
        for name in ("baselines", "entries", "estimator", "features", "likelihood")
    ),
    *(f"test_{name}.py" for name in ("loader", "marginal", "package", "scenarios", "spread")),
    "test_synthetic.py",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    first = item.path.relative_to(Path(__file__).parent).parts[0]
    jaxtyping.config.update("jaxtyping_disable", first not in SHAPES)


def series(length: int = 240, dim: int = 3, seed: int = 0) -> np.ndarray:
    """``(D, T)``: a daily season, a common factor, and noise; positive."""
    rng = np.random.default_rng(seed)
    time = np.arange(length)
    season = np.sin(2 * np.pi * (time + 3 * np.arange(dim)[:, None]) / 24)
    values = (
        5 + season + 0.3 * rng.standard_normal(length) + 0.2 * rng.standard_normal((dim, length))
    )
    return values.astype(np.float32)


def entry(length: int = 240, dim: int = 3, seed: int = 0, **fields) -> dict:
    """A multivariate GluonTS entry."""
    target = series(length, dim, seed)
    return {"start": pd.Period("2024-01-01", "h"), "target": target, "item_id": "a", **fields}


def quick_estimator(prediction_length: int = 6, **options) -> timediff.TimeGradEstimator:
    """An estimator that trains in a second."""
    options = {**QUICK, "seed": 0, **options}
    if options.get("denoiser") == "wavenet" or options.get("preset") == "paper":
        options["denoiser_options"] = {"layers": 2, "channels": 2}
    return timediff.TimeGradEstimator("h", prediction_length, **options)


@pytest.fixture
def unchecked(monkeypatch) -> None:
    """As in use, annotations are not executed: what is of another type arrives."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def predictor() -> timediff.TimeGradPredictor:
    """A trained predictor of three series, six hours ahead. Not to be changed."""
    return quick_estimator().train([entry()])
