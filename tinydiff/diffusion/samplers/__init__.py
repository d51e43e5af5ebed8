"""From noise to a picture: samplers, each a generator that yields x after every step.

    sampler(denoise, x_T, schedule, *, steps, clip=True, rng=None, …)

A sampler is given denoise(x, t) -> ε, the network's guess of the noise in x (see
`tinydiff.diffusion.denoiser`), the noise x_T to start from, and the schedule the network was
trained with.  The last x it yields is the picture, all of them are a film:

    *_, picture = sample_ddim(denoise, x_T, schedule, steps=50)

x_T is a floating-point array (N, ...), and every x a backend array like it.  ``clip`` clamps the
predicted x_0 to [−1, 1], the range of pictures, at every step: without it errors add up and
colours saturate.  ``rng`` draws the noise, the process's generator by default.  Arguments that do
not fit raise ValueError or TypeError when the first x is asked for.

DDPM, DDIM and predictor–corrector visit ``steps`` of the schedule's T moments
(`NoiseSchedule.respaced`); the others choose noise levels in between, and ask at fractional t.
"""

from collections.abc import Callable
from functools import partial

from tinydiff.diffusion.samplers.ddim import invert_ddim, sample_ddim
from tinydiff.diffusion.samplers.ddpm import sample_ddpm
from tinydiff.diffusion.samplers.dpm_solver import sample_dpm_solver
from tinydiff.diffusion.samplers.edm import Churn, sample_euler, sample_heun
from tinydiff.diffusion.samplers.flow import sample_rectified_flow
from tinydiff.diffusion.samplers.ode import sample_ode
from tinydiff.diffusion.samplers.predictor_corrector import sample_predictor_corrector

SAMPLERS: dict[str, Callable] = {
    "ddpm": sample_ddpm,
    "ddim": sample_ddim,
    "euler": sample_euler,
    "heun": sample_heun,
    "dpm-solver": sample_dpm_solver,
    "dpm-solver-sde": partial(sample_dpm_solver, stochastic=True),
    "ode": sample_ode,
    "flow": sample_rectified_flow,
    "predictor-corrector": sample_predictor_corrector,
}
"""All of them by name; each takes steps, clip and rng."""
