"""The same code on an accelerator; run with ``-m gpu`` where there is one."""

import numpy as np
import pytest
import torch

from tests.conftest import QUICK, entry, quick_estimator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_trains_and_draws_on_the_gpu_and_comes_back(tmp_path):
    kwargs = {**QUICK["trainer_kwargs"], "accelerator": "auto"}
    predictor = quick_estimator(trainer_kwargs=kwargs).train([entry()])
    assert predictor.device.type == "cuda"
    (forecast,) = predictor.predict([entry()], num_samples=20, seed=0)
    assert np.isfinite(forecast.samples).all()
    predictor.serialize(tmp_path)
    there = type(predictor).deserialize(tmp_path, device="cpu")
    assert next(there.network.parameters()).device.type == "cpu"
    (again,) = there.predict([entry()], num_samples=20, seed=0)
    np.testing.assert_allclose(again.samples.mean(), forecast.samples.mean(), rtol=0.1)


def test_paths_on_the_gpu_are_those_of_the_cpu(monkeypatch):
    """The same noise and, up to rounding, the same paths; compiled, too, and in small parts."""
    predictor = quick_estimator().train([entry()])
    paths = {}
    for device in ("cpu", "cuda"):
        moved = type(predictor)(predictor.network, predictor.spec, device=device)
        for name, which in (("plain", moved), ("compiled", moved.compiled())):
            (forecast,) = which.predict([entry()], num_samples=20, seed=0)
            paths[device, name] = forecast.samples
    few = quick_estimator(memory_budget=1e-5)
    monkeypatch.setattr(predictor.network, "options", few.options)
    (forecast,) = predictor.predict([entry()], num_samples=20, seed=0)
    paths["cuda", "few at a time"] = forecast.samples
    for key, drawn in paths.items():
        np.testing.assert_allclose(
            drawn, paths["cpu", "plain"], rtol=1e-2, atol=1e-2, err_msg=str(key)
        )


def test_trains_in_mixed_precision():
    kwargs = {**QUICK["trainer_kwargs"], "accelerator": "auto", "precision": "bf16-mixed"}
    predictor = quick_estimator(trainer_kwargs=kwargs).train([entry()])
    (forecast,) = predictor.predict([entry()], num_samples=20, seed=0)
    assert forecast.samples.dtype == np.float32 and np.isfinite(forecast.samples).all()
