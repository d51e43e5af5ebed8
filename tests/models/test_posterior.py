"""The diagonal Gaussian: its divergence against an integral, its samples, the clamp, refusals."""

import math

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import DiagonalGaussian


def moments(mean, log_variance):
    return asarray(np.stack(np.broadcast_arrays(mean, log_variance), axis=-1).astype(np.float64))


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.3, -0.7), (-2.0, 1.5)])
def test_kl_is_the_integral(mean, log_variance):
    """∫ q ln(q/p) by the trapezium rule, which is exact to rounding for such functions."""
    spread = math.exp(log_variance / 2)
    z = mean + spread * np.linspace(-12, 12, 20_001)
    log_q = -0.5 * ((z - mean) / spread) ** 2 - math.log(spread)
    log_p = -0.5 * z**2
    q = np.exp(log_q) / math.sqrt(2 * math.pi)
    expected = ((q * (log_q - log_p))[:-1] * np.diff(z)).sum()
    got = DiagonalGaussian(Tensor(moments([[mean]], [[log_variance]]))).kl().numpy()
    np.testing.assert_allclose(got, [expected], atol=1e-9)


def test_kl_is_summed_over_each_pictures_latents():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 4, 6))
    mean, log_variance = x[..., :3], x[..., 3:]
    expected = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(DiagonalGaussian(Tensor(asarray(x))).kl().numpy(), expected)


def test_samples_have_its_mean_and_variance_and_let_the_gradient_through():
    n = 200_000
    x = Tensor(asarray(np.tile([[1.5, math.log(0.49)]], (n, 1))), requires_grad=True)
    z = DiagonalGaussian(x).sample(rng=np.random.default_rng(0))
    assert z.numpy().mean() == pytest.approx(1.5, abs=4 * 0.7 / math.sqrt(n))
    assert z.numpy().std() == pytest.approx(0.7, rel=4 / math.sqrt(2 * n))
    z.sum().backward()
    # z = μ + e^{l/2} ε: by μ one, by l (z − μ)/2
    expected = np.stack([np.ones(n), (z.numpy()[:, 0] - 1.5) / 2], axis=1)
    np.testing.assert_allclose(to_numpy(x.grad), expected, atol=1e-12)


def test_the_process_draws_where_nobody_else_does():
    posterior = DiagonalGaussian(Tensor(asarray(np.zeros((4, 2)))))
    td.seed(1)
    first = posterior.sample().numpy()
    assert not np.array_equal(posterior.sample().numpy(), first)
    td.seed(1)
    np.testing.assert_array_equal(posterior.sample().numpy(), first)


def test_log_variances_are_clamped_and_then_learn_nothing():
    x = Tensor(moments([[0.0, 0.0, 0.0]], [[-1e4, 1e4, 19.0]]).reshape(3, 2), requires_grad=True)
    posterior = DiagonalGaussian(x)
    np.testing.assert_array_equal(posterior.log_variance.numpy()[:, 0], [-30, 20, 19])
    kl = posterior.kl()
    assert np.isfinite(kl.numpy()).all()
    kl.sum().backward()
    gradient = to_numpy(x.grad)[:, 1]
    assert gradient[0] == gradient[1] == 0 and gradient[2] > 0


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 4, 4, 5)])
def test_refuses_what_is_no_pair(shape):
    with pytest.raises(ValueError, match="as many log-variances as means"):
        DiagonalGaussian(Tensor(asarray(np.zeros(shape))))
