"""EDM: its factors, and a loss whose value is known for Gaussian data."""

import numpy as np
import pytest

from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion import NoiseSchedule, sample_ddim
from tinydiff.diffusion.edm import EDM
from tinydiff.diffusion.parametrisation import column

EDM_HALF = EDM()


def exact(edm, variance):
    """F for which D is the exact denoiser of N(0, variance): D(x; σ) = v/(v + σ²) x."""

    def model(x, c_noise, cond):
        sigma = np.exp(4 * c_noise)
        c_skip, c_out, c_in, _ = edm.scalings(sigma)
        factor = (variance / (variance + sigma**2) - c_skip) / (c_out * c_in)
        return Tensor(column(factor, x) * x.data)

    return model


def test_the_factors_of_table_1():
    sigma = np.array([0.002, 0.5, 80])
    c_skip, c_out, c_in, c_noise = EDM_HALF.scalings(sigma)
    total = sigma**2 + 0.25
    np.testing.assert_allclose(c_skip, 0.25 / total, rtol=1e-14)
    np.testing.assert_allclose(c_out, sigma * 0.5 / np.sqrt(total), rtol=1e-14)
    np.testing.assert_allclose(c_in, 1 / np.sqrt(total), rtol=1e-14)
    np.testing.assert_allclose(c_noise, np.log(sigma) / 4, rtol=1e-14)
    # What they are for: input and target of variance 1, and D = x without noise.
    np.testing.assert_allclose(c_in**2 * total, 1)
    np.testing.assert_allclose(((1 - c_skip) ** 2 * 0.25 + c_skip**2 * sigma**2) / c_out**2, 1)


@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
@pytest.mark.parametrize("variance", [0.25, 0.04, 1.0])
def test_loss_of_the_exact_denoiser_is_known(variance, sigma_data):
    """E_σ[λ(σ) v σ²/(v + σ²)], by Gauss and Hermite's quadrature over ln σ; 1 where v = σ_d²."""
    edm = EDM(sigma_data)
    nodes, share = np.polynomial.hermite_e.hermegauss(80)
    sigma2 = np.exp(-1.2 + 1.2 * nodes) ** 2
    weight = (sigma2 + sigma_data**2) / (sigma2 * sigma_data**2)
    expected = (share * weight * variance * sigma2 / (variance + sigma2)).sum() / share.sum()
    if variance == sigma_data**2:
        assert expected == pytest.approx(1, rel=1e-12)

    rng = np.random.default_rng(0)
    x0 = asarray(np.sqrt(variance) * rng.standard_normal((4000, 50)))
    loss = edm.training_loss(exact(edm, variance), x0, rng=rng).item()
    assert loss == pytest.approx(expected, rel=0.02)


def test_no_other_slope_has_a_smaller_loss():
    x0 = asarray(0.2 * np.random.default_rng(0).standard_normal((2000, 50)))
    best = exact(EDM_HALF, 0.04)

    def loss(scale):
        model = lambda x, t, cond: best(x, t, cond) * scale
        return EDM_HALF.training_loss(model, x0, rng=np.random.default_rng(1)).item()

    assert loss(1.0) < min(loss(0.97), loss(1.03))


def test_the_loss_is_the_weighted_error_of_the_denoiser():
    """λ ‖D − x0‖², with the draws the loss makes: σ, then the noise."""
    x0 = asarray(np.random.default_rng(0).uniform(-1, 1, (20, 3)))
    model = lambda x, t, cond: Tensor(xp.sin(3 * x.data) + column(t, x))
    loss = EDM_HALF.training_loss(model, x0, rng=np.random.default_rng(1)).item()
    rng = np.random.default_rng(1)
    sigma = np.exp(-1.2 + 1.2 * rng.standard_normal(20))
    x = x0 + column(sigma, x0) * asarray(rng.standard_normal((20, 3)))
    error = to_numpy(EDM_HALF.denoised(model)(x, sigma) - x0)
    weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    assert loss == pytest.approx((weight * (error**2).mean(axis=1)).mean(), rel=1e-10)


def test_noise_levels_are_log_normal():
    seen = []

    def model(x, t, cond):
        seen.append(4 * t)
        return x

    EDM(log_mean=-1, log_std=2).training_loss(model, xp.zeros((20_000, 1)))
    assert seen[0].mean() == pytest.approx(-1, abs=0.06)
    assert seen[0].std() == pytest.approx(2, abs=0.05)


def test_denoised_is_exact_for_gaussian_data():
    x, sigma = np.random.default_rng(0).standard_normal((4, 3)), np.array([1e-3, 0.3, 2, 80])
    got = EDM_HALF.denoised(exact(EDM_HALF, 0.04))(asarray(x), sigma)
    np.testing.assert_allclose(
        to_numpy(got), x * (0.04 / (0.04 + sigma**2)).reshape(-1, 1), rtol=1e-9
    )


def test_samplers_may_use_it():
    """ε of Gaussian data at whole steps and between, and DDIM's way down with it."""
    schedule, v = NoiseSchedule.linear(), 0.04
    denoise = EDM_HALF.denoiser(exact(EDM_HALF, v), schedule)
    x = asarray(np.random.default_rng(0).standard_normal((3, 2)))
    for t in (np.array([0, 400, 999]), np.array([0.5, 400.25, 998.9])):
        signal, sigma = schedule.signal_and_sigma(t)
        expected = to_numpy(x) * (sigma / (signal**2 * v + sigma**2)).reshape(-1, 1)
        np.testing.assert_allclose(to_numpy(denoise(x, t)), expected, rtol=1e-8)
    *_, drawn = sample_ddim(denoise, x, schedule, steps=500, clip=False)
    np.testing.assert_allclose(to_numpy(drawn), 0.2 * to_numpy(x), rtol=0.03)


def test_labels_reach_the_network():
    told = []

    class Net:
        num_classes = 3

        def __call__(self, x, t, cond):
            told.append(cond.tolist())
            return x

    x, labels = xp.zeros((2, 4)), np.array([2, 0])
    EDM_HALF.training_loss(Net(), x, cond=labels, drop=0)
    EDM_HALF.denoised(Net(), labels)(x, np.ones(2))
    EDM_HALF.denoised(Net())(x, np.ones(2))
    assert told == [[2, 0], [2, 0], [3, 3]]


def test_float32_stays():
    x0 = xp.zeros((4, 2), np.float32)
    model = lambda x, t, cond: x
    assert EDM_HALF.training_loss(model, x0).dtype == np.float32
    assert EDM_HALF.denoised(model)(x0, np.ones(4)).dtype == np.float32
    denoise = EDM_HALF.denoiser(model, NoiseSchedule.linear())
    assert denoise(x0, np.arange(4)).dtype == np.float32


X = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EDM(0), "sigma_data: .*0"),
        (lambda: EDM(log_std=-1), "log_std: "),
        (lambda: EDM(log_std=np.inf), "log_std: "),
        (lambda: EDM(log_mean=np.nan), "log_mean: expected a finite number, got nan"),
        (lambda: EDM_HALF.scalings([1, 0]), "sigma: "),
        (lambda: EDM_HALF.scalings(float("inf")), "sigma: "),
        (lambda: EDM_HALF.training_loss(lambda x, t, cond: x[:, :2], asarray(X)), "model: "),
        (lambda: EDM_HALF.training_loss(lambda x, t, cond: x, asarray(X), cond=[1, 1]), "uncond"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
