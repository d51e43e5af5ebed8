"""Euler, Heun, DPM-Solver++, the ODE in its angle and along straight lines: how errors fall."""

import math
from functools import partial

import numpy as np
import pytest
from ideal import gaussian, last, noise, points

from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import (
    GaussianDiffusion,
    NoiseSchedule,
    classifier_free,
    denoiser,
    sample_ddim,
    sample_dpm_solver,
    sample_euler,
    sample_heun,
    sample_ode,
    sample_rectified_flow,
)
from tinydiff.diffusion.samplers.flow import velocity_along_lines
from tinydiff.diffusion.samplers.ode import velocity_in_angle
from tinydiff.diffusion.samplers.shared import denoiser_in_sigma, even_log_snr, karras

LINEAR, COSINE = NoiseSchedule.linear(), NoiseSchedule.cosine()
BOTH = pytest.mark.parametrize("schedule", [LINEAR, COSINE], ids=["linear", "cosine"])
LEVELS = pytest.mark.parametrize("levels", [karras, even_log_snr])


@BOTH
@LEVELS
@pytest.mark.parametrize("variance", [0.25, 0.04])
@pytest.mark.parametrize(
    ("sampler", "low", "high"),
    [(sample_euler, 1.9, 2.1), (sample_heun, 3.8, 4.6), (sample_dpm_solver, 3.8, 4.6)],
)
def test_order_on_gaussian_data(schedule, levels, variance, sampler, low, high):
    """The probability-flow ODE leads y from level σ to σ' by the factor √((v+σ'²)/(v+σ²)).

    Compared at the lowest level but 0: the last step, from there to 0, is everywhere the same.
    Asking the network at whole t instead would floor the error near 0.2.
    """
    x_T, denoise, errors = noise(6), gaussian(schedule, variance), []
    for steps in (20, 40, 80, 160):
        sigmas = levels(schedule, steps)
        *_, x, _ = sampler(denoise, x_T, schedule, steps=steps, levels=levels, clip=False)
        first, final = sigmas[0], sigmas[-2]
        exact = to_numpy(x_T) * math.hypot(1, first) / math.hypot(1, final)
        exact = exact * math.sqrt((variance + final**2) / (variance + first**2))
        errors.append(np.abs(to_numpy(x) / exact - 1).max())
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all((low < ratios) & (ratios < high)), (errors, ratios)
    assert errors[-1] < (0.04 if sampler is sample_euler else 1e-3), errors


@BOTH
@pytest.mark.parametrize("variance", [0.25, 0.04])
@pytest.mark.parametrize("sampler", [sample_ode, sample_rectified_flow])
def test_order_of_the_ode_in_its_angle_and_along_lines(schedule, variance, sampler):
    """From the last step of the schedule down to the picture: x_T √(v / (ᾱ_T v + 1 − ᾱ_T)).

    The ratio is 8 here, since errors of second order cancel on the whole way; see below.
    """
    x_T, signal = noise(6), schedule.alphas_cumprod[-1]
    exact = to_numpy(x_T) * np.sqrt(variance / (signal * variance + 1 - signal))
    sampler = partial(sampler, gaussian(schedule, variance), x_T, schedule, clip=False)
    errors = [np.abs(last(sampler(steps=steps)) / exact - 1).max() for steps in (10, 20, 40)]
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all((ratios > 7.4) & (ratios < 8.5)), (errors, ratios)


def test_all_solvers_agree_on_data_that_are_not_gaussian():
    """Two clusters: no closed form, but Heun and DPM-Solver++ know nothing of angles."""
    denoise, x_T = points(COSINE, [-0.5, 0.6], [0.4, 0.6], width=0.2), noise(50, 1)
    start = lambda solver: partial(solver, denoise, x_T, COSINE, clip=False)
    ends = COSINE.sigmas[-1], COSINE.sigmas[0]
    whole = lambda schedule, steps: [*np.geomspace(*ends, steps), 0.0]
    exact = last(start(sample_ode)(steps=100))
    for solver in (sample_heun, sample_dpm_solver):
        assert np.abs(last(start(solver)(steps=400, levels=whole)) - exact).max() < 2e-3, solver
    assert np.abs(last(start(sample_rectified_flow)(steps=40)) - exact).max() < 2e-3
    errors = [np.abs(last(start(sample_ode)(steps=n)) - exact).max() for n in (5, 10, 20)]
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all(ratios > 3), (errors, ratios)


def test_velocity_in_angle_is_v():
    """v = ε cos φ − x_0 sin φ, of data that are one point"""
    angle, velocity = 0.6, velocity_in_angle(points(COSINE, [0.7], [1]), COSINE)
    eps = noise(5, 1)
    x = 0.7 * math.cos(angle) + eps * math.sin(angle)
    expected = to_numpy(eps) * math.cos(angle) - 0.7 * math.sin(angle)
    np.testing.assert_allclose(to_numpy(velocity(x, angle)), expected, rtol=1e-9)


class Conditional:
    """Says u = x · table[label] to whatever it is shown; the last label is none."""

    num_classes, table = 2, np.array([0.2, -0.7, 0.4])

    def __call__(self, x, t, cond):
        return Tensor(x.data * asarray(self.table[cond].reshape(-1, 1)))


@BOTH
def test_velocity_along_lines_is_what_a_flow_network_says(schedule):
    """ε − x_0, as it is and guided, of the x_t that lies on the ray of x_s."""
    diffusion, labels = GaussianDiffusion(schedule, "flow"), np.array([0, 1, 1])
    x, s, u = noise(3, 2), 0.3, Conditional.table
    for denoise, factors in (
        (denoiser(Conditional(), diffusion, labels), u[labels]),
        (classifier_free(Conditional(), diffusion, labels, scale=3), u[2] + 3 * (u[labels] - u[2])),
    ):
        velocity = velocity_along_lines(denoise, schedule, clip=False)(x, s)
        shown = to_numpy(x) / math.hypot(1 - s, s)
        np.testing.assert_allclose(to_numpy(velocity), shown * factors[:, None], rtol=1e-9)


