"""Which detection found which object?  Detections choose, the surest first; two rules.

VOC    a detection goes to the object that it overlaps most; if that is found already, or the
       overlap is too small, the detection is wrong
COCO   a detection goes to the object that it overlaps most of those not found yet, of equals the
       last; objects that do not count (of another size, say) are for those that find no other

Sources: M. Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", 2010, section
4.2; COCO's evaluation, cocoeval.py.
"""

from __future__ import annotations

import numpy as np


def voc_hits(overlaps: np.ndarray, least: float) -> np.ndarray:
    """Is each detection right?  IoUs (D, G), the surest detection first → booleans (D,)"""
    hits = np.zeros(len(overlaps), bool)
    if overlaps.shape[1] == 0:
        return hits
    best = overlaps.argmax(axis=1)
    enough = np.flatnonzero(overlaps.max(axis=1) >= least)
    _, first = np.unique(best[enough], return_index=True)  # of those that go to the same object
    hits[enough[first]] = True
    return hits


def coco_matches(overlaps: np.ndarray, least: np.ndarray, uncounted: np.ndarray) -> np.ndarray:
    """The object that each detection found, at each of T thresholds: (T, D), −1 for none.

    overlaps (D, G) IoUs, the surest detection first; least (T,); uncounted (G,) booleans
    """
    d, g = overlaps.shape
    matches = np.full((len(least), d), -1)
    if g == 0:
        return matches
    free = np.ones((len(least), g), bool)
    every = np.arange(len(least))
    groups = [group for group in (~uncounted, uncounted) if group.any()]
    for i in np.flatnonzero(overlaps.max(axis=1) >= least.min()):  # others find nothing
        overlap = overlaps[i]
        possible = free & (overlap >= least[:, None])
        for group in groups:
            candidates = np.where(possible & group, overlap, -1.0)
            best = g - 1 - candidates[:, ::-1].argmax(axis=1)  # the last of equals
            found = (candidates[every, best] >= 0) & (matches[:, i] < 0)
            matches[found, i] = best[found]
            free[found, best[found]] = False
    return matches
