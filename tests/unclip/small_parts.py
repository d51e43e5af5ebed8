"""The three parts of unCLIP, so small that they have learned nothing in no time."""

import tinydiff as td
from tinydiff.diffusion import Pipeline
from tinydiff.unclip import Matcher, Prior, UnCLIP

WORDS = ("a", "above", "below", "blue", "circle", "red", "square", "two")
D, SIDE = 6, 8


def matcher() -> Matcher:
    td.seed(0)
    image = {"widths": (4, 8), "norm_groups": 2, "depth": 1, "heads": 2}
    text = {"length": 8, "width": 8, "depth": 1, "heads": 2}
    clip = {"embedding": D, "image": image, "text": text}
    return Matcher({"image": (SIDE, SIDE, 3), "words": WORDS, "clip": clip})


def prior(d: int = D, **network) -> Prior:
    td.seed(1)
    network = {"width": 8, "depth": 1, "heads": 2, **network}
    return Prior({"embedding": d, "prior": network, "schedule": ("cosine", 100)})


def decoder() -> Pipeline:
    td.seed(2)
    unet = {"base_channels": 8, "channel_mults": (1, 2), "num_res_blocks": 1, "norm_groups": 4}
    settings = {"image": (SIDE, SIDE, 3), "classes": (), "unet": {**unet, "embedding": D}}
    made = Pipeline({**settings, "schedule": ("cosine", 100), "prediction": "v"})
    for p in made.model.parameters():  # its last layer begins at zero
        p.data += 0.1 * td.backend.randn(p.shape)
    return made


def unclip() -> UnCLIP:
    return UnCLIP(matcher(), prior(), decoder(), steps=3)
