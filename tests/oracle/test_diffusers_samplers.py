"""Solvers between the schedule's steps, and DDIM backwards, against diffusers' schedulers.

diffusers computes noise levels in float32 and rounds the t it tells the network to whole steps
(some of its schedulers): so it is given ours, and the network hears of σ rather than t.
"""

import math

import numpy as np
import pytest

from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import (
    Churn,
    NoiseSchedule,
    invert_ddim,
    sample_ddpm,
    sample_dpm_solver,
    sample_euler,
    sample_heun,
)
from tinydiff.diffusion.samplers.shared import even_log_snr, karras

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.oracle

SCHEDULES = {"linear": NoiseSchedule.linear(), "squaredcos_cap_v2": NoiseSchedule.cosine()}
NAMES = pytest.mark.parametrize("name", SCHEDULES)
LEVELS = pytest.mark.parametrize("levels", [karras, even_log_snr])
CLIP = pytest.mark.parametrize("clip", [True, False])
SHAPE, STEPS = (3, 4, 4, 2), 12


def network(x, sigma):
    """ε of x = x_t, from σ = √(1−ᾱ)/√ᾱ: any function will do, if it depends on both.

    A gentle one: what differs by rounding is not to grow.
    """
    return 0.7 * np.tanh(x) + 0.2 * np.sin(x + math.log(sigma))


def our_denoiser(schedule):
    def denoise(x, t):
        signal, sigma = schedule.signal_and_sigma(t[0])
        return asarray(network(to_numpy(x), float(sigma / signal)))

    return denoise


class TorchNoise:
    """Stands in for the generator of our samplers: the numbers diffusers will draw."""

    def __init__(self, seed, dtype):
        self.generator, self.dtype = torch.Generator().manual_seed(seed), dtype

    def standard_normal(self, shape, dtype):
        numbers = torch.randn(shape, generator=self.generator, dtype=self.dtype)
        return numbers.numpy().astype(dtype)


def scheduler(kind, name, **settings):
    theirs = kind(beta_schedule=name, beta_start=1e-4, beta_end=0.02, **settings)
    theirs.alphas_cumprod = torch.tensor(SCHEDULES[name].alphas_cumprod)
    return theirs


def clipped(eps, y, sigma, clip):
    """ε after its x_0 has been clamped, for schedulers of diffusers that cannot clamp."""
    x0 = y - sigma * eps
    return (y - np.clip(x0, -1, 1)) / sigma if clip else eps


def compare(ours, theirs, tolerance):
    """Frame by frame, relative to how large the frame is."""
    frames = 0
    for frame, (mine, expected) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(
            to_numpy(mine), expected, rtol=tolerance, atol=tolerance, err_msg=f"step {frame}"
        )
        frames += 1
    assert frames == STEPS


X_T = np.random.default_rng(0).standard_normal(SHAPE)


@NAMES
@LEVELS
@CLIP
@pytest.mark.parametrize("churn", [Churn(), Churn(3, 0.05, 20, 1.01)])
def test_euler(name, levels, clip, churn):
    schedule, sigmas = SCHEDULES[name], levels(SCHEDULES[name], STEPS)

    def theirs():
        euler = scheduler(diffusers.EulerDiscreteScheduler, name)
        euler.set_timesteps(STEPS)
        euler.sigmas, euler.is_scale_input_called = torch.tensor(sigmas, dtype=torch.float64), True
        y = torch.tensor(X_T * math.hypot(1, sigmas[0]))
        settings = {field.lower(): value for field, value in vars(churn).items()}
        settings["generator"] = torch.Generator().manual_seed(1)
        ahead = TorchNoise(1, torch.float64)
        for t, sigma, after in zip(euler.timesteps, sigmas[:-1], sigmas[1:], strict=True):
            # What the network will see: its input is asked for after the noise has been added.
            inside = churn.S_tmin <= sigma <= churn.S_tmax and churn.S_churn > 0
            raised = sigma * (1 + min(churn.S_churn / STEPS, math.sqrt(2) - 1) * inside)
            seen = y.numpy().copy()
            if inside:
                z = ahead.standard_normal(SHAPE, np.float64)
                seen = seen + churn.S_noise * z * math.sqrt(raised**2 - sigma**2)
            eps = clipped(network(seen / math.hypot(1, raised), raised), seen, raised, clip)
            y = euler.step(torch.tensor(eps), t, y, **settings).prev_sample
            yield y.numpy() / math.hypot(1, after)

    rng = TorchNoise(1, torch.float64)
    settings = dict(steps=STEPS, levels=levels, churn=churn, clip=clip, rng=rng)
    # diffusers takes its steps in float32, where y at σ = 80 has an error of 80 · 6e-8.
    compare(sample_euler(our_denoiser(schedule), X_T, schedule, **settings), theirs(), 1e-5)


