"""Diffusion models: a schedule, Gaussian noise and its reversal, samplers, guidance.

    diffusion = GaussianDiffusion(NoiseSchedule.cosine(), prediction="v")
    loss = diffusion.training_loss(model, x0, cond=labels)             # Algorithm 1
    denoise = classifier_free(model, diffusion, labels, scale=2.0)     # or denoiser(...)
    *_, pictures = sample_ddim(denoise, x_T, diffusion.schedule)       # in 50 steps

A network may predict ε, x_0, v, the score or a flow (`parametrisation`), learn a variance too
(`learned_variance`), be trained with other weights (`weights`) at other steps (`timesteps`), or at
any noise level, by `EDM`.  `continuous` holds the SDEs behind it all, `samplers` the other ways
from noise to pictures, `flow` networks trained on straight lines, without a schedule, and `ladder`
a chain that halves the pictures as it goes; `latent` diffuses what an autoencoder makes of
pictures, and `cascade` makes small pictures large.  `Pipeline` holds all of it together and comes
back from a checkpoint.
"""

from tinydiff.diffusion.cascade import SuperResolution, draw_cascade
from tinydiff.diffusion.classifier_guidance import classifier_guided
from tinydiff.diffusion.conditioning import null_condition
from tinydiff.diffusion.continuous import EDMSDE, VESDE, VPSDE, SubVPSDE
from tinydiff.diffusion.denoiser import denoiser
from tinydiff.diffusion.editing import inpaint, interpolate, sdedit, slerp, variations
from tinydiff.diffusion.edm import EDM
from tinydiff.diffusion.flow import flow_velocity, sample_flow
from tinydiff.diffusion.gaussian import GaussianDiffusion
from tinydiff.diffusion.guidance import classifier_free
from tinydiff.diffusion.ladder import Ladder, ladder_decoder, sample_ladder
from tinydiff.diffusion.latent import LatentBatches, LatentPipeline, load_pipeline
from tinydiff.diffusion.pipeline import Pipeline
from tinydiff.diffusion.samplers import (
    Churn,
    invert_ddim,
    sample_ddim,
    sample_ddpm,
    sample_dpm_solver,
    sample_euler,
    sample_heun,
    sample_ode,
    sample_predictor_corrector,
    sample_rectified_flow,
)
from tinydiff.diffusion.schedule import NoiseSchedule
from tinydiff.diffusion.threshold import dynamic_threshold
from tinydiff.diffusion.timesteps import LossAwareTimesteps, UniformTimesteps

__all__ = [
    "EDM",
    "EDMSDE",
    "VESDE",
    "VPSDE",
    "Churn",
    "GaussianDiffusion",
    "Ladder",
    "LatentBatches",
    "LatentPipeline",
    "LossAwareTimesteps",
    "NoiseSchedule",
    "Pipeline",
    "SubVPSDE",
    "SuperResolution",
    "UniformTimesteps",
    "classifier_free",
    "classifier_guided",
    "denoiser",
    "draw_cascade",
    "dynamic_threshold",
    "flow_velocity",
    "inpaint",
    "interpolate",
    "invert_ddim",
    "ladder_decoder",
    "load_pipeline",
    "null_condition",
    "sample_ddim",
    "sample_ddpm",
    "sample_dpm_solver",
    "sample_euler",
    "sample_flow",
    "sample_heun",
    "sample_ladder",
    "sample_ode",
    "sample_predictor_corrector",
    "sample_rectified_flow",
    "sdedit",
    "slerp",
    "variations",
]
