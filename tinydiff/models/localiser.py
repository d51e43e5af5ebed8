"""A network that says what a picture shows, and where: one backbone, two heads.

    what    softmax(W·f̄ + b),  f̄ the mean of the backbone's features over all places
    where   a vote: every place p, whose centre is (x_p, y_p), says how far it is from there to the
            four sides of the box, and how much it is to be believed, a_p = softmax over places:

            (x0, y0, x1, y1) = Σ_p a_p (x_p − l_p, y_p − t_p, x_p + r_p, y_p + b_p)

The mean f̄ has forgotten where anything was, which is right for "what" and fatal for "where".  A
linear layer on all features of all places would know, but for one size of picture only, and would
learn at each place anew what an edge of an object looks like.  Places that vote share their
weights, and the box moves with the object.  The distances are exponentials, in places, so x0 < x1
and y0 < y1 whatever the network says, as GIoU wants it.

Sources: P. Sermanet et al., "OverFeat", 2014, section 4 (a box head on a classifier's features);
Z. Tian et al., "FCOS", 2019, section 3.1 (from a place to the four sides); S. Levine et al.,
"End-to-End Training of Deep Visuomotor Policies", 2016, section 5.1 (the mean place under a softmax
over places).
"""

from __future__ import annotations

import numpy as np

from tinydiff import backend, nn, ops
from tinydiff.models.backbone import Backbone
from tinydiff.models.blocks import zero_init
from tinydiff.nn.checks import at_least_one
from tinydiff.tensor import Tensor


class LocaliserNetwork(nn.Module):
    """Called as model(x): x (N, H, W, in_channels) → (N, 4 + num_classes)

    First the corners (x0, y0, x1, y1) of a box, from 0 at the left and upper border of the picture
    to 1 at the others, which it may reach over; then the logits of the classes.

    settings  those of the `Backbone`, which is its ``backbone``; H and W are multiples of
              ``stride``
    """

    independent_images = True

    def __init__(self, in_channels: int, num_classes: int, **settings):
        super().__init__()
        at_least_one("LocaliserNetwork", num_classes=num_classes)
        self.backbone = Backbone(in_channels, **settings)
        self.what = nn.Linear(self.backbone.out_channels, num_classes)
        self.where = zero_init(nn.Linear(self.backbone.out_channels, 5))
        self.stride = self.backbone.stride

    def forward(self, x) -> Tensor:
        features = self.backbone(x)
        logits = self.what(ops.global_avg_pool2d(features))
        return ops.concat([self.vote(self.where(features)), logits])

    def vote(self, said: Tensor) -> Tensor:
        """From what each place says (N, h, w, 5), four distances and belief, to boxes (N, 4)"""
        n, h, w, _ = said.shape
        said = said.reshape(n, h * w, 5)
        believed = ops.softmax(said[..., 4:], axis=1)
        y, x = (c.ravel() for c in np.mgrid[:h, :w] + 0.5)
        centres = backend.asarray(np.stack([x, y, x, y], axis=1), said.dtype)
        places = backend.asarray(np.array([w, h, w, h]), said.dtype)
        outward = backend.asarray(np.array([-1, -1, 1, 1]), said.dtype)
        sides = centres + outward * ops.exp(said[..., :4])
        return (believed * sides).sum(axis=1) / places
