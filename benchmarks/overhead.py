"""What the engine costs on top of NumPy: microseconds an op, forward and backward, on 4 × 4 arrays.

A chain of 100 ops of one kind is built and walked back, and the arithmetic that this takes is done
once more by NumPy alone; the rest is overhead.  The best of several rounds counts, since whatever
else the machine does can only add to it.  The project's limit is 15 µs, for the median op.

    python benchmarks/overhead.py
"""

import statistics
import time

import harness
import numpy as np

from tinydiff import Tensor, ops

LENGTH, LIMIT = 100, 15.0
X = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
Y = np.linalg.qr(X)[0]  # orthogonal: a chain of products with it neither grows nor vanishes

# name: the op on Tensors (x, y), and value and gradients by NumPy alone from arrays (x, y, g)
OPS = {
    "x + y": (ops.add, lambda x, y, g: x + y),
    "x * y": (ops.mul, lambda x, y, g: (x * y, g * y, g * x)),
    "x * 0.9": (lambda x, y: x * 0.9, lambda x, y, g: (x * 0.9, g * 0.9)),
    "x @ y": (ops.matmul, lambda x, y, g: (x @ y, g @ y.T, x.T @ g)),
    "tanh": (lambda x, y: ops.tanh(x), lambda x, y, g: ((t := np.tanh(x)), g * (1 - t * t))),
    "relu": (lambda x, y: ops.relu(x), lambda x, y, g: ((r := np.maximum(x, 0)), g * (r > 0))),
    "transpose": (lambda x, y: x.T, lambda x, y, g: (x.transpose(1, 0), g.transpose(1, 0))),
    "reshape": (lambda x, y: x.reshape(4, 4), lambda x, y, g: (x.reshape(4, 4), g.reshape(4, 4))),
    "x.sum": (
        lambda x, y: x.sum(axis=1, keepdims=True),
        lambda x, y, g: (x.sum(axis=1, keepdims=True), np.broadcast_to(g, x.shape)),
    ),
}


def chain(op) -> None:
    x, y = Tensor(X, requires_grad=True), Tensor(Y, requires_grad=True)
    for _ in range(LENGTH):
        x = op(x, y)
    x.backward(X[:, : x.shape[1]])


def bare(arithmetic) -> None:
    for _ in range(LENGTH):
        arithmetic(X, Y, X)


def microseconds(rounds: int, function, *args) -> float:
    """Per link of the chain, in the best of the rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function(*args)
        times.append(time.perf_counter() - start)
    return min(times) / LENGTH * 1e6


def main() -> None:
    args = harness.parse(harness.options(__doc__, rounds=30))
    rows = []
    for name in harness.chosen(OPS, args.only):
        op, arithmetic = OPS[name]
        whole, numpy = (
            microseconds(args.rounds, chain, op),
            microseconds(args.rounds, bare, arithmetic),
        )
        rows.append(
            {"op": name, "tinydiff, µs": whole, "NumPy, µs": numpy, "overhead, µs": whole - numpy}
        )
    median = statistics.median(row["overhead, µs"] for row in rows)
    verdict = "within" if median <= LIMIT else "OVER"
    rows.append({"op": f"median, {verdict} the limit of {LIMIT:.0f} µs", "overhead, µs": median})
    harness.report("overhead", {"Forward and backward of an op on 4 × 4 numbers": rows}, args.out)


if __name__ == "__main__":
    main()
