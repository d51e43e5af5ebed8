"""Weights of the squared error: each paper's own form, and one loss whatever is predicted."""

import numpy as np
import pytest

from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule
from tinydiff.diffusion.parametrisation import TARGET
from tinydiff.diffusion.weights import WEIGHTINGS, loss_weights

LINEAR, COSINE = NoiseSchedule.linear(), NoiseSchedule.cosine()
BOTH = pytest.mark.parametrize("schedule", [LINEAR, COSINE], ids=["linear", "cosine"])


def weights(name, prediction, schedule=LINEAR):
    return loss_weights(name, schedule, prediction)


@BOTH
def test_vlb_is_half_the_drop_of_snr_on_x0(schedule):
    """Kingma et al. 2021, equation 13: L_t = ½ (snr_{t−1} − snr_t) ‖x0 − x̂0‖²."""
    expected = 0.5 * -np.diff(schedule.snr)
    np.testing.assert_allclose(weights("vlb", "x0", schedule)[1:], expected, rtol=2e-6)


@BOTH
@pytest.mark.parametrize("prediction", TARGET)
def test_vlb_is_the_divergence_of_both_posteriors(schedule, prediction):
    """KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)), two Gaussians of one variance."""
    rng, t = np.random.default_rng(0), np.array([1, 2, 30, 500, 900, 999])
    x0, eps, error = (asarray(a) for a in rng.standard_normal((3, 6, 4)))
    diffusion = GaussianDiffusion(schedule, prediction)
    x_t = diffusion.q_sample(x0, t, eps)
    output = diffusion.target(x0, t, eps) + error
    true, variance, _ = diffusion.q_posterior(x0, x_t, t)
    mean, log_variance = diffusion.p_mean_variance(x_t, t, output)
    np.testing.assert_allclose(np.exp(to_numpy(log_variance)), to_numpy(variance), rtol=1e-12)
    kl = to_numpy((true - mean) ** 2 / (2 * variance))
    weighed = diffusion.loss_weights("vlb")[t].reshape(-1, 1) * to_numpy(error) ** 2
    np.testing.assert_allclose(weighed, kl, rtol=1e-5)


@BOTH
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_one_loss_whatever_is_predicted(name, schedule):
    """Two guesses of x0, said as each prediction: the weighted error between them is the same."""
    t = np.array([0, 1, 30, 500, 900])
    rng = np.random.default_rng(0)
    x_t, guess, other = (asarray(a) for a in rng.standard_normal((3, 5, 4)))
    losses = []
    for prediction in TARGET:
        diffusion = GaussianDiffusion(schedule, prediction)
        said = [diffusion.target(g, t, diffusion.predict_eps(x_t, t, g)) for g in (guess, other)]
        squared = to_numpy((said[0] - said[1]) ** 2).mean(axis=1)
        losses.append(squared * diffusion.loss_weights(name)[t])
    for loss in losses[1:]:
        np.testing.assert_allclose(loss, losses[0], rtol=1e-6)


@BOTH
def test_each_as_its_paper_has_it(schedule):
    s = schedule
    for prediction in TARGET:
        np.testing.assert_array_equal(weights("simple", prediction, s), 1)
    np.testing.assert_allclose(weights("p2", "eps", s), 1 - s.alphas_cumprod, rtol=1e-9)
    np.testing.assert_allclose(weights("min_snr", "x0", s), np.minimum(s.snr, 5), rtol=1e-14)
    np.testing.assert_allclose(weights("clip_snr", "x0", s), np.clip(s.snr, 1, 5), rtol=1e-14)
    # Karras et al.: λ(σ) = (σ² + σ_d²)/(σ σ_d)² on D's error
    expected = (s.sigmas**2 + 0.25) / (s.sigmas * 0.5) ** 2
    np.testing.assert_allclose(weights("edm", "x0", s), expected, rtol=1e-9)
    # Ho et al., equation 12
    t = 500
    expected = s.betas[t] ** 2 / (
        2 * s.posterior_variance[t] * (1 - s.betas[t]) * (1 - s.alphas_cumprod[t])
    )
    assert weights("vlb", "eps", s)[t] == pytest.approx(expected, rel=1e-12)


def test_refuses():
    with pytest.raises(
        ValueError, match="'simple', 'vlb', 'min_snr', 'clip_snr', 'p2', 'edm', got 'snr'"
    ):
        weights("snr", "eps")
    with pytest.raises(ValueError, match=r"prediction: .*'u'"):
        weights("simple", "u")
