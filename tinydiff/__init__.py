"""tinydiff: a small deep-learning engine on NumPy or CuPy, and diffusion models on top of it."""

from tinydiff import (
    adversarial,
    autoencoding,
    data,
    diffusion,
    images,
    metrics,
    models,
    nn,
    ops,
    optim,
    training,
    vision,
    visualize,
)
from tinydiff.backend import seed
from tinydiff.gradcheck import gradcheck
from tinydiff.ops import methods as _methods
from tinydiff.recompute import checkpoint
from tinydiff.recording import no_grad
from tinydiff.team import team_of
from tinydiff.tensor import Tensor, grad
from tinydiff.training import load, save

__version__ = "0.1.0"
