"""How often is a picture's caption found among others, and a caption's picture?

Others have to say something else: as "a red circle above a blue square" and "a blue square below a
red circle" say the same, both may be right.

Source: A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
2021, where it is image and text retrieval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tinydiff.data.captions import canonical
from tinydiff.unclip.matcher import on_sphere


def is_first(queries: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """For each of the queries (N, d), whether of the answers (N, d) its own is the nearest: (N,)

    Near is what points the same way.  Raises ValueError unless there are as many.
    """
    if queries.ndim != 2 or queries.shape != answers.shape:
        raise ValueError(
            f"expected queries like answers, (N, d), got {queries.shape}, {answers.shape}"
        )
    alike = on_sphere(queries) @ on_sphere(answers).T
    return alike.argmax(axis=1) == np.arange(len(queries))


def found_among(
    size: int, queries: np.ndarray, answers: np.ndarray, captions: Sequence[str]
) -> np.ndarray:
    """`is_first` of queries (N, d) and answers (N, d) with these captions, in one set after another
    of ``size`` that say `different` things: (M,), M ≤ N, since some fit into no set.

    Raises ValueError if there is no set at all.
    """
    found = [is_first(queries[some], answers[some]) for some in different(size, captions)]
    if not found:
        raise ValueError(f"captions: expected {size} that say different things at least")
    return np.concatenate(found)


def different(size: int, captions: Sequence[str]) -> Iterator[list[int]]:
    """Of the captions, again and again, the numbers of the next ``size`` that say different
    things."""
    chosen: dict[str, int] = {}
    for i, caption in enumerate(captions):
        chosen.setdefault(canonical(caption), i)
        if len(chosen) == size:
            yield list(chosen.values())
            chosen = {}
