"""The most memory that a training run takes: every contestant in a fresh process of its own.

    peak = VmHWM − RssFile − RssAnon before the network was built, and the helpers' private pages

with what Linux tells in /proc/PID/status and smaps_rollup.  Helpers (see tinydiff/team) do not give
back what they once took, so what they have at the end is their peak.  So everything counts that
training keeps in memory: weights, batch, gradients, the optimiser's state, activations, scratch,
and what the allocator holds back; the libraries themselves, and pages of their files, do not.
Three steps are taken.
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
    before = _kilobytes("status", "RssAnon")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    step = build()
    for _ in range(STEPS):
        step()
    here = _kilobytes("status", "VmHWM") - _kilobytes("status", "RssFile") - before
    helpers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    private = ("Private_Clean", "Private_Dirty")
    there = sum(_kilobytes("smaps_rollup", field, pid) for pid in helpers for field in private)
    return (here + there) * 1024 / 1e6


def _kilobytes(file: str, field: str, process: str = "self") -> int:
    for line in Path(f"/proc/{process}/{file}").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise OSError(f"/proc/{process}/{file} has no {field}: memory is measured on Linux only")


def in_fresh_process(*arguments: str, **environment: str):
    """What this very script prints, as JSON in its last line, when started with ``arguments``."""
    command = [sys.executable, sys.argv[0], *arguments]
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])
