"""What NumPy could reach at best: the bare passes of an op, without the op, against PyTorch.

    TINYDIFF_NUM_THREADS=1 python benchmarks/floor.py

PyTorch's kernels read an array once and write it once, whatever they compute.  NumPy makes a pass
for each operation.  Here nothing but these passes is done, with everything prepared that can be:
pieces that fit the cache and begin at one of its lines, nothing allocated, no sums between.  The
numbers are meaningless, the times are the least that an op made of these passes could take.  One
thread, since two share Python's lock.
"""

import functools
from collections.abc import Callable

import harness
import numpy as np
import per_op
from twins import FORMATS

from tinydiff import kernels
from tinydiff.kernels.workers import THREADS, empty, piece

LINE = 1024  # numbers in a row that meets many others
SHORT = 256  # numbers in a row of layer norm's
ONES, ROW = (np.full((1, LINE), 0.5, np.float32) for _ in range(2))
COLUMNS, TWO_ROWS = np.ones((LINE, 2), np.float32), np.ones((2, SHORT), np.float32)
AVERAGE = np.full((SHORT, 1), 1 / SHORT, np.float32)
HALF = np.float32(0.5)

# Each takes p, a piece of the input, q, one of the result, and u, scratch.
PASSES: dict[str, Callable] = {
    "·row": lambda p, q, u: np.multiply(p, ROW, u),
    "+row": lambda p, q, u: np.add(u, ROW, u),
    "·1": lambda p, q, u: np.multiply(u, HALF, u),
    "+1": lambda p, q, u: np.add(u, HALF, u),
    "·": lambda p, q, u: np.multiply(u, p, u),
    "+": lambda p, q, u: np.add(u, p, u),
    "tanh": lambda p, q, u: np.tanh(u, q),
    "exp": lambda p, q, u: np.exp(u, u),
    "out": lambda p, q, u: np.multiply(u, p, q),
    "Σ": lambda p, q, u: np.matmul(ONES[:, : len(p)], p),
    "mean": lambda p, q, u: np.matmul(p.reshape(-1, SHORT), AVERAGE),
    "dot": lambda p, q, u: np.vecdot(p.reshape(-1, SHORT), p.reshape(-1, SHORT)),
    "column·row": lambda p, q, u: np.matmul(
        COLUMNS[: u.size // SHORT], TWO_ROWS, u.reshape(-1, SHORT)
    ),
}

# What the fast kernels do, pass by pass.
SILU = "tanh +1 out"
SLOPE = "tanh +1 · +1 +1 ·"
FIT = "· ·1" + " +1 ·" * 6
BACK_THROUGH_ROWS = "· Σ Σ mean mean column·row · column·row · + column·row out"
CHAINS = {
    "group norm + silu, 64 @32 value": f"Σ · Σ ·row +row {SILU}",
    "group norm + silu, 64 @32 gradients": f"·row +row {SLOPE} · Σ · Σ ·row ·row +row out",
    "group norm + silu, 128 @16 value": f"Σ · Σ ·row +row {SILU}",
    "group norm + silu, 128 @16 gradients": f"·row +row {SLOPE} · Σ · Σ ·row ·row +row out",
    "silu, 64 @32 value": f"·1 {SILU}",
    "silu, 64 @32 gradients": f"·1 {SLOPE} ·1 out",
    "gelu, 4096 × 1024 value": f"{FIT} ·1 {SILU}",
    "gelu, 4096 × 1024 gradients": f"{FIT} tanh ·1 exp ·1 · + +1 ·1 out",
    "layer norm, 4096 × 256 value": "mean dot column·row · column·row out",
    "layer norm, 4096 × 256 gradients": BACK_THROUGH_ROWS,
}


def main() -> None:
    args = harness.parse(harness.options(__doc__, rounds=5))
    if THREADS != 1:
        raise SystemExit("set TINYDIFF_NUM_THREADS=1")
    rows = {row.name: row for row in per_op.rows()}
    table = [measure(rows[name], args.rounds) for name in harness.chosen(CHAINS, args.only)]
    harness.report("floor", {"The least that NumPy's passes could take": table}, args.out)


def measure(row: per_op.Row, rounds: int) -> dict:
    passes = CHAINS[row.name].split()
    array, _ = next(iter(row.inputs.values()))
    contestants = {harness.OURS: bare(passes, array.size)}
    formats = list(FORMATS) if row.image else ["contiguous"]
    contestants |= {name: row.their_side(name) for name in formats}
    with kernels.single_threaded_blas:
        verdict = harness.verdict(harness.race(contestants, rounds))
    return {
        "op": row.name,
        "passes": len(passes),
        "bare passes, ms": verdict["tinydiff, ms"],
        "PyTorch, ms": verdict["PyTorch, ms"],
        "ratio": verdict["ratio"],
    }


def bare(passes: list[str], size: int) -> Callable[[], None]:
    """A function that makes these passes over that many numbers."""
    x, y = (empty(size // LINE, LINE) for _ in range(2))
    x[...] = 0.5
    rows = piece(size) // LINE
    u = empty(rows, LINE)
    u[...] = 0.5
    steps = [
        functools.partial(PASSES[name], x[i : i + rows], y[i : i + rows], u[: len(x[i : i + rows])])
        for i in range(0, len(x), rows)
        for name in passes
    ]

    def run():
        before = np.setbufsize(512)
        u[...] = 0.5
        for step in steps:
            step()
        np.setbufsize(before)

    return run


if __name__ == "__main__":
    main()
