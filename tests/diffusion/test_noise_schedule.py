"""NoiseSchedule: golden numbers, the algebra of a Gaussian chain, and what it refuses."""

import dataclasses
import math

import numpy as np
import pytest

from tinydiff.diffusion import NoiseSchedule

LINEAR, COSINE = NoiseSchedule.linear(), NoiseSchedule.cosine()
BOTH = pytest.mark.parametrize("schedule", [LINEAR, COSINE], ids=["linear", "cosine"])
DERIVED = [
    "alphas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "snr",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
]

GOLDEN = """
linear   1 0.999780092072072    5.45318766130219e-05 0.54529149951029     0.45470849899053
linear 500 0.0777966583650239   0.0100513357789096   0.00305805707562962  0.994104350756726
linear 999 4.03582976537568e-05 0.0199999835265606   0.000128351487172247 0.989948678267517
cosine 500 0.492285172448803    0.00314600512546348  0.00436786689952633  0.995356279455225
cosine 999 2.42876690703486e-09 0.998997576088192    0.00155689171549017  0.0316226998741347
"""  # openai/improved-diffusion, run in float64: schedule, t, ᾱ, β̃, and μ̃'s factors of x0 and x_t


@pytest.mark.parametrize("line", GOLDEN.strip().splitlines())
def test_golden_numbers_to_every_printed_digit(line):
    name, t, *numbers = line.split()
    schedule = {"linear": LINEAR, "cosine": COSINE}[name]
    for array, number in zip(
        [
            schedule.alphas_cumprod,
            schedule.posterior_variance,
            schedule.posterior_mean_coef1,
            schedule.posterior_mean_coef2,
        ],
        numbers,
        strict=True,
    ):
        # One unit in the fifteenth digit: cosines differ that much between processors.
        assert array[int(t)] == pytest.approx(float(number), rel=1e-14, abs=0)


def test_linear_runs_from_start_to_end():
    assert LINEAR.T == 1000
    assert (LINEAR.betas[0], LINEAR.betas[-1]) == (1e-4, 0.02)
    np.testing.assert_allclose(np.diff(LINEAR.betas), 0.0199 / 999, rtol=1e-10)
    other = NoiseSchedule.linear(10, beta_start=0.1, beta_end=0.5)
    assert (other.T, other.betas[0], other.betas[-1]) == (10, 0.1, 0.5)


def test_cosine_follows_its_curve_until_the_cap():
    s, T = 0.008, 1000
    angle = [(t / T + s) / (1 + s) * math.pi / 2 for t in range(T + 1)]
    curve = [math.cos(a) ** 2 / math.cos(angle[0]) ** 2 for a in angle]
    np.testing.assert_allclose(COSINE.alphas_cumprod[:-1], curve[1:-1], rtol=1e-10)
    assert COSINE.betas[-1] == 0.999
    assert NoiseSchedule.cosine(max_beta=0.5).betas.max() == 0.5
    assert NoiseSchedule.cosine(s=0.1).betas[0] > COSINE.betas[0]


def test_scaled_linear_leaves_stable_diffusions_share_of_the_picture():
    """Lin et al., table 1: √ᾱ_T = 0.068265, snr 0.004682."""
    schedule = NoiseSchedule.scaled_linear()
    assert (schedule.T, schedule.betas[0]) == (1000, pytest.approx(0.00085, rel=1e-14))
    assert schedule.betas[-1] == pytest.approx(0.012, rel=1e-14)
    np.testing.assert_allclose(np.diff(np.sqrt(schedule.betas), n=2), 0, atol=1e-15)
    assert schedule.sqrt_alphas_cumprod[-1] == pytest.approx(0.068265, abs=5e-7)
    assert schedule.snr[-1] == pytest.approx(0.004682, abs=5e-7)


@pytest.mark.parametrize(("start", "end", "tau"), [(-3, 3, 1), (0, 3, 0.7), (-3, 1, 1.1)])
def test_sigmoid_follows_its_curve_until_the_cap(start, end, tau):
    sigmoid = lambda z: 1 / (1 + math.exp(-z))
    low, high = sigmoid(start / tau), sigmoid(end / tau)
    curve = [
        (high - sigmoid((start + (t + 1) / 1000 * (end - start)) / tau)) / (high - low)
        for t in range(1000)
    ]
    schedule = NoiseSchedule.sigmoid(1000, start, end, tau)
    np.testing.assert_allclose(schedule.alphas_cumprod[:-1], curve[:-1], rtol=1e-10)
    assert schedule.betas[-1] == 0.999


