"""A stage of training: what is kept of it."""

import math

import pytest

from tests.conftest import QUICK, entry, quick_estimator
from timediff.errors import OptionError
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


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_epoch": 3}, "trainer_kwargs: .*'max_epoch'"),
        ({"barebones": True}, "trainer_kwargs: .*barebones"),
        ({"accelerator": "abacus"}, "trainer_kwargs: .*abacus"),
        ({"devices": 2}, "a model is trained on one device, not 2: give devices=1"),
        ({"precision": 64}, r"precision is '64-true': give one of \['32-true'"),
        ({"limit_val_batches": 0}, "nothing says when to stop: .* validation_windows=0"),
        ({"max_epochs": -1}, "max_epochs in trainer_kwargs is -1: give a whole number, 1 or more"),
    ],
)
def test_kwargs_that_no_stage_can_be_trained_by_are_told(kwargs, message):
    with pytest.raises(OptionError, match=message):
        quick_estimator(trainer_kwargs={**QUICK["trainer_kwargs"], **kwargs}).train([entry()])


def test_an_end_before_the_first_validation_keeps_the_start():
    kwargs = {**QUICK["trainer_kwargs"], "max_steps": 1}
    predictor = quick_estimator(trainer_kwargs=kwargs).train([entry()])
    assert predictor.curves["val_loss"].isna().all()
