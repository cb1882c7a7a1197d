"""A stage of training: what is kept of it."""

import math

import pytest

from timediff.stages import best_epoch


@pytest.mark.parametrize(
    ("losses", "epochs"),
    [
        ([], 0),
        ([3.0, 1.0, 2.0, 1.0], 2),
        ([math.nan, 2.0, 1.0], 3),  # Lightning keeps the weights of the last one here
        ([2.0, math.nan], 1),
        ([math.nan, math.nan], 1),
    ],
)
def test_the_best_epoch_is_that_of_the_least_loss_that_is_one(losses, epochs):
    assert best_epoch(losses) == epochs
