"""The diffusion model beside the others: the library's loss and bound, where these are known."""

import math

import numpy as np
import pytest
from losses import bytes_in

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import to_numpy
from tinydiff.diffusion import NoiseSchedule
from tinydiff.diffusion.likelihood import every_bound, prior_bits
from tinydiff.generative import DiffusionModel

SHAPE = 1, 2, 1


class OfOnePicture(td.nn.Module):
    """v where every picture is ``level`` everywhere: known exactly"""

    def __init__(self, level, schedule):
        self.level, self.schedule = level, schedule

    def forward(self, x, t, cond=None):
        alpha, sigma = self.schedule.signal_and_sigma(t)
        a, s = (td.backend.asarray(n.reshape(-1, 1, 1, 1), x.dtype) for n in (alpha, sigma))
        return Tensor(a * (x.data - a * self.level) / s - s * self.level)


def model_of(level, T=20, steps=10):
    schedule = NoiseSchedule.cosine(T)
    return DiffusionModel(SHAPE, OfOnePicture(level, schedule), schedule, steps)


def test_draws_the_only_picture_there_is():
    model = model_of(0.6)
    drawn = to_numpy(model.sample(5, rng=np.random.default_rng(0)))
    np.testing.assert_allclose(drawn, 0.6, atol=1e-3)
    assert model.loss(np.full((4, *SHAPE), 0.6, np.float32)).item() == pytest.approx(0, abs=1e-6)


def test_likelihood_is_the_bound_on_average():
    model, x = model_of(0.2), np.float32(bytes_in(SHAPE, 400) * 0.1 + 0.2)
    x = np.float32(np.rint((x + 1) * 127.5) / 127.5 - 1)
    found = model.log_likelihood(x, rng=np.random.default_rng(0))
    process, rng = model.process, np.random.default_rng(1)
    terms = sum(to_numpy(b) for _, b in every_bound(model.network, process, x, rng=rng))
    exact = -(prior_bits(process.schedule, x) + terms) * 2 * math.log(2)
    error = (found - exact).std() / math.sqrt(len(x))
    assert abs(found.mean() - exact.mean()) < 4 * error
    assert error < 0.1 * abs(exact.mean())
