"""The probability of a byte sums to 1, is a difference of σ, has a gradient, and can be drawn."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.generative import discretised_logistic

LEVELS = np.arange(256) / 127.5 - 1


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("mean", [-1.4, -1.0, 0.003, 0.6])
@pytest.mark.parametrize("log_scale", [-5.0, -2.0, 0.5])
def test_is_the_difference_of_the_distribution_function_and_sums_to_1(mean, log_scale):
    x = asarray(LEVELS, np.float64)
    found = to_numpy(
        discretised_logistic.log_probability(
            x, Tensor(asarray(np.full(256, mean))), Tensor(asarray(np.full(256, log_scale)))
        ).data
    )
    below, above = (sigmoid((LEVELS + d - mean) / np.exp(log_scale)) for d in (-1 / 255, 1 / 255))
    below[0], above[-1] = 0, 1
    seen = above - below > 1e-9  # where the difference itself has digits
    np.testing.assert_allclose(np.exp(found[seen]), (above - below)[seen], rtol=1e-6)
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-12)


def test_far_away_it_falls_off_in_proportion_to_the_distance():
    x = asarray(np.full(2, 1.0, np.float32))
    mean = Tensor(asarray(np.float32([-30, -60])))
    near, far = to_numpy(
        discretised_logistic.log_probability(x, mean, Tensor(asarray(np.float32([-4, -4])))).data
    )
    assert far - near == pytest.approx(-30 * np.exp(4), rel=1e-5)


def test_gradient(rng):
    x = asarray(LEVELS[[0, 1, 100, 254, 255]], np.float64)

    def log_probability(mean, log_scale):
        return discretised_logistic.log_probability(x, mean, log_scale)

    td.gradcheck(log_probability, rng.standard_normal(5), rng.standard_normal(5) - 2)


def test_draws_have_its_quantiles(rng):
    drawn = discretised_logistic.draw(
        asarray(np.full(40_000, 0.3)), asarray(np.full(40_000, -1.0)), rng=rng
    )
    drawn = to_numpy(drawn)
    for share in (0.1, 0.5, 0.8):
        place = 0.3 + np.exp(-1) * np.log(share / (1 - share))
        assert (drawn < place).mean() == pytest.approx(share, abs=4 * 0.5 / 200)
