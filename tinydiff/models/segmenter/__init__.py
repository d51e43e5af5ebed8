"""Three networks that say of each pixel what it shows: (N, H, W, C) → logits (N, H, W, classes).

A softmax over the last axis makes probabilities of the logits, and `ops.cross_entropy` the loss:
the mean over pixels of −ln p(what is seen there).  Class 0 is the background.
"""

from tinydiff.models.segmenter.encoder_decoder import EncoderDecoder
from tinydiff.models.segmenter.full_resolution import FullResolution
from tinydiff.models.segmenter.sliding_window import SlidingWindow

__all__ = ["EncoderDecoder", "FullResolution", "SlidingWindow"]
