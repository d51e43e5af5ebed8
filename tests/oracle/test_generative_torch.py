"""The generative models' formulas against torch.distributions, a masked layer against torch's."""

import numpy as np
import pytest

from tinydiff import Tensor, nn
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.generative import VAE, PixelCNN, discretised_logistic

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")
from torch import distributions as D  # noqa: E402

SHAPE, LATENT = (2, 2, 1), 3


class Said(nn.Module):
    """Whatever it is asked, it says this"""

    def __init__(self, answer):
        self.answer = Tensor(asarray(answer))

    def forward(self, x):
        return self.answer


def test_the_bound_of_an_autoencoder(rng):
    """ln p(x|z) of a logistic distribution's bins, less torch's KL"""
    moments = rng.standard_normal((4, 2 * LATENT))
    pixels = rng.standard_normal((4, 2, 2, 2)) * 0.5
    pixels[..., 1] -= 2
    model = VAE(SHAPE, Said(moments), Said(pixels), LATENT)
    levels = rng.integers(1, 255, size=(4, *SHAPE))
    x = levels / 127.5 - 1

    mean, log_var = (torch.tensor(part) for part in np.split(moments, 2, axis=1))
    q = D.Normal(mean, torch.exp(log_var / 2))
    kl = D.kl_divergence(q, D.Normal(torch.zeros_like(mean), 1.0)).sum(dim=1)
    base = D.Uniform(torch.zeros(4, *SHAPE, dtype=torch.float64), 1)
    centre, log_scale = torch.tensor(pixels).split(1, dim=-1)
    moves = [D.SigmoidTransform().inv, D.AffineTransform(centre, torch.exp(log_scale))]
    logistic = D.TransformedDistribution(base, moves)
    above, below = (logistic.cdf(torch.tensor(x + d)) for d in (1 / 255, -1 / 255))
    expected = (torch.log(above - below).reshape(4, -1).sum(dim=1) - kl).mean()
    found = -model.loss(x).item() * np.log(2) * 4
    assert found == pytest.approx(expected.item(), rel=1e-8)


def test_draws_of_a_logistic_distribution(rng):
    """Kolmogorov and Smirnov's distance of 20,000 of them: above 0.0136 once in 1,000"""
    drawn = discretised_logistic.draw(
        asarray(np.full(20_000, 0.2)), asarray(np.full(20_000, -1.5)), rng=rng
    )
    x = torch.tensor(np.sort(to_numpy(drawn)))
    below = torch.sigmoid((x - 0.2) / np.exp(-1.5)).numpy()
    assert np.abs(below - np.arange(1, 20_001) / 20_000).max() < 0.0138


def test_a_masked_convolution_is_torchs_with_zeros_in_its_weight(rng):
    layer = PixelCNN((5, 6, 1), 4, 1).astype(np.float64).layers[0].above
    x = randn((2, 5, 6, 4), rng=rng, dtype=np.float64)
    weight = to_numpy(layer.weight.data).copy()
    weight[2:] = 0
    expected = torch.nn.functional.conv2d(
        torch.tensor(to_numpy(x)).permute(0, 3, 1, 2),
        torch.tensor(weight).permute(3, 2, 0, 1),
        torch.tensor(to_numpy(layer.bias.data)),
        padding=1,
    ).permute(0, 2, 3, 1)
    np.testing.assert_allclose(to_numpy(layer(Tensor(x)).data), expected.numpy(), atol=1e-12)