def test_sigmoid_is_symmetric_by_default():
    levels = np.append(1.0, NoiseSchedule.sigmoid(100).alphas_cumprod)
    assert levels[50] == pytest.approx(0.5, abs=1e-12)
    np.testing.assert_allclose(levels[1:-1], 1 - levels[-2:0:-1], rtol=1e-10)


def test_from_alphas_cumprod_gives_them_back():
    for schedule in (LINEAR, COSINE, NoiseSchedule.scaled_linear(), NoiseSchedule.sigmoid(7)):
        again = NoiseSchedule.from_alphas_cumprod(schedule.alphas_cumprod)
        np.testing.assert_allclose(again.alphas_cumprod, schedule.alphas_cumprod, rtol=1e-12)
        np.testing.assert_allclose(again.betas, schedule.betas, rtol=1e-11)
        assert again.timesteps.tolist() == list(range(schedule.T))


@pytest.mark.parametrize(
    "schedule", [LINEAR, COSINE, NoiseSchedule.scaled_linear(), LINEAR.respaced(50)]
)
def test_zero_terminal_snr_stretches_the_signal(schedule):
    zero = schedule.zero_terminal_snr()
    root, before = zero.sqrt_alphas_cumprod, schedule.sqrt_alphas_cumprod
    assert root[0] == pytest.approx(before[0], rel=1e-12)
    floor = min(2.0**-24, zero.alphas_cumprod[-2] / 2)  # linear's last step but one is below 2⁻²⁴
    assert zero.alphas_cumprod[-1] == pytest.approx(floor, rel=1e-9)
    # All but the last lie on one straight line with where they were, which ends at 0.
    slope = (root[:-1] - root[0]) / (before[:-1] - before[0] + (before[:-1] == before[0]))
    np.testing.assert_allclose(slope[1:], before[0] / (before[0] - before[-1]), rtol=1e-8)
    assert zero.timesteps.tolist() == schedule.timesteps.tolist()


def test_zero_terminal_snr_falls_to_the_end():
    """diffusers sets the last ᾱ to 2⁻²⁴ here, above the one before."""
    zero = LINEAR.zero_terminal_snr()
    assert zero.alphas_cumprod[-1] < zero.alphas_cumprod[-2] < 2.0**-24
    assert NoiseSchedule.scaled_linear().zero_terminal_snr().alphas_cumprod[-1] == pytest.approx(
        2.0**-24, rel=1e-9
    )


@BOTH
def test_prior_and_ends(schedule):
    assert schedule.alphas_cumprod_prev[0] == 1
    assert schedule.posterior_variance[0] == 0
    assert schedule.posterior_mean_coef2[0] == 0
    assert schedule.posterior_mean_coef1[0] == pytest.approx(1, rel=1e-11)
    assert schedule.alphas_cumprod[-1] < 1e-4


def test_prior_term_in_bits_per_dimension():
    """KL( q(x_T | x_0 = 1) ‖ N(0, 1) ), what pretending that x_T is pure noise costs.

    The published 2.911236e-05 comes of float32, which rounds ½(v − 1 − log v) for the variance
    v = 1 − ᾱ to 0 and leaves the mean's ½ᾱ; in full it is −½ log₂(1−ᾱ).
    """
    abar = LINEAR.alphas_cumprod[-1]
    mean, variance = LINEAR.sqrt_alphas_cumprod[-1], LINEAR.sqrt_one_minus_alphas_cumprod[-1] ** 2
    bits = 0.5 * (mean**2 + variance - 1 - math.log(variance)) / math.log(2)
    assert 0.5 * mean**2 / math.log(2) == pytest.approx(2.911236e-05, rel=2e-7)
    assert bits == pytest.approx(-0.5 * math.log1p(-abar) / math.log(2), rel=1e-10)
    assert bits == pytest.approx(2.911295e-05, rel=2e-7)


