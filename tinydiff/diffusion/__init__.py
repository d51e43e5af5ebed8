"""Diffusion models: a schedule, Gaussian noise and its reversal, samplers, guidance.

    diffusion = GaussianDiffusion(NoiseSchedule.cosine(), prediction="v")
    loss = diffusion.training_loss(model, x0, cond=labels)             # Algorithm 1
    denoise = classifier_free(model, diffusion, labels, scale=2.0)     # or denoiser(...)
    *_, pictures = sample_ddim(denoise, x_T, diffusion.schedule)       # in 50 steps

`sample_ddpm` is Ho et al.'s Algorithm 2, in as many steps as the schedule has.  `Pipeline` holds
all of it together and comes back from a checkpoint.
"""

from tinydiff.diffusion.denoiser import denoiser
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.diffusion.guidance import classifier_free
from tinydiff.diffusion.pipeline import Pipeline
from tinydiff.diffusion.samplers import sample_ddim, sample_ddpm
from tinydiff.diffusion.schedule import NoiseSchedule

__all__ = [
    "GaussianDiffusion",
    "NoiseSchedule",
    "Pipeline",
    "classifier_free",
    "denoiser",
    "sample_ddim",
    "sample_ddpm",
]
