"""The autoencoder's bounds, where everything is known: a linear decoder and Gaussian pictures.

    z ~ N(0, I),  x = W z + b + s ε   ⟹   x ~ N(b, W Wᵀ + s² I),  p(z|x) = N(M Wᵀ (x − b)/s², M)

with M = (I + Wᵀ W/s²)⁻¹, diagonal if the columns of W are orthogonal: so the encoder can be right.
"""

import math

import numpy as np
import pytest
from losses import assert_gradient, bytes_in

import tinydiff as td
from tinydiff import nn, ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.generative import VAE
from tinydiff.generative.networks import Dense

SHAPE, LATENT, NOISE = (2, 3, 1), 2, 0.4
SIZE = math.prod(SHAPE)


class Decoder(nn.Module):
    """(N, latent) → (N, H, W, 2C): W z + b beside ln s"""

    def __init__(self, matrix, offset):
        self.linear = nn.Linear(LATENT, SIZE)
        self.linear.weight.data, self.linear.bias.data = asarray(matrix), asarray(offset)

    def forward(self, z):
        mean = self.linear(z).reshape(len(z), *SHAPE)
        return ops.concat([mean, mean * 0 + math.log(NOISE)], axis=-1)


class GaussianVAE(VAE):
    """Pictures are Gaussian, not of bytes."""

    def log_p(self, x, z):
        mean, log_scale = ops.split(self.decoder(z), 2, axis=-1)
        nats = -0.5 * ops.square((x - mean) / ops.exp(log_scale)) - log_scale
        return (nats - 0.5 * math.log(2 * math.pi)).reshape(len(x), -1).sum(axis=1)


class Encoder(nn.Module):
    def __init__(self, matrix, offset):
        variance = 1 / (1 + (matrix**2).sum(axis=1) / NOISE**2)
        self.linear = nn.Linear(SIZE, LATENT)
        to_mean = matrix.T * variance / NOISE**2
        self.linear.weight.data = asarray(to_mean)
        self.linear.bias.data = asarray(-offset @ to_mean)
        self.log_var = asarray(np.log(variance))

    def forward(self, x):
        mean = self.linear(x.reshape(len(x), -1))
        return ops.concat([mean, mean * 0 + self.log_var], axis=1)


@pytest.fixture
def known(rng):
    """A model whose encoder is right, pictures, and their exact ln p"""
    matrix = np.linalg.qr(rng.standard_normal((SIZE, LATENT)))[0].T * [[1.5], [0.7]]
    offset = rng.standard_normal(SIZE)
    model = GaussianVAE(SHAPE, Encoder(matrix, offset), Decoder(matrix, offset), LATENT)
    x = rng.standard_normal((6, LATENT)) @ matrix + offset + NOISE * rng.standard_normal((6, SIZE))
    covariance = matrix.T @ matrix + NOISE**2 * np.eye(SIZE)
    distance = ((x - offset) @ np.linalg.inv(covariance) * (x - offset)).sum(axis=1)
    exact = -0.5 * (distance + np.linalg.slogdet(2 * np.pi * covariance)[1])
    return model, x.reshape(-1, *SHAPE), exact


def elbo(model, x, count=20_000):
    """Of one picture, the mean over so many z, and its standard error"""
    td.seed(0)
    values = [
        -model.loss(np.repeat(x[None], count // 20, axis=0)).item() * math.log(2) * SIZE
        for _ in range(20)
    ]
    return np.mean(values), np.std(values, ddof=1) / math.sqrt(20)


def test_with_the_right_encoder_both_bounds_are_the_likelihood(known):
    model, x, exact = known
    np.testing.assert_allclose(model.log_likelihood(x), exact, rtol=1e-10)
    for picture, truth in zip(x[:2], exact[:2], strict=True):
        value, error = elbo(model, picture)
        assert abs(value - truth) < 4 * error < 0.1


def test_a_wrong_encoder_costs_its_divergence_and_many_draws_less(known):
    model, x, exact = known
    model.encoder.log_var = model.encoder.log_var + math.log(3)  # q three times as wide as p(z|x)
    lost = LATENT * 0.5 * (3 - 1 - math.log(3))  # KL(N(0, 3v) ‖ N(0, v)) for each number
    value, error = elbo(model, x[0])
    assert abs(value - (exact[0] - lost)) < 4 * error < 0.2
    bound = model.log_likelihood(x)
    assert np.all(bound < exact + 0.35)
    assert np.all(bound > exact - lost / 2)


def test_of_bytes_the_bound_sums_to_less_than_1():
    """Over all 256 pictures of one pixel"""
    model = VAE((1, 1, 1), Dense((1,), (4,), 8, 1), Dense((2,), (1, 1, 2), 8, 1), 2)
    every = np.float32(np.arange(256) / 127.5 - 1).reshape(-1, 1, 1, 1)
    total = np.exp(model.log_likelihood(every, rng=np.random.default_rng(0))).sum()
    assert 0.5 < total < 1.05


def test_gradient_of_the_loss():
    shape = 2, 2, 1
    model = VAE(shape, Dense(shape, (6,), 8, 1), Dense((3,), (2, 2, 2), 8, 1), 3).astype(np.float64)
    x = bytes_in(shape, 5)
    assert_gradient(model.parameters(), lambda: model.loss(x))


def test_samples_are_those_of_the_decoder():
    """A decoder that ignores z draws a logistic distribution around its mean."""
    model = VAE((1, 2, 1), Dense((2,), (4,), 4, 0), Dense((2,), (1, 2, 2), 4, 0), 2)
    model.decoder.head.weight.data[...] = 0
    model.decoder.head.bias.data[...] = asarray(np.float32([-0.5, -3, 0.5, -2]))  # μ, ln s, twice
    drawn = to_numpy(model.sample(4000, rng=np.random.default_rng(0)))
    assert drawn.shape == (4000, 1, 2, 1)
    np.testing.assert_allclose(drawn.mean(axis=0)[0, :, 0], [-0.5, 0.5], atol=0.02)
    spread = np.pi / np.sqrt(3) * np.exp([-3, -2])
    np.testing.assert_allclose(drawn.std(axis=0)[0, :, 0], spread, rtol=0.08)
