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
