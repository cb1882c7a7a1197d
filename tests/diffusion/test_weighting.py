"""What the steps weigh: closed forms, whatever the network predicts."""

import numpy as np
import pytest
import torch

from tests.diffusion.gaussian import alpha_bar
from tests.diffusion.test_model import Spy
from timediff.diffusion import SCHEDULES, WEIGHTINGS, ConditionalDiffusion, Weighting
from timediff.diffusion.weighting import P2, MinSNR
from timediff.errors import OptionError

BAR = alpha_bar("linear", 10)
SNR = BAR[1:] / (1 - BAR[1:])


def variational():
    """Ho et al. 2020, eq. 12: on the error of epsilon beta^2 / (2 s^2 alpha (1 - alpha_bar))."""
    beta = 1 - BAR[1:] / BAR[:-1]
    return beta**2 / (2 * beta * (1 - beta) * (1 - BAR[1:]))


OF_EPS = {  # weights of the squared error of epsilon, up to a factor
    "variational": variational(),
    "min_snr": np.minimum(SNR, 5.0) / SNR,
    "p2": 1 / (1 + SNR),
}
TO_EPS = {"epsilon": 1.0, "x0": SNR, "v": SNR / (1 + SNR), "score": 1.0}


@pytest.mark.parametrize("parameterization", TO_EPS)
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_the_weights_are_those_of_the_papers(name, parameterization):
    schedule = SCHEDULES.build("linear", num_steps=10)
    generator = torch.Generator().manual_seed(0)
    x0, h = torch.randn(2, 2000, 3, generator=generator).unbind()
    spies, losses = [], []
    for weighting in ("simple", name):
        spies.append(Spy())
        model = ConditionalDiffusion(spies[-1], schedule, parameterization, weighting=weighting)
        losses.append(model.loss(x0, h, torch.Generator().manual_seed(5)))
    expected = np.ones(10)
    if name != "simple":
        # the score's loss is that of epsilon already
        expected = OF_EPS[name] * TO_EPS[parameterization]
        expected = expected / expected.mean()
    ratio = torch.as_tensor(expected)[spies[0].k - 1].unsqueeze(-1)
    assert torch.allclose(losses[1], ratio * losses[0], rtol=1e-9, atol=1e-12)
    if name != "simple":
        assert abs(expected - 1).max() > 0.1


def test_a_factor_of_p2_and_a_power():
    schedule = SCHEDULES.build("linear", num_steps=10)
    found = P2(gamma=0.5, k=2.0).of_x0(schedule)[:, 0]
    assert torch.allclose(found, torch.as_tensor(SNR / (2 + SNR) ** 0.5))
    plain = P2(gamma=0.0).of_x0(schedule)[:, 0]
    assert torch.allclose(plain, torch.as_tensor(SNR))
    for options in ({"gamma": -1.0}, {"k": 0.0}):
        with pytest.raises(OptionError, match="p2 needs"):
            P2(**options)


@pytest.mark.parametrize("name", ["variational", "p2", "min_snr"])
def test_weights_are_finite_where_the_schedule_ends_in_pure_noise(name):
    schedule = SCHEDULES.build("jsd", num_steps=10)
    for parameterization in ("x0", "v"):
        model = ConditionalDiffusion(Spy(), schedule, parameterization, weighting=name)
        assert torch.isfinite(model.weights).all() and (model.weights >= 0).all()


def test_an_object_of_the_users_own():
    class Late(Weighting):
        def of_x0(self, schedule):
            return torch.arange(1.0, schedule.num_steps + 1).unsqueeze(1)

    schedule = SCHEDULES.build("linear", num_steps=4)
    model = ConditionalDiffusion(Spy(), schedule, "x0", weighting=Late())
    assert torch.allclose(model.weights[:, 0], torch.tensor([0.4, 0.8, 1.2, 1.6]))
    assert MinSNR(2.0).of_x0(schedule).max() == 2.0
