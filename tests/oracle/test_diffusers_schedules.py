"""Schedules and samplers against diffusers' DDPMScheduler and DDIMScheduler, step by step."""

import numpy as np
import pytest

from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion import GaussianDiffusion, NoiseSchedule, denoiser, sample_ddim, sample_ddpm
from tinydiff.tensor import Tensor

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.oracle

SCHEDULES = {"linear": NoiseSchedule.linear(), "squaredcos_cap_v2": NoiseSchedule.cosine()}
NAMES = pytest.mark.parametrize("name", SCHEDULES)
SHAPE = (3, 4, 4, 2)


def scheduler(kind, name, **settings):
    """diffusers' scheduler, with ᾱ in float64 so that the steps can be compared to the last digits.

    "trailing" is how diffusers calls our strides: equal, down from the last step.
    """
    theirs = kind(
        beta_schedule=name,
        beta_start=1e-4,
        beta_end=0.02,
        timestep_spacing="trailing",
        **settings,
    )
    theirs.alphas_cumprod = torch.tensor(SCHEDULES[name].alphas_cumprod)
    return theirs


def network(x, t):
    """Any function will do, if it depends on x and t and now and then leads x0 beyond [−1, 1]."""
    return np.sin(3 * x + t.reshape(-1, 1, 1, 1) / 50) + 0.1 * x


class TorchNoise:
    """Stands in for the generator of tinydiff's samplers: the numbers diffusers will draw."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def standard_normal(self, shape, dtype):
        return (
            torch.randn(shape, generator=self.generator, dtype=torch.float64).numpy().astype(dtype)
        )


def their_film(theirs, x_T, steps, **settings):
    theirs.set_timesteps(steps)
    x = torch.tensor(x_T)
    for t in theirs.timesteps:
        output = torch.tensor(network(x.numpy(), np.full(len(x), int(t))))
        x = theirs.step(output, t, x, **settings).prev_sample
        yield x.numpy()


def compare(ours, theirs, steps):
    frames = 0
    for frame, (mine, expected) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(
            to_numpy(mine), expected, rtol=1e-8, atol=1e-8, err_msg=f"step {frame}"
        )
        frames += 1
    assert frames == steps


def our_denoiser(name, prediction):
    model = lambda x, t, cond: Tensor(asarray(network(to_numpy(x.data), to_numpy(t))))
    return denoiser(model, GaussianDiffusion(SCHEDULES[name], prediction))


PREDICTIONS = pytest.mark.parametrize(
    ("prediction", "prediction_type"), [("eps", "epsilon"), ("v", "v_prediction")]
)


@NAMES
def test_schedules_agree_to_float32(name):
    theirs = diffusers.DDPMScheduler(beta_schedule=name, beta_start=1e-4, beta_end=0.02)
    np.testing.assert_allclose(theirs.betas, SCHEDULES[name].betas, rtol=2e-5)
    np.testing.assert_allclose(theirs.alphas_cumprod, SCHEDULES[name].alphas_cumprod, rtol=2e-5)


def test_scaled_linear_agrees_to_float32():
    theirs = diffusers.DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    ours = NoiseSchedule.scaled_linear()
    np.testing.assert_allclose(theirs.betas, ours.betas, rtol=2e-5)
    np.testing.assert_allclose(theirs.alphas_cumprod, ours.alphas_cumprod, rtol=2e-5)


def test_zero_terminal_snr():
    from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

    for schedule in (*SCHEDULES.values(), NoiseSchedule.scaled_linear()):
        theirs = rescale_zero_terminal_snr(torch.tensor(schedule.betas))
        ours = schedule.zero_terminal_snr()
        np.testing.assert_allclose(ours.betas[:-1], theirs[:-1], rtol=1e-9)
        assert theirs[-1] == 1
    euler = diffusers.EulerDiscreteScheduler(rescale_betas_zero_snr=True)
    assert ours.alphas_cumprod[-1] == pytest.approx(float(euler.alphas_cumprod[-1]), rel=1e-6)


@NAMES
def test_q_sample_and_velocity(name):
    theirs = scheduler(diffusers.DDPMScheduler, name)
    rng = np.random.default_rng(0)
    x0, noise = rng.uniform(-1, 1, SHAPE), rng.standard_normal(SHAPE)
    t = np.array([0, 500, 999])
    args = torch.tensor(x0), torch.tensor(noise), torch.tensor(t)
    ours = GaussianDiffusion(SCHEDULES[name], "v")
    x0, noise = asarray(x0), asarray(noise)
    np.testing.assert_allclose(to_numpy(ours.q_sample(x0, t, noise)), theirs.add_noise(*args))
    np.testing.assert_allclose(to_numpy(ours.target(x0, t, noise)), theirs.get_velocity(*args))


@NAMES
@PREDICTIONS
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [1000, 50])
def test_ddpm_step_by_step(name, prediction, prediction_type, clip, steps):
    theirs = scheduler(
        diffusers.DDPMScheduler, name, clip_sample=clip, prediction_type=prediction_type
    )
    x_T = np.random.default_rng(0).standard_normal(SHAPE)
    ours = sample_ddpm(
        our_denoiser(name, prediction),
        x_T,
        SCHEDULES[name],
        steps=steps,
        clip=clip,
        rng=TorchNoise(1),
    )
    generator = torch.Generator().manual_seed(1)
    compare(ours, their_film(theirs, x_T, steps, generator=generator), steps)


@NAMES
@PREDICTIONS
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_step_by_step(name, prediction, prediction_type, clip, eta):
    theirs = scheduler(
        diffusers.DDIMScheduler, name, clip_sample=clip, prediction_type=prediction_type
    )
    x_T = np.random.default_rng(0).standard_normal(SHAPE)
    ours = sample_ddim(
        our_denoiser(name, prediction),
        x_T,
        SCHEDULES[name],
        steps=50,
        eta=eta,
        clip=clip,
        rng=TorchNoise(1),
    )
    # Clamping x0 in diffusers leaves ε as it was unless told otherwise.
    settings = dict(eta=eta, use_clipped_model_output=True)
    generator = torch.Generator().manual_seed(1)
    compare(ours, their_film(theirs, x_T, 50, generator=generator, **settings), 50)


@NAMES
def test_learned_variance(name):
    theirs = scheduler(diffusers.DDPMScheduler, name, variance_type="learned_range")
    ours = GaussianDiffusion(SCHEDULES[name], learned_variance=True)
    x, output = np.random.default_rng(0).standard_normal((2, 1, 4, 4, 2))
    output = np.concatenate([x, output], axis=-1)
    for t in (1, 500, 999):
        _, log_variance = ours.p_mean_variance(asarray(x), np.array([t]), asarray(output))
        theirs_log = theirs._get_variance(t, torch.tensor(output[..., 2:]))
        np.testing.assert_allclose(to_numpy(log_variance), theirs_log, rtol=1e-4)
