"""Everything on a GPU, beside PyTorch eager on the same one and beside what the hardware allows.

    TINYDIFF_BACKEND=cupy python benchmarks/gpu.py --out docs/benchmarks

PyTorch has its better memory format, cuDNN's choice by measurement, fused attention and Adam; both
sides multiply in TF32 unless TINYDIFF_TF32=0.  Both live in one process and take turns.

Ceilings are measured first: bytes a second of a copy, operations a second of a matrix product.  The
floor of a row is the time that its numbers take to be read and written once at that speed, or its
products to be computed, whichever is longer.  Errors are relative to PyTorch's result in float64.
"""

import math
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import harness
import numpy as np
import per_op
import sampling
import torch
import training_step
from cases import CASES, Case, TransformerBlock, diffusion_loss, recipe
from twins import DEVICE

from tinydiff import backend, kernels
from tinydiff.backend import xp
from tinydiff.kernels.window import Window
from tinydiff.models import UNet

WORST = 0.02  # relative: TF32 keeps 10 bits of what is multiplied
CIFAR = Case(
    "U-Net of 35.7M, 32 × 32 × 3",
    UNet,
    {"in_channels": 3, "base_channels": 128, "channel_mults": (1, 2, 2, 2)},
    (128, 32, 32, 3),
    diffusion_loss,
    rate=2e-4,
    clip=1.0,
    decay=0.9999,
)


def main() -> None:
    parser = harness.options(__doc__, rounds=5)
    parser.add_argument("--small", action="store_true", help="only to see whether it all runs")
    args = harness.parse(parser)
    if backend.name != "cupy":
        raise SystemExit("gpu.py: set TINYDIFF_BACKEND=cupy")
    if DEVICE != "cuda" and not args.small:
        raise SystemExit("gpu.py: PyTorch finds no GPU; install its build for this CUDA version")
    torch.backends.cudnn.benchmark = True
    scale = 1 if args.small else 16
    bandwidth, speed = ceilings(1 << (12 if args.small else 28), 64 if args.small else 8192)
    found = {
        "Ceilings": [
            {
                "copy, GB/s": bandwidth / 1e9,
                "product, TFLOP/s": speed / 1e12,
                "precision": "TF32" if backend.tf32 else "float32",
            }
        ]
    }
    measured = {row.name: (row, flops) for row, flops in ops(scale)}
    steps = {case.title: case for case in step_cases(args.small)}
    drawn = {f"drawing, {case.title}": case for case in sampling_cases(args.small)}
    names = harness.chosen([*steps, *drawn, *measured, "Adam"], args.only)
    either_kernel = "3×3 convolutions by either kernel"
    tables = found | {"Operations": [], either_kernel: [], "Training steps": []}
    tables |= {"Sampling: one of 50 steps": []}
    try:
        for name in names:
            if name in measured:
                table, row = "Operations", operation(*measured[name], args.rounds, bandwidth, speed)
            elif name in steps:
                table, row = "Training steps", training(steps[name], args.rounds)
            elif name in drawn:
                row = sampling.measure(drawn[name], args.rounds, finish, WORST)
                table = "Sampling: one of 50 steps"
            else:
                table, row = "Operations", per_op.adam(args.rounds, finish=finish)
            tables[table].append(row)
            print(harness.table([row]), flush=True)
            if "conv 3×3" in name and "stride" not in name:
                tables[either_kernel] += either(*measured[name], args.rounds)
            xp.get_default_memory_pool().free_all_blocks()
            torch.cuda.empty_cache()
    except KeyboardInterrupt:
        print(f"interrupted at {name}: what was measured before is kept")
    harness.report("gpu", {name: rows for name, rows in tables.items() if rows}, args.out)


def finish() -> None:
    """Wait for the device."""
    backend.synchronize()
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def ceilings(numbers: int, side: int) -> tuple[float, float]:
    """Bytes read and written a second by a copy, operations a second of a square product."""
    source, target = xp.zeros(numbers, np.float32), xp.empty(numbers, np.float32)
    a, b, c = (xp.ones((side, side), np.float32) for _ in range(3))

    def copy():
        target[...] = source

    def best(work: Callable) -> float:
        return min(harness.race({"ours": work}, 5, finish)["ours"])

    return 8 * numbers / best(copy), 2 * side**3 / best(lambda: xp.matmul(a, b, out=c))


