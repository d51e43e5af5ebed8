"""Data whose ideal denoiser is known in closed form, for tests that need no training.

Numbers, each of them from a mixture of Gaussians on a line, whatever shape they come in: what
`GaussianMixture` says of them is held to numerical integration by test_mixture.py.
"""

import numpy as np

from tinydiff import Tensor, no_grad
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion.mixture import GaussianMixture


def noise(*shape, seed=0, dtype=np.float64):
    return asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def last(sampler):
    *_, x = sampler
    return to_numpy(x)


def gaussian(schedule, variance, mean=0.0):
    """The ideal denoiser of x0 ~ N(mean, variance)."""
    return points(schedule, [mean], [1], width=variance**0.5)


def points(schedule, places, shares, width=0.0):
    """The ideal denoiser of numbers that are N(places[k], width²) with probability shares[k]."""
    network = GaussianMixture(shares, np.reshape(places, (-1, 1)), width).ideal_network(schedule)

    def denoise(x, t):
        with no_grad():
            eps = network(Tensor(x.reshape(-1, 1)), np.repeat(t, x.size // len(x)))
        return eps.data.reshape(x.shape)

    return denoise
