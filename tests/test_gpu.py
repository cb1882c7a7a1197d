"""The same code on an accelerator; run with ``-m gpu`` where there is one."""

import copy
import dataclasses

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


def test_paths_on_the_gpu_are_those_of_the_cpu():
    """The same noise and, up to rounding, the same paths; compiled, too, and in small parts."""
    trained = quick_estimator().train([entry()])
    few = dataclasses.replace(trained.network.options, memory_budget=1e-5)
    paths = {}
    for device in ("cpu", "cuda"):
        network = copy.deepcopy(trained.network)
        plain = type(trained)(network, trained.spec, device=device)
        paths[device, "plain"] = drawn(plain)
        paths[device, "compiled"] = drawn(plain.compiled())
        network.options = few
        paths[device, "few at a time"] = drawn(plain)
    for key, samples in paths.items():
        np.testing.assert_allclose(
            samples, paths["cpu", "plain"], rtol=1e-2, atol=1e-2, err_msg=str(key)
        )


def drawn(predictor) -> np.ndarray:
    (forecast,) = predictor.predict([entry()], num_samples=20, seed=0)
    return forecast.samples


def test_trains_in_mixed_precision():
    kwargs = {**QUICK["trainer_kwargs"], "accelerator": "auto", "precision": "bf16-mixed"}
    predictor = quick_estimator(trainer_kwargs=kwargs).train([entry()])
    (forecast,) = predictor.predict([entry()], num_samples=20, seed=0)
    assert forecast.samples.dtype == np.float32 and np.isfinite(forecast.samples).all()


def test_the_likelihood_on_the_gpu_is_that_of_the_cpu():
    trained = quick_estimator(variance_weight=0.001).train([entry()])
    tables = {
        device: next(trained.on(device).log_likelihood([entry()], last=24))
        for device in ("cpu", "cuda")
    }
    np.testing.assert_allclose(tables["cuda"], tables["cpu"], rtol=1e-2, atol=1e-2)