def ops(scale: int) -> Iterator[tuple[per_op.Row, int]]:
    """Rows, and how many multiplications and additions the products in each are"""
    n = 8 * scale

    def convolutions(c, o, side, **geometry):
        rows = list(per_op.conv(c, o, side, n=n, **geometry))
        kernel, stride = geometry.get("kernel", 3), geometry.get("stride", 1)
        area = side * side if geometry.get("transposed") else (side // stride) ** 2
        once = 2 * n * area * kernel * kernel * c * o
        return [(row, once * max(1, len(set(row.wanted) - {"bias"}))) for row in rows]

    yield from convolutions(3, 128, 32, padding=1)
    yield from convolutions(128, 128, 32, padding=1)
    yield from convolutions(256, 256, 16, padding=1)
    yield from convolutions(256, 256, 8, padding=1)
    yield from convolutions(64, 64, 14, padding=1)
    yield from convolutions(128, 128, 32, padding=1, stride=2)
    yield from convolutions(256, 128, 32, kernel=1)
    yield from convolutions(128, 128, 8, kernel=4, padding=1, stride=2, transposed=True)
    for tokens, heads, size in ((64, 4, 64), (256, 1, 256), (1024, 4, 64)):
        images = n if tokens <= 256 else max(1, n // 4)
        for row in per_op.attention(tokens, heads, size, n=images):
            yield row, 4 * images * heads * tokens**2 * size * (2 if row.wanted else 1)
    for row in (*per_op.norm(128, 32, n=n), *per_op.norm(256, 16, n=n)):
        yield row, 0


def operation(row: per_op.Row, flops: int, rounds: int, bandwidth: float, speed: float) -> dict:
    with torch.backends.cudnn.flags(benchmark=False, allow_tf32=backend.tf32):  # float64 takes long
        errors = row.errors()
    if max(errors.values()) > WORST:
        raise SystemExit(f"{row.name}: {errors}")
    formats = list(per_op.FORMATS) if row.image else ["contiguous"]
    contestants = {harness.OURS: row.our_side()} | {f: row.their_side(f) for f in formats}
    verdict = harness.verdict(harness.race(contestants, rounds, finish))
    floor = max(moved(row) / bandwidth, flops / speed) * 1e3
    times = {"floor, ms": floor, "of the floor": verdict["tinydiff, ms"][1] / floor}
    return {"op": row.name, **verdict, **times, **errors}


def either(row: per_op.Row, flops: int, rounds: int) -> list[dict]:
    """Where Winograd suits: its time and im2col's.  `cuda.USE_WINOGRAD` is to be judged by this."""
    cuda = kernels.chosen
    x, weight, bias = (backend.asarray(array) for array, _ in row.inputs.values())
    window = Window.over(x.shape[1:3], (3, 3), padding=1)
    if not cuda.winograd.suits(*weight.shape[2:], window):
        return []
    g = backend.asarray(per_op.upstream(row.value_shape()))
    calls = {
        (): lambda module: module.conv2d(x, weight, bias, window),
        ("x",): lambda module: module.conv2d_input_grad(g, weight, window),
        ("weight",): lambda module: module.conv2d_weight_grad(x, g, window),
        ("x", "weight", "bias"): lambda module: module.conv2d_grads(x, g, weight, window),
    }
    call = calls[row.wanted]
    modules = {"Winograd": cuda.winograd, "im2col": cuda.im2col}
    laps = harness.race({k: partial(call, m) for k, m in modules.items()}, rounds, finish)
    times = {f"{k}, ms": harness.quartiles(t * 1e3 for t in laps[k]) for k in modules}
    return [{"op": row.name, **times}]


def moved(row: per_op.Row) -> int:
    """Bytes that must be read and written: inputs, value or gradient from above, gradients."""
    read = sum(array.nbytes for array, _ in row.inputs.values())
    value = 4 * math.prod(row.value_shape())
    return read + value + sum(row.inputs[name][0].nbytes for name in row.wanted)


def step_cases(small: bool) -> list[Case]:
    if not small:
        block = {"width": 512, "heads": 8}
        transformer = Case("transformer block", TransformerBlock, block, (64, 256, 512))
        return [CIFAR, recipe("mnist", (28, 28, 1)), CASES["classifier"], transformer]
    tiny = {"in_channels": 3, "base_channels": 32, "channel_mults": (1, 2)}
    return [replace(CIFAR, settings=tiny, shape=(2, 8, 8, 3))]


def sampling_cases(small: bool) -> list[Case]:
    if small:
        return step_cases(small)
    return [replace(CIFAR, shape=(256, 32, 32, 3)), sampling.CASES["mnist"]]


def training(case: Case, rounds: int) -> dict:
    row = training_step.measure(case, rounds, finish, WORST)
    step, kept = case.step(), Utilisation()
    with kept:
        while kept.seconds < 3:
            step()
    finish()
    return row | {"GPU busy, %": kept.median()}


class Utilisation:
    """How busy nvidia-smi calls the GPU, asked several times a second in the background"""

    def __enter__(self):
        self._began, self._found, self._ended = time.perf_counter(), [], threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def median(self) -> float:
        return float(np.median(self._found[1:])) if len(self._found) > 1 else math.nan

    def _ask(self) -> None:
        one = f"--id={xp.cuda.Device().pci_bus_id}"  # nvidia-smi numbers them in its own way
        query = ["nvidia-smi", one, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._ended.wait(0.2):
            try:
                run = subprocess.run(query, capture_output=True, text=True, check=True)
                self._found.append(float(run.stdout))
            except (
                OSError,
                subprocess.CalledProcessError,
                ValueError,
            ):  # of a part of one: "[N/A]"
                return


if __name__ == "__main__":
    main()
