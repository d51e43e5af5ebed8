"""The GPU behind CuPy: whether it can be used, its memory, and the products of its tensor cores.

Only `backend` asks; nothing here is needed, or imported from CuPy, where NumPy computes.
"""

from __future__ import annotations

import importlib.util
import os
import re

import numpy as np

_OTHER_CUPY = (
    "install the CuPy for the CUDA version nvidia-smi shows, with CUDA's libraries: "
    "pip install 'cupy-cuda12x[ctk]' or 'cupy-cuda13x[ctk]'"
)
_HIDDEN = "check that nvidia-smi lists one, and that CUDA_VISIBLE_DEVICES does not hide it"
_REMEDIES = {  # what is found in CuPy's many errors: what helps
    "InsufficientDriver": "install a newer NVIDIA driver, or the CuPy of an older CUDA version",
    "NoDevice": _HIDDEN,
    "DevicesUnavailable": "another process has the GPU to itself, see nvidia-smi",
    "out of memory|OutOfMemory|ALLOC_FAILED|CUBLAS_STATUS_NOT_INITIALIZED": (
        "other processes hold the GPU's memory, see nvidia-smi: end one, or choose another GPU "
        "with CUDA_VISIBLE_DEVICES"
    ),
    r"NoKernelImage|gpu-architecture": (
        "its CUDA version does not know this GPU: 13 knows those of compute capability 7.5 and "
        "more, 12 older ones too: pip install 'cupy-cuda12x[ctk]'"
    ),
    r"lib\w+\.so|NVRTC|CUDA headers|open source file|import CuPy": _OTHER_CUPY,
}


def problem() -> str | None:
    """What keeps CuPy from working here and what helps, a sentence without its end; or None."""
    if importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed ({_OTHER_CUPY}"
    try:
        import cupy

        if cupy.cuda.runtime.driverGetVersion() == 0:
            return "there is no NVIDIA driver (install one"
        if cupy.cuda.runtime.getDeviceCount() < 1:
            return f"CuPy finds no GPU ({_HIDDEN}"
        # Only now CuPy looks for the compiler and cuBLAS; for one number it would do without the
        # latter, and its first product in float32 settles whether all of them are TF32.
        ones = cupy.ones((2, 2), np.float64)
        (ones @ ones + ones).get()
    except Exception as error:
        lines = (line.strip(" =.") for line in str(error).splitlines())
        reason = next(filter(None, lines), type(error).__name__)
        words = f"{type(error).__name__}: {error}"
        known = (help for pattern, help in _REMEDIES.items() if re.search(pattern, words))
        return f"CuPy cannot use the GPU: {reason} ({next(known, 'check it with nvidia-smi')}"
    return None


def allow_tf32(wanted: bool) -> bool:
    """Have float32 matrix products round what they multiply to 10 bits; is that done now?

    TF32 is what the tensor cores of GPUs from 2020 on (compute capability 8.0) multiply, some
    eight times faster than float32; sums stay float32.
    """
    import cupy

    wanted = wanted and int(cupy.cuda.Device().compute_capability) >= 80
    os.environ["CUPY_TF32"] = str(int(wanted))  # CuPy looks at its first product
    return wanted


def ran_out(error: BaseException) -> bool:
    """Does this error, of CuPy or of a library it calls, say that memory ran out?"""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and re.search("MemoryAllocation|OUT_OF_MEMORY|ALLOC_FAILED", str(error)) is not None
    )


def memory_report() -> str:
    """Who holds the GPU's memory, in words; gives back what this process holds but does not use."""
    import cupy

    pool = cupy.get_default_memory_pool()
    used, limit = pool.used_bytes(), pool.get_limit()
    pool.free_all_blocks()
    free, total = cupy.cuda.runtime.memGetInfo()
    others = max(total - free - pool.total_bytes(), 0)  # blocks in use in part stay with the pool
    gib = 1 << 30
    allowed = f", of {limit / gib:.1f} that CUPY_GPU_MEMORY_LIMIT allows" if limit else ""
    return (
        f"this process uses {used / gib:.1f} GiB{allowed}, others and CUDA itself "
        f"{others / gib:.1f} of the GPU's {total / gib:.1f}"
    )
