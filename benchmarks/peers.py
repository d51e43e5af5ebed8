"""Other engines on NumPy: a training step of a small convolutional network, and `import`.

    python benchmarks/peers.py

    conv 3→16, relu, 2×2 max pool, conv 16→32, relu, 2×2 max pool, linear, cross-entropy, SGD

on 32 images of 32 × 32 × 3, with 3 × 3 convolutions.  Each engine does it the way its own examples
do, on equal weights, in float32, in one process, taking turns; its gradients are first compared
with PyTorch's.  An engine that cannot be imported, or computes something else, gets a row that
says so.
"""

import functools
import importlib
import importlib.metadata
import statistics
import subprocess
import sys
from collections.abc import Callable

import harness
import numpy as np
import torch
import torch.nn.functional as F
import twins

import tinydiff as td
from tinydiff import interop, kernels, ops

N, RATE, WORST = 32, np.float32(1e-3), 1e-3
rng = np.random.default_rng(0)
IMAGES = rng.standard_normal((N, 32, 32, 3), dtype=np.float32)
LABELS = rng.integers(10, size=N)
ONE_HOT = np.eye(10, dtype=np.float32)[LABELS]
WEIGHTS = [
    rng.standard_normal(shape, dtype=np.float32) * np.float32(np.prod(shape[:-1]) ** -0.5)
    for shape in ((3, 3, 3, 16), (3, 3, 16, 32), (2048, 10))
]
FIRST = [interop.to_torch(w, "conv") for w in WEIGHTS[:2]]  # channels first
IMAGES_FIRST = interop.to_torch(IMAGES, "image")
# The last layer's rows in the order in which channels first flattens an image.
LAST_FIRST = WEIGHTS[2].reshape(8, 8, 32, 10).transpose(2, 0, 1, 3).reshape(2048, 10).copy()


# Each returns a function that takes a step and returns the three gradients.


def tinydiff() -> Callable:
    weights = [td.Tensor(w.copy(), requires_grad=True) for w in WEIGHTS]
    optimiser = td.optim.SGD(weights, lr=float(RATE))

    def step():
        with kernels.single_threaded_blas:
            optimiser.zero_grad()
            h = td.Tensor(IMAGES)
            for w in weights[:2]:
                h = ops.max_pool2d(ops.relu(ops.conv2d(h, w, padding=1)), kernel=2)
            logits = h.reshape(N, 2048) @ weights[2]
            ops.cross_entropy(logits, LABELS).backward()
            optimiser.step()
        return [w.grad for w in weights]

    return step


def pytorch(memory_format: str = "contiguous") -> Callable:
    leaf = functools.partial(torch.tensor, requires_grad=True)
    weights = [leaf(w) for w in (*FIRST, LAST_FIRST)]
    optimiser = torch.optim.SGD(weights, lr=float(RATE))
    x, labels = twins.tensor(IMAGES, memory_format), torch.tensor(LABELS)

    def step():
        optimiser.zero_grad()
        h = x
        for w in weights[:2]:
            h = F.max_pool2d(F.relu(F.conv2d(h, w, padding=1)), 2)
        F.cross_entropy(h.reshape(N, 2048) @ weights[2], labels).backward()
        optimiser.step()
        return channels_last([w.grad.numpy() for w in weights])

    return step


def mygrad(mg) -> Callable:
    from mygrad.nnet import layers, losses

    weights = [mg.tensor(w.copy()) for w in (*FIRST, LAST_FIRST)]

    def step():
        h = mg.tensor(IMAGES_FIRST, constant=True)
        for w in weights[:2]:
            h = mg.nnet.relu(layers.conv_nd(h, w, stride=1, padding=1))
            h = layers.max_pool(h, (2, 2), 2)
        losses.softmax_crossentropy(h.reshape(N, 2048) @ weights[2], LABELS).backward()
        gradients = [w.grad for w in weights]
        for w, g in zip(weights, gradients, strict=True):
            w.data -= RATE * g
        return channels_last(gradients)

    return step


def smallpebble(sp) -> Callable:
    weights = [sp.Variable(w.copy()) for w in WEIGHTS]

    def step():
        h = sp.Variable(IMAGES)
        for w in weights[:2]:
            h = sp.maxpool2d(sp.leaky_relu(sp.conv2d(h, w), 0), 2, 2, strides=[2, 2])
        y = sp.softmax(sp.matmul(sp.reshape(h, (N, 2048)), weights[2]))
        loss = sp.cross_entropy(y, LABELS)
        found = sp.get_gradients(loss)
        gradients = [found[w] / np.float32(N) for w in weights]
        for w, g in zip(weights, gradients, strict=True):
            w.array -= RATE * g
        return gradients

    return step


