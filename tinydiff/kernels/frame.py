"""A batch of images with zeros around them, or a part of each, in a worker's scratch memory."""

import numpy as np

from tinydiff.kernels.workers import scratch


def framed(x, top: int, left: int, height: int, width: int) -> np.ndarray:
    """The height × width pixels of each image of x that begin ``top`` above and ``left`` of it.

    What lies outside the image is zero; negative ``top`` and ``left`` begin inside.  x itself
    where it is all of that already.
    """
    n, h, w, c = x.shape
    if (top, left, height, width) == (0, 0, h, w):
        return x
    frame = scratch("frame", n, height, width, c)
    above, before = max(-top, 0), max(-left, 0)
    top, left = max(top, 0), max(left, 0)
    rows = max(min(h - above, height - top), 0)
    columns = max(min(w - before, width - left), 0)
    bottom, right = top + rows, left + columns
    frame[:, :top] = 0
    frame[:, bottom:] = 0
    frame[:, top:bottom, :left] = 0
    frame[:, top:bottom, right:] = 0
    frame[:, top:bottom, left:right] = x[:, above : above + rows, before : before + columns]
    return frame
