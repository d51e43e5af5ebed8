"""A step that allocates what the step before freed takes no new pages from the system."""

import ctypes
import platform
import subprocess
import sys

import pytest

from tinydiff.kernels.memory import keep_freed_memory

STEPS = """
import resource
import numpy as np
import tinydiff

def step():
    arrays = [np.ones(1 << 20, np.float32) for _ in range(20)]

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_used_again():
    result = subprocess.run(
        [sys.executable, "-c", STEPS], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 1000  # of 61,440 pages


def test_settings_of_the_users_own_are_left_alone(monkeypatch):
    def no_library(name):
        raise AssertionError("mallopt was looked for")

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000")
    keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory()
