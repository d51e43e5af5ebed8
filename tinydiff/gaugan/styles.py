"""Styles that go together: for the regions of a map, those of the regions of one scene.

Drawn each for itself, z ~ N(0, I), the styles of two neighbours may come out nearly alike, which in
scenes they never are: a thing of nearly the colour of the ground behind it is not to be seen.  How
styles depend on each other is in the scenes; so one is chosen, and its styles are dealt out: the
ground's to the ground, and the others, shuffled, to the things.

Source: T. Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", 2019,
section 4, "multi-modal synthesis" (a map in the style of a picture).
"""

from __future__ import annotations

import numpy as np


def dealt(styles: np.ndarray, regions: np.ndarray, counts, rng: np.random.Generator) -> np.ndarray:
    """Styles for maps of so many regions: (N, 1 + the largest count, latent)

    styles   (S, R, latent), those of the regions of scenes, the ground's first
    regions  (S, H, W), which are where in the scenes, 0 for the ground
    counts   (N,), regions of each map, the ground not counted

    A map gets those of a scene of at least as many regions; of the largest, again from the first
    on, if there is no such scene.
    """
    things = [np.setdiff1d(scene, 0) for scene in regions]
    sizes = np.array([len(some) for some in things])
    z = np.zeros((len(counts), 1 + max(counts), styles.shape[2]), styles.dtype)
    for each, count in zip(z, counts, strict=True):
        scene = rng.choice(np.flatnonzero(sizes >= min(count, sizes.max())))
        each[0] = styles[scene, 0]
        if count:
            some = np.resize(rng.permutation(things[scene]), count)
            each[1 : 1 + count] = styles[scene, some]
    return z
