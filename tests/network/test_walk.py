"""Steps of the horizon in place, as a GPU records them, beside steps as they are."""

import copy
import pickle

import numpy as np
import pytest
import torch

from tests.conftest import entry, quick_estimator
from timediff import OptionError
from timediff.entries import read_entry
from timediff.network.walk import Recording, Walk, products, recorded, walk

VARIANTS = {
    "default": {},
    "ddpm": {"sampler": "ddpm", "steps": 4},
    "lstm": {"cell": "lstm", "num_layers": 2},
    "wavenet": {"denoiser": "wavenet"},
    "levels": {"prior": False, "lags": [1, 2, 24]},
    "paper": {"preset": "paper", "hidden_size": 8, "cond_dim": 8},
}


def start_of(predictor, seed=0, paths=5):
    """Paths of two windows."""
    panels = [read_entry(entry(length, seed=seed), 0, "h") for length in (240, 200)]
    past = predictor.network._read(predictor.gather(panels))
    window = torch.arange(2 * paths) // paths
    return Walk(past, window, torch.tensor([seed, 8])[window], torch.arange(2 * paths) % paths)


@pytest.mark.parametrize("variant", VARIANTS)
def test_steps_in_place_are_steps(variant):
    predictor = quick_estimator(**VARIANTS[variant]).train([entry()])
    network = predictor.network.eval().requires_grad_(False)
    recording = Recording(network, start_of(predictor), network.sampler)
    recording.known = True  # nothing is recorded here
    for seed in (3, 4):
        start = start_of(predictor, seed)
        assert recording.fits(network, start, network.sampler)
        found = recording.draw(network, start)
        torch.testing.assert_close(found, walk(network, start, network.sampler), rtol=0, atol=0)


def test_a_recording_is_of_these_weights_in_these_places(predictor):
    network = copy.deepcopy(predictor.network).requires_grad_(False)
    start = start_of(predictor)
    network.recording = recording = Recording(network, start, network.sampler)
    assert recording.fits(network, start, network.sampler)
    assert not recording.fits(network, start_of(predictor, paths=6), network.sampler)
    assert not recording.fits(network, start, copy.copy(network.sampler))
    assert not recording.fits(copy.deepcopy(network), start, network.sampler)
    for other in (copy.deepcopy(network), copy.copy(network), pickle.loads(pickle.dumps(network))):
        assert other.recording is None
    network.position.mul_(2)  # other values, in the same place
    assert recording.fits(network, start, network.sampler)
    network.position.data = network.position.data.clone()
    assert not recording.fits(network, start, network.sampler)


def test_what_was_recorded_without_gradients_serves_everywhere(predictor):
    """The recorded path of a GPU, of which this machine can do all but the recording."""
    network = copy.deepcopy(predictor.network)
    start = start_of(predictor)
    expected = walk(network, start, network.sampler)
    with torch.inference_mode():
        network.recording = None
        made = Recording.__init__
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Recording, "__init__", lambda self, *a: made(self, *a) or known(self))
            inside = recorded(network, start_of(predictor), network.sampler)
    first = network.recording
    outside = recorded(network, start, network.sampler)
    assert network.recording is first
    assert torch.equal(inside, expected) and torch.equal(outside, expected)
    assert inside.data_ptr() != outside.data_ptr()


def known(recording: Recording) -> None:
    recording.known = True


def test_the_precision_of_products_is_put_back(predictor):
    before = torch.get_float32_matmul_precision()
    with products("tf32", torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
    rnn = torch.backends.cudnn.allow_tf32
    with products("float32", torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == rnn
    with products("tf32", torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == before
    other = predictor.on(matmul_precision="float32")
    assert other.network.options.matmul_precision == "float32"
    assert predictor.network.options.matmul_precision == "tf32"
    paths = [next(p.predict([entry()], 3, seed=0)).samples for p in (predictor, other)]
    np.testing.assert_array_equal(*paths)
    with pytest.raises(OptionError, match="float16"):
        predictor.on(matmul_precision="float16")