@BOTH
def test_one_step_after_another_is_the_jump_to_step_t(schedule):
    """Mean factor m and variance v of x_t given x_0, carried through q(x_t | x_{t−1}) by hand."""
    m, v = 1.0, 0.0
    for t, beta in enumerate(schedule.betas.tolist()):
        m, v = math.sqrt(1 - beta) * m, (1 - beta) * v + beta
        assert schedule.sqrt_alphas_cumprod[t] == pytest.approx(m, rel=1e-12)
        assert schedule.sqrt_one_minus_alphas_cumprod[t] == pytest.approx(math.sqrt(v), rel=1e-10)
    np.testing.assert_allclose(
        schedule.snr, schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    )


@BOTH
def test_posterior_is_bayes_rule(schedule):
    """q(x_{t−1} | x_t, x_0) ∝ q(x_t | x_{t−1}) q(x_{t−1} | x_0): precisions add."""
    t = np.arange(1, schedule.T)
    beta, alpha, before = schedule.betas[t], schedule.alphas[t], schedule.alphas_cumprod[t - 1]
    precision = alpha / beta + 1 / (1 - before)
    np.testing.assert_allclose(schedule.posterior_variance[t], 1 / precision, rtol=1e-10)
    np.testing.assert_allclose(
        schedule.posterior_mean_coef1[t], np.sqrt(before) / (1 - before) / precision, rtol=1e-10
    )
    np.testing.assert_allclose(
        schedule.posterior_mean_coef2[t], np.sqrt(alpha) / beta / precision, rtol=1e-10
    )


@BOTH
def test_log_variance_is_finite_from_the_first_step(schedule):
    log_variance = schedule.posterior_log_variance_clipped
    np.testing.assert_allclose(np.exp(log_variance[1:]), schedule.posterior_variance[1:])
    assert log_variance[0] == log_variance[1]


@BOTH
def test_everything_is_float64_read_only_and_computed_once(schedule):
    for name in ["betas", *DERIVED]:
        array = getattr(schedule, name)
        assert isinstance(array, np.ndarray) and array.shape == (1000,), name
        assert array.dtype == np.float64, name
        assert np.isfinite(array).all(), name
        assert getattr(schedule, name) is array, name
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.betas = np.ones(3)


def test_betas_are_copied():
    betas = np.array([0.1, 0.2])
    schedule = NoiseSchedule(betas)
    betas[0] = 0.9
    assert schedule.betas.tolist() == [0.1, 0.2]
    assert betas.flags.writeable


def test_one_step_is_a_schedule():
    schedule = NoiseSchedule([0.5])
    assert schedule.T == 1
    for name in DERIVED:
        assert np.isfinite(getattr(schedule, name)).all(), name


# Respacing


@BOTH
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 333, 999])
def test_respaced_keeps_the_noise_levels_it_visits(schedule, steps):
    fewer = schedule.respaced(steps)
    assert len(fewer.betas) == len(fewer.timesteps) == steps
    np.testing.assert_allclose(
        fewer.alphas_cumprod, schedule.alphas_cumprod[fewer.timesteps], rtol=1e-7
    )
    assert fewer.timesteps[-1] == 999, "sampling has to begin where x_T is pure noise"
    assert fewer.alphas_cumprod_prev[0] == 1


def test_respaced_strides_are_equal_down_to_the_clean_picture():
    assert LINEAR.respaced(4).timesteps.tolist() == [249, 499, 749, 999]
    assert LINEAR.timesteps.tolist() == list(range(1000))
    assert LINEAR.respaced(1000) is LINEAR
    assert LINEAR.respaced(100).respaced(4).timesteps.tolist() == [249, 499, 749, 999]


