"""The same code on an accelerator; run with ``-m gpu`` where there is one."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from tests.conftest import QUICK, entry, quick_estimator
from tests.network.test_walk import VARIANTS, start_of
from timediff.diffusion.denoisers import MLP
from timediff.network.walk import Walk, recorded, walk

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


@pytest.mark.parametrize("variant", VARIANTS)
def test_paths_on_the_gpu_are_those_of_the_cpu(variant):
    """The same noise and, up to rounding, the same paths; recorded, compiled, in small parts."""
    trained = quick_estimator(**VARIANTS[variant]).train([entry()]).on("cpu")
    expected = drawn(trained)
    there = trained.on("cuda", matmul_precision="float32")
    few = copy.deepcopy(there)
    few.network.options = dataclasses.replace(few.network.options, memory_budget=1e-5)
    compiled = there.compiled()
    paths = {
        "recorded": drawn(there),
        "again": drawn(there),
        "compiled": drawn(compiled),
        "few at a time": drawn(few),
    }
    for predictor in (there, compiled):
        assert predictor.network.recording.graph is not None
    for key, samples in paths.items():
        np.testing.assert_allclose(samples, expected, rtol=2e-3, atol=2e-3, err_msg=key)
    np.testing.assert_array_equal(paths["recorded"], paths["again"])
    deviation = expected.std()
    for precision, most in {"tf32": 0.02, "bfloat16": 0.1}.items():
        samples = drawn(trained.on("cuda", matmul_precision=precision))
        assert np.abs(samples - expected).max() < most * deviation, precision


def to_gpu(start: Walk) -> Walk:
    """The same on the GPU, wherever it was."""
    past = type(start.past)(*(part.cuda() for part in start.past))
    return Walk(past, *(part.cuda() for part in start[1:]))


def drawn(predictor) -> np.ndarray:
    (forecast,) = predictor.predict([entry()], num_samples=20, seed=0)
    return forecast.samples


def test_a_recording_serves_other_paths_and_weights_of_its_kind():
    trained = quick_estimator().train([entry()]).on("cuda")
    network, sampler = trained.network.eval(), trained.network.sampler
    with torch.no_grad():
        starts = [start_of(trained, seed) for seed in (1, 2)]
        starts = [to_gpu(start) for start in starts]
        for start in starts:
            found = recorded(network, start, sampler).clone()
            torch.testing.assert_close(found, walk(network, start, sampler), rtol=1e-4, atol=1e-4)
        first = network.recording
        network.whitening.deviation.mul_(3)
        found = recorded(network, starts[0], sampler).clone()
        assert network.recording is first
        torch.testing.assert_close(found, walk(network, starts[0], sampler), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_recorded_is_drawn_step_by_step():
    class Asks(MLP):
        def denoise(self, x, k, condition):
            assert float(x.mean()) < 1e9  # the GPU has to be waited for
            return super().denoise(x, k, condition)

    trained = quick_estimator(denoiser=Asks(3, 8, width=16), denoiser_options={}).train([entry()])
    there = trained.on("cuda", matmul_precision="float32")
    samples = drawn(there)
    assert there.network.recording.graph is None
    np.testing.assert_allclose(samples, drawn(trained), rtol=2e-3, atol=2e-3)
    np.testing.assert_array_equal(samples, drawn(there))


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
