"""Which pixels speak for a number in the network?  Answers made of gradients; F is that number.

    saliency               max_c |∂F/∂x_c|, the largest of the colours
    input × gradient       x·∂F/∂x
    SmoothGrad             mean over z of ∂F/∂x at x + σz
    integrated gradients   (x − x′)·∫₀¹ ∂F/∂x at x′ + a(x − x′) da;  they sum to F(x) − F(x′)

All take pictures (N, H, W, C), uint8 or floats in [−1, 1], and a target: a Unit or any objective
(visualize/target.py).  They raise what `gradient` does.

Sources: K. Simonyan et al., "Deep Inside Convolutional Networks", 2014, section 3.1; A. Shrikumar
et al., "Not Just a Black Box", 2016; D. Smilkov et al., "SmoothGrad", 2017; M. Sundararajan et al.,
"Axiomatic Attribution for Deep Networks", 2017.
"""

from __future__ import annotations

import numpy as np

from tinydiff.backend import randn, to_numpy
from tinydiff.checks import at_least_one, positive
from tinydiff.images import to_input
from tinydiff.nn import Module
from tinydiff.visualize.gradient import gradient, gradients_at, input_of
from tinydiff.visualize.target import Objective


def saliency(model: Module, images: np.ndarray, target: Objective) -> np.ndarray:
    """How much the target changes with each pixel, (N, H, W), ≥ 0."""
    return np.abs(gradient(model, images, target)).max(axis=3)


def input_times_gradient(model: Module, images: np.ndarray, target: Objective) -> np.ndarray:
    """What each value adds to the target if that were linear in x ∈ [−1, 1]: (N, H, W, C)

    Zero is middle grey: what is black counts with the opposite sign.
    """
    return input_of(model, images) * gradient(model, images, target)


def smooth_grad(
    model: Module,
    images: np.ndarray,
    target: Objective,
    *,
    samples: int = 50,
    noise: float = 0.15,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """The mean gradient of noisy copies, (N, H, W, C).

    noise  their standard deviation, as a share of the range from black to white, which is 2
    rng    default: the process's own
    """
    from tqdm import trange  # see tinydiff/training/progress.py

    at_least_one(samples=samples)
    positive(noise=noise)
    x = input_of(model, images)
    total = np.zeros_like(x)
    for _ in trange(samples, desc="SmoothGrad", delay=2, leave=False):
        noisy = x + 2 * noise * to_numpy(randn(x.shape, rng=rng, dtype=x.dtype))
        total += gradients_at(model, noisy, target)
    return total / samples


def integrated_gradients(
    model: Module,
    images: np.ndarray,
    target: Objective,
    *,
    baseline: np.ndarray | None = None,
    steps: int = 50,
) -> np.ndarray:
    """What each value adds to the target on the way from the baseline to the picture: (N, H, W, C)

    baseline  pictures like the images, or one for all; None is black
    steps     places on the way, those of Gauss and Legendre, who need few
    """
    from tqdm import trange

    at_least_one(steps=steps)
    x = input_of(model, images)
    start = np.full_like(x, -1) if baseline is None else to_input(baseline, x.dtype)
    if start.shape[1:] != x.shape[1:] or len(start) not in (1, len(x)):
        raise ValueError(f"baseline: shape {start.shape} does not fit pictures {x.shape}")
    places, weights = np.polynomial.legendre.leggauss(steps)  # on [−1, 1]
    total = np.zeros_like(x)
    for k in trange(steps, desc="integrating", delay=2, leave=False):
        point = start + (x - start) * float((1 + places[k]) / 2)
        total += float(weights[k] / 2) * gradients_at(model, point, target)
    return (x - start) * total
