"""The most memory that a training run takes: every contestant in a fresh process of its own.

    peak = VmHWM − RssFile − RssAnon before the network was built

with what Linux tells in /proc/self/status.  So everything counts that training keeps in memory:
weights, batch, gradients, the optimiser's state, activations, scratch, and what the allocator
holds back; the libraries themselves, and pages of their files, do not.  Three steps are taken.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

STEPS = 3


def peak_megabytes(build: Callable[[], Callable]) -> float:
    """Of building a step and taking it.  For the fresh process; see `in_fresh_process`."""
    gc.collect()
    before = _status("RssAnon")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    step = build()
    for _ in range(STEPS):
        step()
    return (_status("VmHWM") - _status("RssFile") - before) * 1024 / 1e6


def _status(field: str) -> int:
    """In kilobytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}: memory is measured on Linux only")


def in_fresh_process(*arguments: str, **environment: str):
    """What this very script prints, as JSON in its last line, when started with ``arguments``."""
    command = [sys.executable, sys.argv[0], *arguments]
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])
