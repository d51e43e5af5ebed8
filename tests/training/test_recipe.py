"""The usual recipe: what it makes of the learning rate and of the averaged weights."""

import numpy as np
import pytest

from tinydiff import nn, ops
from tinydiff.training import one_cycle_trainer

BATCHES = [(np.ones((2, 3), np.float32),)] * 40


def trainer_of(**changes):
    model = nn.Linear(3, 1)
    settings = {"lr": 0.1, "steps": 40, **changes}
    return one_cycle_trainer(
        model, lambda x: ops.mse_loss(model(x), np.ones((2, 1), np.float32)), BATCHES, **settings
    )


def test_the_learning_rate_is_highest_after_a_tenth_and_ends_near_zero():
    rates = [record.lr for record in trainer_of().run(until=40)]
    assert np.argmax(rates) == 3 and rates[3] == pytest.approx(0.1)
    assert rates[-1] < 1e-6


@pytest.mark.parametrize("averaged, decay", [(20, 0.5), (5, 0.875), (40, 0.0), (100, 0.0)])
def test_weights_are_averaged_over_the_last_part(averaged, decay):
    assert trainer_of(averaged=averaged).ema.decay == decay


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"lr": "fast"}, {"averaged": 0}, {"steps": 0}])
def test_what_it_refuses(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        trainer_of(**wrong)