def test_respaced_visits_no_step_twice():
    for T in range(1, 40):
        schedule = NoiseSchedule.cosine(T)
        for steps in range(1, T + 1):
            visited = schedule.respaced(steps).timesteps
            assert np.diff(visited, prepend=-1).min() >= 1, (T, steps)
            off = visited + 1 - T / steps * np.arange(1, steps + 1)
            assert np.abs(off).max() <= 0.5 + 1e-12, (T, steps)


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoiseSchedule([]), "betas"),
        (lambda: NoiseSchedule([[0.1, 0.2]]), "betas"),
        (lambda: NoiseSchedule([0.1, 1.0]), r"betas\[1\] = 1"),
        (lambda: NoiseSchedule([0.0, 0.1]), r"betas\[0\] = 0"),
        (lambda: NoiseSchedule([0.1, float("nan")]), r"betas\[1\] = nan"),
        (lambda: NoiseSchedule([0.1, 0.2], timesteps=[0]), "timesteps"),
        (lambda: NoiseSchedule([0.1, 0.2], timesteps=[0.0, 1.0]), "timesteps"),
        (lambda: NoiseSchedule([0.1, 0.2], timesteps=[1, 0]), "timesteps"),
        (lambda: NoiseSchedule([0.1, 0.2], timesteps=[-1, 0]), "timesteps"),
        (lambda: NoiseSchedule.linear(0), "T: .* got 0"),
        (lambda: NoiseSchedule.linear(10.0), "T: .* got 10.0"),
        (lambda: NoiseSchedule.linear(True), "T: "),
        (lambda: NoiseSchedule.linear(10, beta_end=1.5), "betas"),
        (lambda: NoiseSchedule.cosine(-1), "T: "),
        (lambda: NoiseSchedule.cosine(10, s=-0.1), "s: "),
        (lambda: NoiseSchedule.cosine(10, max_beta=1.0), "max_beta"),
        (lambda: NoiseSchedule.scaled_linear(10, beta_start=-1), "beta_start: .*-1"),
        (lambda: NoiseSchedule.scaled_linear(10, beta_end=1), "beta_end: "),
        (lambda: NoiseSchedule.sigmoid(10, start=3), "start: .*below end = 3.0, got 3"),
        (lambda: NoiseSchedule.sigmoid(10, end=float("inf")), "start: "),
        (lambda: NoiseSchedule.sigmoid(10, tau=0), "tau: "),
        (lambda: NoiseSchedule.sigmoid(10, max_beta=0), "max_beta"),
        (lambda: NoiseSchedule.from_alphas_cumprod([]), "alphas_cumprod"),
        (lambda: NoiseSchedule.from_alphas_cumprod([[0.5]]), "alphas_cumprod"),
        (lambda: NoiseSchedule.from_alphas_cumprod([1.0]), r"cumprod\[0\] = 1.0 after 1.0"),
        (lambda: NoiseSchedule.from_alphas_cumprod([0.9, 0.5, 0.5]), r"\[2\] = 0.5 after 0.5"),
        (lambda: NoiseSchedule.from_alphas_cumprod([0.9, 0.5, 0.6]), r"\[2\] = 0.6 after 0.5"),
        (lambda: NoiseSchedule.from_alphas_cumprod([0.9, 0.0]), r"\[1\] = 0.0"),
        (lambda: NoiseSchedule.from_alphas_cumprod([float("nan")]), r"\[0\] = nan"),
        (lambda: NoiseSchedule.linear(1).zero_terminal_snr(), "T ≥ 2"),
        (lambda: LINEAR.respaced(0), "steps: .* got 0"),
        (lambda: LINEAR.respaced(1001), "steps: .*1000, got 1001"),
        (lambda: LINEAR.respaced(2.5), "steps: "),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Between the steps


@pytest.mark.parametrize("schedule", [NoiseSchedule.linear(), NoiseSchedule.cosine(50)])
def test_between_two_steps_the_snr_is_their_geometric_mean(schedule):
    signal, sigma = schedule.signal_and_sigma(np.array([3.5]))
    expected = np.sqrt(schedule.snr[3] * schedule.snr[4])
    np.testing.assert_allclose((signal / sigma) ** 2, expected, rtol=1e-12)
    np.testing.assert_allclose(signal**2 + sigma**2, 1, rtol=1e-14)


@pytest.mark.parametrize("schedule", [NoiseSchedule.linear(), NoiseSchedule.cosine(50)])
def test_whole_steps_are_the_same_as_fractions(schedule):
    t = np.arange(schedule.T)
    for whole, fraction in zip(
        schedule.signal_and_sigma(t), schedule.signal_and_sigma(t.astype(float)), strict=True
    ):
        np.testing.assert_allclose(fraction, whole, rtol=1e-9)


def test_a_noise_level_has_its_moment():
    schedule = NoiseSchedule.linear()
    moments = np.random.default_rng(0).uniform(0, 999, 50)
    signal, sigma = schedule.signal_and_sigma(moments)
    np.testing.assert_allclose(schedule.moment_of(sigma / signal), moments, rtol=1e-9)
    np.testing.assert_allclose(schedule.moment_of(schedule.sigmas), np.arange(1000), atol=1e-9)
    assert schedule.moment_of(1e-9) == 0
    assert schedule.moment_of(1e9) == 999