def autograd(ag) -> Callable:
    from autograd import numpy as anp

    weights = [w.copy() for w in WEIGHTS]

    def loss(weights):
        h = IMAGES
        for w in weights[:2]:
            side = h.shape[1]
            padded = anp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="constant")
            h = sum(
                anp.dot(padded[:, a : a + side, b : b + side], w[a, b])
                for a in range(3)
                for b in range(3)
            )
            h = anp.maximum(h, 0).reshape(N, side // 2, 2, side // 2, 2, -1).max(axis=(2, 4))
        z = anp.dot(h.reshape(N, 2048), weights[2])
        z = z - z.max(axis=1, keepdims=True)
        return -anp.mean(anp.sum(z * ONE_HOT, axis=1) - anp.log(anp.sum(anp.exp(z), axis=1)))

    gradient = ag.grad(loss)

    def step():
        gradients = gradient(weights)
        for w, g in zip(weights, gradients, strict=True):
            w -= RATE * g
        return gradients

    return step


def pydynet(pdn) -> Callable:
    from pydynet.nn import functional as PF

    weights = [pdn.Tensor(w, dtype=np.float32, requires_grad=True) for w in (*FIRST, LAST_FIRST)]

    def step():
        h = pdn.Tensor(IMAGES_FIRST, dtype=np.float32)
        for w in weights[:2]:
            h = PF.max_pool2d(PF.relu(PF.conv2d(h, w, padding=1)), 2, 2)
        logits = h.reshape(N, 2048) @ weights[2]
        PF.cross_entropy_loss(logits, pdn.Tensor(LABELS, dtype=int)).mean().backward()
        gradients = [w.grad.copy() for w in weights]
        for w, g in zip(weights, gradients, strict=True):
            w.data -= RATE * g
            w.zero_grad()
        return channels_last(gradients)

    return step


def synapgrad(sg) -> Callable:
    from synapgrad.nn import functional as SF

    weights = [sg.tensor(w, requires_grad=True, dtype=np.float32) for w in (*FIRST, LAST_FIRST)]

    def step():
        h = sg.tensor(IMAGES_FIRST, dtype=np.float32)
        for w in weights[:2]:
            h = SF.max_pool2d(SF.relu(SF.conv2d(h, w, None, 1, 1)), 2, 2)
        logits = h.reshape((N, 2048)) @ weights[2]
        SF.cross_entropy(logits, sg.tensor(LABELS, dtype=int)).mean().backward()
        gradients = [w.grad.data.copy() for w in weights]
        for w, g in zip(weights, gradients, strict=True):
            w.data -= RATE * g
            w.zero_()
        return channels_last(gradients)

    return step


def channels_last(gradients) -> list[np.ndarray]:
    first, second, last = gradients
    last = last.reshape(32, 8, 8, 10).transpose(1, 2, 0, 3).reshape(2048, 10)
    return [interop.from_torch(first, "conv"), interop.from_torch(second, "conv"), last]


TORCH = {"torch": pytorch, "torch, channels last": functools.partial(pytorch, "channels_last")}
PEERS = {f.__name__: f for f in (mygrad, smallpebble, autograd, pydynet, synapgrad)}


def main() -> None:
    args = harness.parse(harness.options(__doc__, rounds=7))
    steps, errors, failures = {}, {}, {}
    right = pytorch()()
    for name in ("tinydiff", *TORCH, *harness.chosen(PEERS, args.only)):
        try:
            step = start(name)
            errors[name] = max(map(harness.relative_error, step(), right))
        except Exception as error:  # a stranger's code may raise anything
            failures[name] = f"{type(error).__name__}: {error}"
            continue
        if errors[name] > WORST:
            failures[name] = "wrong gradients"
        else:
            steps[name] = step
    laps = harness.race(steps, args.rounds)
    rows = []
    for name in sorted(laps, key=lambda name: statistics.median(laps[name])):
        ratios = [a / b for a, b in zip(laps["tinydiff"], laps[name], strict=True)]
        rows.append(
            {
                "engine": with_version(name),
                "a step, ms": harness.quartiles(1e3 * t for t in laps[name]),
                "tinydiff's time over it": harness.quartiles(ratios),
                "gradients differ": errors[name],
                "import, ms": import_milliseconds(name),
            }
        )
    rows += [{"engine": with_version(name), "fails": why} for name, why in failures.items()]
    harness.report("peers", {"Engines on NumPy, and PyTorch": rows}, args.out)


def start(name: str) -> Callable:
    if name == "tinydiff":
        return tinydiff()
    return TORCH[name]() if name in TORCH else PEERS[name](importlib.import_module(name))


def with_version(name: str) -> str:
    package, _, rest = name.partition(",")
    try:
        return f"{package} {importlib.metadata.version(package)}{rest and ',' + rest}"
    except importlib.metadata.PackageNotFoundError:
        return name


def import_milliseconds(name: str, times: int = 5) -> float:
    """Of `import` in a fresh process, NumPy's included."""
    module = name.partition(",")[0]
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = (subprocess.run(command, capture_output=True, check=True) for _ in range(times))
    return 1e3 * statistics.median(float(process.stdout) for process in done)


if __name__ == "__main__":
    main()