@NAMES
@LEVELS
@CLIP
def test_heun(name, levels, clip):
    schedule, sigmas = SCHEDULES[name], levels(SCHEDULES[name], STEPS)

    def theirs():
        heun = scheduler(diffusers.HeunDiscreteScheduler, name, clip_sample=clip)
        heun.set_timesteps(STEPS)
        between = np.repeat(sigmas[1:-1], 2)
        heun.sigmas = torch.tensor([sigmas[0], *between, 0.0], dtype=torch.float64)
        y = torch.tensor(X_T * math.hypot(1, sigmas[0]))
        seen = [sigmas[0], *between]
        for i, (t, sigma) in enumerate(zip(heun.timesteps, seen, strict=True)):
            eps = network(y.numpy() / math.hypot(1, sigma), sigma)
            y = heun.step(torch.tensor(eps), t, y).prev_sample
            if i % 2 or i == len(seen) - 1:
                yield y.numpy() / math.hypot(1, sigma if i % 2 else 0)

    settings = dict(steps=STEPS, levels=levels, clip=clip)
    compare(sample_heun(our_denoiser(schedule), X_T, schedule, **settings), theirs(), 1e-9)


@NAMES
@LEVELS
@CLIP
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "sde-dpmsolver++"])
def test_dpm_solver(name, levels, clip, algorithm):
    schedule, sigmas = SCHEDULES[name], levels(SCHEDULES[name], STEPS)

    def theirs():
        solver = scheduler(
            diffusers.DPMSolverMultistepScheduler,
            name,
            algorithm_type=algorithm,
            solver_order=2,
            lower_order_final=False,
            final_sigmas_type="zero",
        )
        solver.set_timesteps(STEPS)
        solver.sigmas = torch.tensor(sigmas, dtype=torch.float64)
        generator, x = torch.Generator().manual_seed(1), torch.tensor(X_T)
        for t, sigma in zip(solver.timesteps, sigmas[:-1], strict=True):
            eps, scale = network(x.numpy(), sigma), math.hypot(1, sigma)
            eps = clipped(eps, x.numpy() * scale, sigma, clip)
            x = solver.step(torch.tensor(eps), t, x, generator=generator).prev_sample
            yield x.numpy()

    rng, stochastic = TorchNoise(1, torch.float32), algorithm.startswith("sde")
    settings = dict(steps=STEPS, levels=levels, stochastic=stochastic, clip=clip, rng=rng)
    ours = sample_dpm_solver(our_denoiser(schedule), X_T, schedule, **settings)
    compare(ours, theirs(), 1e-5)  # in float32, as above


@NAMES
def test_inverting_ddim(name):
    schedule, steps = SCHEDULES[name], 20
    few = schedule.respaced(steps)

    def theirs():
        inverse = scheduler(
            diffusers.DDIMInverseScheduler, name, clip_sample=False, timestep_spacing="trailing"
        )
        inverse.initial_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
        inverse.set_timesteps(steps)
        assert inverse.timesteps.tolist() == few.timesteps.tolist()
        x = torch.tensor(X_T)
        for t in inverse.timesteps:
            eps = torch.tensor(network(x.numpy(), schedule.sigmas[t]))
            x = inverse.step(eps, int(t), x).prev_sample
            yield x.numpy()

    ours = list(invert_ddim(our_denoiser(schedule), X_T, schedule, steps=steps))
    expected = list(theirs())
    assert len(ours) == len(expected) == steps
    for mine, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(to_numpy(mine), other, rtol=1e-9, atol=1e-9)


@NAMES
@CLIP
@pytest.mark.parametrize(
    ("variance", "variance_type"), [("large", "fixed_large"), ("learned", "learned_range")]
)
@pytest.mark.parametrize("steps", [1000, 50])
def test_ddpm_with_other_variances(name, clip, variance, variance_type, steps):
    schedule, ideal = SCHEDULES[name], our_denoiser(SCHEDULES[name])
    fraction = lambda x: 0.5 + 0.5 * np.sin(x)

    def denoise(x, t):
        return ideal(x, t)

    denoise.with_variance = lambda x, t: (ideal(x, t), asarray(fraction(to_numpy(x))))

    def theirs():
        ddpm = scheduler(
            diffusers.DDPMScheduler,
            name,
            clip_sample=clip,
            variance_type=variance_type,
            timestep_spacing="trailing",
        )
        ddpm.set_timesteps(steps)
        # diffusers expects the channels second, and finds the variance behind them there.
        x, generator = torch.tensor(X_T), torch.Generator().manual_seed(1)
        for t in ddpm.timesteps:
            output = network(x.numpy(), schedule.sigmas[t])
            if variance == "learned":
                output = np.concatenate([output, 2 * fraction(x.numpy()) - 1], axis=1)
            x = ddpm.step(torch.tensor(output), t, x, generator=generator).prev_sample
            yield x.numpy()

    rng = TorchNoise(1, torch.float64)
    ours = sample_ddpm(denoise, X_T, schedule, steps=steps, variance=variance, clip=clip, rng=rng)
    for frame, (mine, expected) in enumerate(zip(ours, theirs(), strict=True)):
        if steps < 1000 and frame == steps - 1:
            break  # diffusers adds noise in the last step, too, unless it is step 0 of all T
        np.testing.assert_allclose(
            to_numpy(mine), expected, rtol=1e-7, atol=1e-7, err_msg=f"step {frame}"
        )
