"""What all benchmarks share: options, the machine, taking turns, tables, results as JSON.

**Taking turns.** All contestants live in one process and take turns; the order rotates from round
to round, and is reversed in every other.  A turn begins with a pause, because the threads of
OpenBLAS and OpenMP keep spinning for some 25 ms after their last work and would be paid for by
whoever comes next, and with calls that do not count, which bring the contestant's data back into
the cache.  What is told is the median over the rounds with its quartiles, and as the ratio the
median of the ratios of the rounds, so that whatever slows the machine down for a while slows both.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import threadpoolctl
from numpy._core._multiarray_umath import __cpu_dispatch__

from tinydiff import backend
from tinydiff.kernels.workers import THREADS

ROOT = Path(__file__).resolve().parents[1]
PAUSE, WARM, TURN = 0.05, 0.005, 0.05  # seconds: before a turn, of calls not counted, of a turn
OURS = "tinydiff"


def options(doc: str, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have; parse them with `parse`."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows whose name has it")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out", type=Path, help="a folder to write the results to, as JSON")
    parser.add_argument(
        "--avx2",
        action="store_true",
        help="keep NumPy and PyTorch from AVX-512: as on a laptop that has none",
    )
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options given.  --avx2 starts the program anew, since libraries ask once, when loaded."""
    args = parser.parse_args()
    limits = {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": " ".join(
            name for name in __cpu_dispatch__ if name.startswith(("AVX512", "X86_V4"))
        ),
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
    }
    if args.avx2 and any(os.environ.get(name) != value for name, value in limits.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | limits)
    if "OPENBLAS_CORETYPE" in os.environ and not args.avx2:
        print(
            "WARNING: OPENBLAS_CORETYPE is set, which slows NumPy down and nobody else: "
            "these numbers mean nothing.  Run with `env -u OPENBLAS_CORETYPE`."
        )
    return args


def chosen(names: Iterable[str], only: list[str] | None) -> list[str]:
    """The names asked for with --only, or all."""
    names = list(names)
    found = [name for name in names if only is None or any(text in name for text in only)]
    if not found:
        raise SystemExit(f"--only {' '.join(only)}: no such row among {', '.join(names)}")
    return found


def machine() -> dict[str, str | int]:
    """What the numbers depend on."""
    blas = [lib for lib in threadpoolctl.threadpool_info() if lib["internal_api"] == "openblas"]
    torch = sys.modules.get("torch")
    facts = {
        "CPU": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "threads": THREADS,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "OpenBLAS": ", ".join(f"{lib['version']} for {lib['architecture']}" for lib in blas),
    }
    if backend.name == "cupy":
        gpu = backend.xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
        facts = {"GPU": gpu, "CuPy": backend.xp.__version__, "TF32": backend.tf32} | facts
    if torch is not None:
        facts["PyTorch"] = f"{torch.__version__} for {torch.backends.cpu.get_cpu_capability()}"
    return facts


def _cpu_model() -> str:
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_line(facts: Mapping) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def race(
    contestants: Mapping[str, Callable],
    rounds: int,
    finish: Callable = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """name → seconds a call, one number for each round.

    finish  waits for what a call has only asked for, of a GPU say
    clock   tells the time
    """
    names, calls = list(contestants), {}
    for name, run in contestants.items():
        for _ in range(3):  # compiles, allocates, fills caches, is recorded for a GPU
            run()
        finish()
        start = time.perf_counter()
        run()
        finish()
        calls[name] = max(1, round(TURN / (time.perf_counter() - start)))
    laps = {name: [] for name in names}
    gc.collect()
    gc.freeze()  # what was built so far is nobody's garbage
    for turn in range(rounds):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        for name in order[:: -1 if turn % 2 else 1]:
            laps[name].append(_turn(contestants[name], calls[name], finish, clock))
    gc.unfreeze()
    return laps


def _turn(run: Callable, calls: int, finish: Callable, clock: Callable) -> float:
    time.sleep(PAUSE)
    start = time.perf_counter()
    while True:
        run()
        if time.perf_counter() - start > WARM:
            break
    finish()
    start = clock()
    for _ in range(calls):
        run()
    finish()
    return (clock() - start) / calls


def quartiles(values: Iterable[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    values = list(values)
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def verdict(laps: Mapping[str, list[float]], unit: float = 1e-3) -> dict:
    """A row of a table: our time, that of the fastest other contestant, and the ratio."""
    others = {name: times for name, times in laps.items() if name != OURS}
    best = min(others, key=lambda name: statistics.median(others[name]))
    return {
        "tinydiff, ms": quartiles(t / unit for t in laps[OURS]),
        "PyTorch, ms": quartiles(t / unit for t in others[best]),
        "its format": best,
        "ratio": quartiles(a / b for a, b in zip(laps[OURS], others[best], strict=True)),
    }


def relative_error(ours: np.ndarray, right: np.ndarray, floor: float = 0.0) -> float:
    """Largest deviation over the largest value; ``floor`` for values that should be zero."""
    size = max(float(np.abs(right).max()), floor)
    return float(np.abs(np.asarray(ours, np.float64) - right).max()) / size


def table(rows: list[dict]) -> str:
    """Rows as a table in Markdown; [low, median, high] becomes "median (low–high)"."""
    head = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name, "")) for name in head] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    number = [all(not isinstance(row.get(name, 0), str) for row in rows) for name in head]

    def line(entries):
        padded = (
            e.rjust(w) if n else e.ljust(w) for e, w, n in zip(entries, widths, number, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        "-" * (w + 1) + ":" if n else "-" * (w + 2) for w, n in zip(widths, number, strict=True)
    )
    return "\n".join([line(head), f"|{'|'.join(rule)}|", *map(line, cells)])


def _cell(value) -> str:
    if isinstance(value, list):
        low, middle, high = map(_cell, value)
        return middle if low == high else f"{middle} ({low}–{high})"
    if isinstance(value, float):
        if value and abs(value) < 1e-2:
            return f"{value:.0e}"
        return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"
    return str(value)


def report(name: str, tables: Mapping[str, list[dict]], folder: Path | None) -> None:
    """Print tables (caption → rows), and write them to folder/name.json if there is a folder."""
    facts = machine()
    print(machine_line(facts))
    for caption, rows in tables.items():
        print(f"\n{caption}\n\n{table(rows)}")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        result = {"machine": facts, "tables": tables}
        text = json.dumps(result, indent=1, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n")
