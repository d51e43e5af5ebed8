"""unCLIP, or DALL·E 2: from a caption to the vector of a picture, and from that to pictures.

    clip      Matcher             pictures and captions as vectors of one space
    prior     Prior               a caption's vector → that of a picture
    decoder   diffusion.Pipeline  a picture's vector → pictures

unclip = UnCLIP.load("runs/unclip")                        # as examples/unclip.py trains it
pictures = unclip.draw(["a large red circle"])
others = unclip.variations(pictures, 8)

Source: A. Ramesh et al., "Hierarchical Text-Conditional Image Generation with CLIP Latents", 2022.
"""

from tinydiff.unclip.learning import Numbered, clip_learning, decoder_learning, prior_learning
from tinydiff.unclip.matcher import Matcher
from tinydiff.unclip.prior import Prior
from tinydiff.unclip.retrieval import found_among, is_first
from tinydiff.unclip.unclip import UnCLIP

__all__ = [
    "Matcher",
    "Numbered",
    "Prior",
    "UnCLIP",
    "clip_learning",
    "decoder_learning",
    "found_among",
    "is_first",
    "prior_learning",
]
