"""NumPy or CuPy, chosen once: every other module takes its array functions from here.

``TINYDIFF_BACKEND=numpy`` (the default), ``cupy``, or ``auto`` (CuPy where it works, else NumPy)
is read when tinydiff is imported.  A backend that cannot be had ends the program with one
sentence that says what to do, and exit status 2.  ``TINYDIFF_TF32=0`` keeps a GPU's tensor cores
from rounding what they multiply (see `tinydiff.gpu.allow_tf32`).

Random numbers are drawn on the host by one generator, whatever the backend: the same seed gives
the same picture on both, and one small state in a checkpoint resumes the stream.  On a GPU only
dropout, which needs a number for each value, draws a `key` and makes them there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy as np

from tinydiff import gpu


def give_up(sentence: str) -> NoReturn:
    """End the program: a setting in the environment cannot be used, and this says what to do."""
    print(sentence, file=sys.stderr)
    raise SystemExit(2)


def _choose() -> str:
    wanted = os.environ.get("TINYDIFF_BACKEND", "numpy").strip().lower() or "numpy"
    if wanted not in ("numpy", "cupy", "auto"):
        sentence = f"TINYDIFF_BACKEND is {wanted!r}: set it to numpy, cupy or auto."
    elif wanted == "numpy" or ((problem := gpu.problem()) is not None and wanted == "auto"):
        return "numpy"
    elif problem is None:
        return "cupy"
    else:
        sentence = f"TINYDIFF_BACKEND=cupy, but {problem}); or set TINYDIFF_BACKEND=numpy."
    give_up(sentence)


name = _choose()

_tf32 = os.environ.get("TINYDIFF_TF32", "").strip() or "1"
if _tf32 not in ("0", "1"):
    give_up(f"TINYDIFF_TF32 is {_tf32!r}: set it to 1 or 0.")
tf32 = name == "cupy" and gpu.allow_tf32(_tf32 == "1")

if name == "cupy":
    import cupy as xp

    def to_numpy(array) -> np.ndarray:
        """An array of the backend, or anything NumPy understands, as a NumPy array on the host."""
        return array.get() if isinstance(array, xp.ndarray) else np.asarray(array)

    def synchronize() -> None:
        """Wait until the device has finished all work asked of it."""
        xp.cuda.get_current_stream().synchronize()

else:
    xp = np

    def to_numpy(array) -> np.ndarray:
        """An array of the backend, or anything NumPy understands, as a NumPy array on the host."""
        return np.asarray(array)

    def synchronize() -> None:
        """Wait until the device has finished all work asked of it."""


class OutOfMemory(MemoryError):
    """A batch does not fit into memory; says what helps."""


@contextlib.contextmanager
def memory_for(images: int) -> Iterator[None]:
    """Inside, running out of memory raises `OutOfMemory`, which names the number of images.

    What was computed of the batch is let go, so that whoever catches it can try a smaller one.
    """
    try:
        yield
    except OutOfMemory:
        raise
    except (MemoryError, RuntimeError) as error:
        if not gpu.ran_out(error):
            raise
        held = f" ({gpu.memory_report()})" if name == "cupy" else ""
        traceback.clear_frames(error.__traceback__)  # they hold the layers' values
        raise OutOfMemory(
            f"a batch of {images} does not fit into memory{held}: take a smaller batch, or in "
            "training a model that computes activations again (UNet(recompute=True))"
        ) from error


def asarray(data, dtype=None):
    """``data`` (host or device array, number, nested list) as an array of the backend.

    Without ``dtype``, arrays and NumPy scalars keep theirs, and bare Python floats become
    float32, the engine's default, instead of NumPy's float64.  TypeError for anything but real
    numbers and booleans.
    """
    if not hasattr(data, "dtype"):
        data = np.asarray(data)
        if dtype is None and data.dtype == np.float64:
            dtype = np.float32
    if data.dtype.kind not in "biuf":
        raise TypeError(f"expected an array of real numbers or booleans, got {data.dtype}")
    return xp.asarray(data, dtype=dtype)


rng = np.random.Generator(np.random.PCG64(0))
"""The process's one generator.  `seed` resets it in place, so holding a reference is safe."""


def seed(n: int) -> None:
    """Restart the random stream: same seed, backend and number of threads give the same bits."""
    rng.bit_generator.state = np.random.PCG64(n).state


class _Seen(threading.local):
    part: tuple[int, int, int] | None = None  # of how many images, from where to where


_seen = _Seen()


@contextlib.contextmanager
def seeing_part(images: int, low: int, high: int) -> Iterator[None]:
    """Inside, an array of high − low images stands for low … high − 1 of a batch of ``images``.

    For them numbers are drawn as for the whole batch, and those of the other images left aside: so
    it does not matter who computes which part.
    """
    before, _seen.part = _seen.part, (images, low, high)
    try:
        yield
    finally:
        _seen.part = before


def part_seen() -> tuple[int, int, int] | None:
    """The arguments of `seeing_part`, or None outside."""
    return _seen.part


def rows_of_batch(shape) -> tuple[int, int, int]:
    """For random numbers of a shape: how many rows the whole batch has, and which are this part's

    Outside of `seeing_part` all of them.
    """
    rows = shape[0] if isinstance(shape, tuple) and shape else 0
    if _seen.part is None:
        return rows, 0, rows
    images, low, high = _seen.part
    if rows < 1 or rows % (high - low):
        raise ValueError(
            f"numbers of shape {shape} were asked for by a module that promises "
            f"independent_images and sees {high - low} of {images}: the first axis must be that of "
            "the images, or of so many entries for each"
        )
    each = rows // (high - low)
    return images * each, low * each, high * each


def _draw(method: Callable, shape, dtype):
    if _seen.part is None:
        return method(shape, dtype=dtype)
    rows, low, high = rows_of_batch(shape)
    return method((rows, *shape[1:]), dtype=dtype)[low:high]


def key(*, rng: np.random.Generator | None = None) -> int:
    """64 random bits, from which as many numbers can be made elsewhere as are needed."""
    generator = globals()["rng"] if rng is None else rng
    return int(generator.integers(1 << 64, dtype=np.uint64))


def rand(shape, *, rng: np.random.Generator | None = None, dtype=np.float32):
    """Numbers drawn evenly from [0, 1), in the given shape, as a backend array."""
    generator = globals()["rng"] if rng is None else rng
    return xp.asarray(_draw(generator.random, shape, dtype))


def randn(shape, *, rng: np.random.Generator | None = None, dtype=np.float32):
    """Standard normal numbers of the given shape, drawn on the host, as a backend array."""
    generator = globals()["rng"] if rng is None else rng
    return xp.asarray(_draw(generator.standard_normal, shape, dtype))
