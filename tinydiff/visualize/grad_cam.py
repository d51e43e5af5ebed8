"""Grad-CAM: where in the picture are the maps that speak for a class?

    α_c = mean over pixels of ∂y/∂A_c          how much channel c of a layer's answer A counts
    CAM = max(0, Σ_c α_c A_c)                  of A's resolution, then as large as the picture

Source: R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", 2017, section 3.
"""

from __future__ import annotations

import numpy as np

from tinydiff import ops
from tinydiff.backend import to_numpy, xp
from tinydiff.nn import Module, frozen
from tinydiff.recording import no_grad
from tinydiff.tensor import Tensor, grad
from tinydiff.visualize.gradient import batches, input_of
from tinydiff.visualize.target import Objective, listening


def grad_cam(model: Module, images: np.ndarray, target: Objective, layer: str) -> np.ndarray:
    """How much each place of the layer speaks for the target, (N, H, W) like the pictures, ≥ 0.

    layer  the path of one that answers with maps (N, h, w, C), between picture and target; usually
           the last of `last_of_each_size`
    """
    return np.concatenate([_cam(model, x, target, layer) for x in batches(input_of(model, images))])


def _cam(model: Module, x, target: Objective, layer: str) -> np.ndarray:
    x = Tensor(x, requires_grad=True)
    with frozen(model):
        with listening(model, layer) as heard:
            numbers = target(model, x)
        maps = heard()
        if maps.ndim != 4:
            raise ValueError(
                f"layer {layer!r}: it answers {maps.shape}, expected maps (N, h, w, C)"
            )
        alpha = grad(numbers.sum(), maps).mean(axis=(1, 2), keepdims=True)
    cam = xp.maximum((alpha * maps.data).sum(axis=3, keepdims=True), 0)
    with no_grad():
        return to_numpy(ops.resize_bilinear2d(Tensor(cam), size=x.shape[1:3]).data[..., 0])
