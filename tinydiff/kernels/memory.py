"""Freed memory stays with the process, for the next array.

A training step makes and frees the same hundreds of megabytes each time.  The C library would hand
them back to the system in between and fetch them again page by page, 4096 bytes and a trap into
the kernel each: a tenth of a step's time.  glibc's mallopt(3) turns that off; where the C library
is another, or the user has set its thresholds in the environment, nothing is changed.
"""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_ENVIRONMENT = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed, for arrays of up to a gigabyte."""
    if any(name in os.environ for name in _ENVIRONMENT):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
