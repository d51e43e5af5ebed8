"""Perceptual distance: how different two pictures look to a network that knows what counts.

    d(x, y) = Σ_stages mean over places of ‖â − b̂‖²,    â = a/‖a‖,  b̂ = b/‖b‖

where a and b are what a classifier's stage sees of x and y at a place, a vector of channels.  An
edge that is a pixel off is the same edge; an edge that is blurred is another.

Source: R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
2018, equation 1, with all channels alike (w = 1).  Their networks learned from ImageNet, ours from
whatever pictures there are.
"""

from __future__ import annotations

from tinydiff import nn, ops
from tinydiff.models import VGG
from tinydiff.tensor import Tensor

EPS = 1e-10  # of ‖a‖²: where a network sees nothing, â is 0


class PerceptualDistance(nn.Module):
    """Called as distance(x, y): both (N, H, W, C) in [−1, 1] → (N,), from 0 to 2 times the stages

    classifier  a trained `VGG`, which is frozen; H and W are at least its ``least``

    The gradient is wanted of x, and of y too if that is a Tensor that requires it.
    Raises TypeError for another network, ValueError for pictures that do not fit.
    """

    independent_images = True

    def __init__(self, classifier: VGG):
        if not isinstance(classifier, VGG):
            raise TypeError(f"classifier: expected a VGG, got {type(classifier).__name__}")
        self.classifier = classifier.requires_grad_(False).eval()

    def forward(self, x, y) -> Tensor:
        x, y = (a if isinstance(a, Tensor) else Tensor(a) for a in (x, y))
        channels, least = self.classifier.in_channels, self.classifier.least
        if x.shape != y.shape:
            raise ValueError(f"y: expected shape {x.shape} as of x, got {y.shape}")
        if x.ndim != 4 or x.shape[3] != channels or min(x.shape[1:3]) < least:
            raise ValueError(
                f"x: expected (N, H, W, {channels}) with H and W ≥ {least}, got shape {x.shape}"
            )
        total = 0.0
        for stage in self.classifier.stages:
            a, b = stage.maps(x), stage.maps(y)
            total = total + ops.mean(_angle(a, b), axis=(1, 2))
            x, y = stage.pool(a), stage.pool(b)
        return total


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """‖â − b̂‖² = ‖â‖² + ‖b̂‖² − 2 â·b̂ of vectors (…, C) → (…), without making â and b̂"""
    aa, bb, ab = ((p * q).sum(axis=-1) for p, q in ((a, a), (b, b), (a, b)))
    length_a, length_b = aa + EPS, bb + EPS
    return aa / length_a + bb / length_b - 2 * ab / ops.sqrt(length_a * length_b)
