"""Weightings and a learned variance as options: trained, saved, loaded, refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from tests.conftest import entry, quick_estimator
from timediff import OptionError, Options, TimeGradPredictor
from timediff.saving import checksum


def train(**options) -> TimeGradPredictor:
    return quick_estimator(**options).train([entry()])


def test_min_snr_chooses_its_weighting():
    assert Options().weighting == "simple"
    assert Options(min_snr=5.0) == Options(weighting="min_snr", min_snr=5.0)
    for options in (Options(weighting="min_snr"), dataclasses.replace(Options(min_snr=3.0))):
        assert options.weighting == "min_snr"
    with pytest.raises(OptionError, match=r"min_snr is of .*not of 'p2'"):
        Options(weighting="p2", min_snr=5.0)
    with pytest.raises(OptionError, match="did you mean 'variational'"):
        Options(weighting="variatonal")


@pytest.mark.parametrize(
    "options",
    [{"weighting": "variational"}, {"weighting": "p2"}, {"weighting": "min_snr"}, {"min_snr": 2.0}],
    ids=str,
)
def test_a_weighting_reaches_the_training_and_the_saved_model(options, tmp_path):
    other, plain = (train(**given, validation_windows=0) for given in (options, {}))
    ours, theirs = (p.network.state_dict() for p in (other, plain))
    name = "diffusion.denoiser.outlet.weight"
    assert not torch.equal(ours[name], theirs[name])
    most = options.get("min_snr", 5.0)
    weights = other.network.diffusion.weights
    if other.network.options.weighting == "min_snr":
        alpha, sigma = other.network.diffusion.schedule(torch.arange(1, 11))
        expected = (alpha**2 / sigma**2).clamp(max=most) * sigma**2
        assert torch.allclose(weights, expected / expected.mean(), rtol=1e-4)
    other.serialize(tmp_path)
    loaded = TimeGradPredictor.deserialize(tmp_path, "cpu")
    assert loaded.network.options == other.network.options
    assert torch.equal(loaded.network.diffusion.weights, weights)


def test_models_saved_before_these_options_are_read(predictor, tmp_path):
    predictor.serialize(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("weighting", "variance_weight"):
        config["options"].pop(name)
    config["config_sha256"] = checksum(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = TimeGradPredictor.deserialize(tmp_path, "cpu")
    assert loaded.network.options == predictor.network.options


def test_a_learned_variance_is_trained_saved_and_drawn_with(tmp_path):
    learned = {"sampler": "ddpm", "steps": None, "sampler_options": {"variance": "learned"}}
    model = train(variance_weight=0.001, **learned)
    denoiser = model.network.diffusion.denoiser
    torch.manual_seed(0)
    k, x = torch.arange(1, 11), torch.randn(10, 3)
    condition = denoiser.condition(torch.randn(10, denoiser.denoiser.cond[0].in_features))
    assert (denoiser.fraction(x, k, condition) - 0.5).abs().max() > 1e-3
    model.serialize(tmp_path)
    loaded = TimeGradPredictor.deserialize(tmp_path, "cpu")
    paths = [next(p.predict([entry()], 4, seed=0)).samples for p in (model, loaded)]
    assert np.array_equal(*paths) and np.isfinite(paths[0]).all()
    plain = next(model.predict([entry()], 4, seed=0, sampler="ddpm")).samples
    assert not np.array_equal(paths[0], plain)
    by_default, told, large = (
        next(model.log_likelihood([entry()], last=6, flow_steps=0, variance=variance))["bound"]
        for variance in (None, "learned", "large")
    )
    assert by_default.equals(told) and not told.equals(large)


def test_a_learned_variance_is_asked_of_a_model_without(predictor):
    with pytest.raises(OptionError, match="variance_weight"):
        predictor.with_sampler("ddpm", variance="learned")
    with pytest.raises(OptionError, match="variance_weight"):
        quick_estimator(sampler="ddpm", steps=None, sampler_options={"variance": "learned"}).train(
            [entry()]
        )
