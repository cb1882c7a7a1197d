"""The energy distance against an independent implementation, and against the energy score."""

import pytest
import scipy.stats
import torch

from timediff import DataError
from timediff.scores import energy_distance, energy_score


def test_of_numbers_it_is_the_square_of_scipys():
    x, y = torch.randn(300, 1), 0.5 + torch.randn(200, 1) ** 3
    theirs = scipy.stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    assert energy_distance(x, y).item() == pytest.approx(theirs, rel=1e-5)


def sample(generator, *shape):
    return torch.randn(shape, generator=generator)


def test_it_is_twice_what_the_energy_score_is_above_the_best():
    draw = torch.Generator().manual_seed(0)
    x, y = sample(draw, 150, 4), 1.5 * sample(draw, 120, 4)

    def score(forecast):
        many = forecast[None, :, None].expand(len(y), -1, -1, -1)
        return energy_score(many, y[:, None]).item()

    assert energy_distance(x, y).item() == pytest.approx(2 * (score(x) - score(y)), rel=1e-5)


def test_the_fair_one_leaves_out_the_distance_of_a_vector_to_itself():
    draw = torch.Generator().manual_seed(0)
    x, y = sample(draw, 30, 4).double(), sample(draw, 20, 4).double() + 1
    within = [torch.pdist(z).mean() for z in (x, y)]
    expected = 2 * torch.cdist(x, y).mean() - sum(within)
    assert energy_distance(x, y, fair=True).item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_fair_distance_of_one_law_has_mean_0_and_the_other_has_not():
    draw = torch.Generator().manual_seed(1)
    pairs = [(sample(draw, 20, 3), sample(draw, 20, 3)) for _ in range(200)]
    fair = torch.stack([energy_distance(x, y, fair=True) for x, y in pairs])
    plain = torch.stack([energy_distance(x, y) for x, y in pairs])
    error = fair.std() / 200**0.5
    assert abs(fair.mean()) < 3 * error and plain.mean() > 10 * error
    assert (plain > 0).all()


@pytest.mark.parametrize(
    ("x", "y", "fair"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 1), False),
        (torch.zeros(0, 2), torch.zeros(3, 2), False),
        (torch.zeros(1, 2), torch.zeros(3, 2), True),
        (torch.full((3, 2), torch.nan), torch.zeros(3, 2), False),
    ],
)
def test_what_has_no_distance(x, y, fair):
    with pytest.raises(DataError):
        energy_distance(x, y, fair)


@pytest.mark.parametrize("shapes", [((50,), (50,)), ((4, 5, 2), (4, 5, 2)), ((4, 2), (4, 3))])
def test_vectors_have_two_axes(shapes, unchecked):
    with pytest.raises(DataError, match=r"vectors of each law, \(n, d\), of one length"):
        energy_distance(*(torch.ones(shape) for shape in shapes))
