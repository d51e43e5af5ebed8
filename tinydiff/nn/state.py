"""Copying a saved state into arrays that are there already: all of it, or an error and nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinydiff import backend

MOST = 6  # problems to name: another network's state is full of them


def fill(owner: str, arrays: Mapping, saved: Mapping) -> None:
    """Copy ``saved[name]`` into ``arrays[name]``, in place, for every name.

    Raises ValueError that names entries which are missing, unknown, of another shape or not
    numeric, the first of them if they are many; then nothing has been changed.
    """
    found = {name: backend.to_numpy(value) for name, value in saved.items()}
    problems = [f"{name} is missing" for name in arrays if name not in found]
    problems += [f"{name} is unknown" for name in found if name not in arrays]
    for name in arrays.keys() & found.keys():
        new, old = found[name], arrays[name]
        if new.shape != old.shape:
            problems.append(f"{name} has shape {new.shape}, expected {old.shape}")
        elif not np.can_cast(new.dtype, old.dtype, "same_kind"):
            problems.append(f"{name} holds {new.dtype}, expected {old.dtype}")
    if problems:
        listed = "; ".join(sorted(problems)[:MOST])
        if len(problems) > MOST:
            listed += f"; and {len(problems) - MOST} more"
        raise ValueError(f"load_state_dict: the state does not fit this {owner}: {listed}")
    # Optimisers hold views of these arrays: write into them, do not replace them.
    for name, old in arrays.items():
        old[...] = backend.asarray(found[name], dtype=old.dtype)