@BOTH
def test_flow_begins_where_the_schedule_ends_and_yields_x_t(schedule):
    """What it asks at first is x_T itself, and each frame lies at the noise level of its s."""
    asked, x_T = [], noise(4, 2)

    def denoise(x, t):
        asked.append((to_numpy(x), t))
        return points(schedule, [0.7], [1])(x, t)

    film = list(sample_rectified_flow(denoise, x_T, schedule, steps=5))
    np.testing.assert_allclose(asked[0][0], to_numpy(x_T), rtol=1e-12)
    assert asked[0][1][0] == pytest.approx(schedule.T - 1)
    final = schedule.sigmas[-1]
    eps = (to_numpy(x_T) * math.hypot(1, final) - 0.7) / final
    for i, x in enumerate(film, start=1):
        s = final / (1 + final) * (1 - i / 5)
        expected = ((1 - s) * 0.7 + s * eps) / math.hypot(1 - s, s)
        np.testing.assert_allclose(to_numpy(x), expected, rtol=1e-9)


@BOTH
def test_euler_at_the_levels_of_ddim_is_ddim(schedule):
    levels = lambda schedule, steps: [*schedule.respaced(steps).sigmas[::-1], 0.0]
    denoise, x_T = points(schedule, [-0.9, 1.1], [0.5, 0.5]), noise(5, 1)
    euler = sample_euler(denoise, x_T, schedule, steps=20, levels=levels)
    ddim = sample_ddim(denoise, x_T, schedule, steps=20)
    for a, b in zip(euler, ddim, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-6, atol=1e-9)


@BOTH
@LEVELS
def test_levels_begin_and_end_where_the_schedule_does(schedule, levels):
    sigmas = levels(schedule, 18)
    assert len(sigmas) == 19 and sigmas[-1] == 0
    assert sigmas[0] == pytest.approx(min(schedule.sigmas[-1], 80))
    assert sigmas[-2] == pytest.approx(schedule.sigmas[0])
    assert levels(schedule, 1) == pytest.approx([sigmas[0], 0])


def test_levels_in_numbers():
    """Karras et al., equation 5; and equal strides of ln σ."""
    schedule = NoiseSchedule.linear()
    low, high = schedule.sigmas[0], 80.0
    middle = ((high ** (1 / 7) + low ** (1 / 7)) / 2) ** 7
    assert karras(schedule, 3) == pytest.approx([high, middle, low, 0])
    assert even_log_snr(schedule, 3) == pytest.approx([high, math.sqrt(high * low), low, 0])


def test_the_denoiser_is_asked_at_the_level_wanted():
    for sigma in (0.011, 0.37, 5.0, 79.0, 150.0):
        asked = []

        def denoise(x, t, asked=asked):
            asked.append((to_numpy(x), t))
            return 0 * x

        y = noise(3, 2)
        D = denoiser_in_sigma(denoise, LINEAR, clip=False)
        np.testing.assert_array_equal(to_numpy(D(y, sigma)), to_numpy(y))
        ((x, t),) = asked
        signal, spread = LINEAR.signal_and_sigma(t)
        assert t.shape == (3,) and isinstance(t, np.ndarray)
        np.testing.assert_allclose(spread / signal, sigma, rtol=1e-9)
        np.testing.assert_allclose(x, to_numpy(y) * signal[0], rtol=1e-9)


def test_beyond_the_levels_of_the_schedule_the_nearest_is_asked():
    D, y = denoiser_in_sigma(gaussian(LINEAR, 0.2), LINEAR, clip=False), noise(3)
    for sigma, nearest in ((1e-3, LINEAR.sigmas[0]), (1e3, LINEAR.sigmas[-1])):
        expected = to_numpy(y) * 0.2 / (0.2 + nearest**2)
        np.testing.assert_allclose(to_numpy(D(y, sigma)), expected, rtol=1e-9)


def test_the_last_step_goes_to_what_the_denoiser_says():
    """Whatever the method: at σ = 0 nothing is asked, and x is the last x_0."""
    for sampler in (sample_euler, sample_heun, sample_dpm_solver):
        said = []

        def denoise(x, t, said=said):
            said.append((x, t))
            return gaussian(COSINE, 0.1)(x, t)

        film = [to_numpy(x) for x in sampler(denoise, noise(4), COSINE, steps=6, clip=False)]
        assert said[-1][1][0] == pytest.approx(0, abs=1e-9)
        sigma = COSINE.sigmas[0]
        y = film[-2] * math.hypot(1, sigma)
        np.testing.assert_allclose(film[-1], y * 0.1 / (0.1 + sigma**2), rtol=1e-9)


@pytest.mark.parametrize("sampler", [sample_euler, sample_heun, sample_dpm_solver])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": lambda *a: [1.0, 1.0, 0.0]}, r"levels: .* falling .*\[1.0, 1.0, 0.0\]"),
        ({"levels": lambda *a: [1.0, 0.0, -1.0]}, "levels: .* falling"),
        ({"levels": lambda *a: [1.0, 0.0]}, r"levels: expected steps \+ 1 = 3 "),
        ({"schedule": LINEAR.respaced(50)}, "schedule: .* respaced one of 50 steps"),
    ],
)
def test_refuses(sampler, settings, message):
    given = {"schedule": LINEAR, **settings}
    with pytest.raises(ValueError, match=message):
        next(sampler(lambda x, t: x, noise(2), steps=2, **given))
