"""Data whose ideal denoiser is known in closed form, for tests that need no training."""

import numpy as np

from tinydiff.backend import asarray, to_numpy, xp


def noise(*shape, seed=0, dtype=np.float64):
    return asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def last(sampler):
    *_, x = sampler
    return to_numpy(x)


def gaussian(schedule, variance, mean=0.0):
    """The ideal denoiser of x0 ~ N(mean, variance)."""

    def denoise(x, t):
        signal, sigma = (float(a) for a in schedule.signal_and_sigma(t[0]))
        return sigma / (signal**2 * variance + sigma**2) * (x - signal * mean)

    return denoise


def points(schedule, places, shares, width=0.0):
    """The ideal denoiser of numbers that are N(places[k], width²) with probability shares[k].

    x is (N, 1).
    """
    places, shares = asarray(places, np.float64), asarray(shares, np.float64)

    def denoise(x, t):
        signal, sigma = (float(a) for a in schedule.signal_and_sigma(t[0]))
        away, spread = x - signal * places, signal**2 * width**2 + sigma**2
        logits = xp.log(shares) - away**2 / (2 * spread)
        weights = xp.exp(logits - logits.max(axis=1, keepdims=True))
        means = places + signal * width**2 / spread * away
        mean = (weights * means).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
        return (x - signal * mean) / sigma

    return denoise
