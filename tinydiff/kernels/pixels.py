"""Copies of pixels that lie apart: a pixel's channels are moved as one item where they are few.

NumPy takes a copy run by run, and a run of a few numbers takes it longer to begin than to copy.  As
items of some bytes they are one long run.
"""

import numpy as np

_FEW = 64  # channels from which on runs are long enough


def move(a, out) -> None:
    """out = a: arrays (…, C) of one shape and dtype, without gaps along the last axis"""
    channels = a.shape[-1]
    if channels < _FEW:
        pixel = f"V{a.itemsize * channels}"
        a, out = a.view(pixel), out.view(pixel)
    np.copyto(out, a)
