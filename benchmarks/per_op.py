"""One op at a time, value and gradients apart, at the shapes that the networks have.

    python benchmarks/per_op.py
    python benchmarks/per_op.py --only "64→64 @32"

Both sides compute the same from the same numbers; first, each is compared with PyTorch in float64.
All rows come twice: with one thread, which is how each process of a Team runs them in training and
sampling (see tinydiff/team), and with two, as for who calls an op by itself.
A gradient is timed alone: our op's derivative rules, PyTorch's torch.autograd.grad.  "gradients"
are all that a network in training wants of the op, in one go.
"""

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import harness
import memory
import numpy as np
import torch
import torch.nn.functional as F
from cases import CASES
from twins import DEVICE, FORMATS

import tinydiff as td
from tinydiff import backend, interop, kernels, ops, optim

N = 32  # images in a batch
WORST = 1e-3  # a relative error that means the two do not compute the same


@dataclass(frozen=True)
class Row:
    """A function of ours and PyTorch's, and what to ask of it.

    inputs   name → array in our layout, and the kind `interop` knows it by (None: the same in both)
    image    the value is an image
    wanted   the inputs whose gradients are asked for; none for the value itself
    """

    name: str
    ours: Callable[..., td.Tensor]
    theirs: Callable[..., torch.Tensor]
    inputs: dict[str, tuple[np.ndarray, str | None]]
    image: bool = True
    wanted: tuple[str, ...] = ()

    def our_side(self) -> Callable[[], list[np.ndarray]]:
        tensors = [
            td.Tensor(a, requires_grad=k in self.wanted) for k, (a, _) in self.inputs.items()
        ]
        if not self.wanted:
            return td.no_grad()(lambda: [self.ours(*tensors).data])
        y = self.ours(*tensors)
        g = backend.asarray(upstream(y.shape))

        def gradients():
            fresh = g[:]  # rules that share their work remember the last array they were given
            return [rule(fresh) for rule in y._node.rules]

        return gradients

    def value_shape(self) -> tuple[int, ...]:
        with td.no_grad():
            return self.ours(*(td.Tensor(a) for a, _ in self.inputs.values())).shape

    def their_side(self, memory_format: str, dtype=torch.float32) -> Callable[[], list]:
        tensors = {
            name: torch_tensor(array, kind, memory_format, dtype)
            for name, (array, kind) in self.inputs.items()
        }
        if not self.wanted:
            return torch.no_grad()(lambda: [self.theirs(*tensors.values())])
        asked = [tensors[name].requires_grad_() for name in self.wanted]
        y = self.theirs(*tensors.values())
        kind = "image" if self.image else None
        channels_last = [y.shape[i] for i in (0, 2, 3, 1)] if self.image else y.shape
        g = torch_tensor(upstream(channels_last), kind, memory_format, dtype)
        return functools.partial(torch.autograd.grad, y, asked, g, retain_graph=True)

    def as_theirs(self, results) -> list[np.ndarray]:
        """What `our_side` returns, in PyTorch's layout."""
        kinds = [self.inputs[name][1] for name in self.wanted] or ["image" if self.image else None]
        return [
            backend.to_numpy(a) if kind is None else interop.to_torch(a, kind)
            for a, kind in zip(results, kinds, strict=True)
        ]

    def errors(self) -> dict:
        """Of ours and PyTorch's, relative to float64; the larger of both gradients'."""
        right = self.their_side("contiguous", torch.float64)()
        sides = {
            "error": self.as_theirs(self.our_side()()),
            "PyTorch's": self.their_side("contiguous")(),
        }
        return {
            name: max(map(harness.relative_error, map(_on_host, found), map(_on_host, right)))
            for name, found in sides.items()
        }

    def measure(self, rounds: int) -> dict:
        errors = self.errors()
        if max(errors.values()) > WORST:
            raise SystemExit(f"{self.name}: {errors}")
        formats = list(FORMATS) if self.image else ["contiguous"]
        contestants = {harness.OURS: self.our_side()} | {f: self.their_side(f) for f in formats}
        with kernels.single_threaded_blas:
            laps = harness.race(contestants, rounds)
        return {"op": self.name, **harness.verdict(laps), **errors}


def _on_host(a) -> np.ndarray:
    return a.cpu().numpy() if isinstance(a, torch.Tensor) else a


def upstream(shape) -> np.ndarray:
    """The gradient that comes from above."""
    return np.random.default_rng(2).standard_normal(shape, dtype=np.float32)


def torch_tensor(array, kind: str | None, memory_format: str, dtype) -> torch.Tensor:
    array = array if kind is None else interop.to_torch(array, kind)
    tensor = torch.tensor(array, dtype=dtype, device=DEVICE)
    return (
        tensor
        if tensor.ndim != 4 or kind is None
        else tensor.to(memory_format=FORMATS[memory_format])
    )


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def value_and_gradients(row: Row, **gradients: tuple[str, ...]) -> Iterator[Row]:
    """The row asked for its value, then for each set of gradients: name → inputs."""
    yield replace(row, name=f"{row.name} value")
    for name, wanted in gradients.items():
        yield replace(row, name=f"{row.name} {name.replace('_', ' ')}", wanted=wanted)


def conv(
    c: int, o: int, side: int, *, n=N, kernel=3, transposed=False, **geometry
) -> Iterator[Row]:
    ours, theirs = (
        (ops.conv_transpose2d, F.conv_transpose2d) if transposed else (ops.conv2d, F.conv2d)
    )
    kind = "conv_transpose" if transposed else "conv"
    weight = random(kernel, kernel, c, o) / np.float32(kernel * np.sqrt(c))
    title = f"{'transposed ' if transposed else ''}conv {kernel}×{kernel} {c}→{o} @{side}"
    yield from value_and_gradients(
        Row(
            title + (f" stride {geometry['stride']}" if "stride" in geometry else ""),
            functools.partial(ours, **geometry),
            functools.partial(theirs, **geometry),
            {
                "x": (random(n, side, side, c), "image"),
                "weight": (weight, kind),
                "bias": (random(o), None),
            },
        ),
        input_gradient=("x",),
        weight_gradient=("weight",),
        gradients=("x", "weight", "bias"),
    )


def norm(c: int, side: int, groups: int = 32, n: int = N) -> Iterator[Row]:
    row = Row(
        f"group norm + silu, {c} @{side}",
        functools.partial(ops.group_norm, groups=groups, silu=True),
        lambda x, weight, bias: F.silu(F.group_norm(x, groups, weight, bias)),
        {
            "x": (random(n, side, side, c), "image"),
            "weight": (random(c), None),
            "bias": (random(c), None),
        },
    )
    return value_and_gradients(row, gradients=("x", "weight", "bias"))


def attention(tokens: int, heads: int = 4, size: int = 32, n: int = N) -> Iterator[Row]:
    q, k, v = random(3, n, heads, tokens, size)
    row = Row(
        f"attention, {tokens} tokens, {heads} heads of {size}",
        ops.attention,
        F.scaled_dot_product_attention,
        {"q": (q, None), "k": (k, None), "v": (v, None)},
        image=False,
    )
    return value_and_gradients(row, gradients=("q", "k", "v"))


def linear(rows: int, c: int, o: int) -> Iterator[Row]:
    row = Row(
        f"linear {c}→{o}, {rows} rows",
        ops.linear,
        F.linear,
        {
            "x": (random(rows, c), None),
            "weight": (random(c, o), "linear"),
            "bias": (random(o), None),
        },
        image=False,
    )
    return value_and_gradients(row, gradients=("x", "weight", "bias"))


def function(name: str, ours, theirs, *shapes, image=True) -> Row:
    """A function of images, or of arrays that lie in memory in one way only."""
    kind = "image" if image else None
    inputs = {str(i): (random(*shape), kind) for i, shape in enumerate(shapes)}
    return Row(name, ours, theirs, inputs, image)


def rows() -> Iterator[Row]:
    yield from conv(3, 64, 32, padding=1)
    yield from conv(64, 64, 32, padding=1)
    yield from conv(128, 128, 16, padding=1)
    yield from conv(256, 256, 8, padding=1)
    yield from conv(32, 32, 28, padding=1)
    yield from conv(64, 64, 14, padding=1)
    yield from conv(64, 64, 32, padding=1, stride=2)
    yield from conv(128, 64, 32, kernel=1)
    yield from conv(128, 128, 8, kernel=4, padding=1, stride=2, transposed=True)
    yield from norm(64, 32)
    yield from norm(128, 16)
    yield from attention(64)
    yield from attention(256)
    yield from linear(N * 256, 256, 768)
    yield function("x + y, 64 @32", ops.add, torch.add, *[(N, 32, 32, 64)] * 2)
    yield function(
        "concat 64 + 64 @32",
        lambda *parts: ops.concat(parts),
        lambda *parts: torch.cat(parts, dim=1),
        *[(N, 32, 32, 64)] * 2,
    )
    several = (
        function("silu, 64 @32", ops.silu, F.silu, (N, 32, 32, 64)),
        function(
            "upsample 128 @16",
            ops.upsample_nearest2d,
            lambda x: F.interpolate(x, scale_factor=2),
            (N, 16, 16, 128),
        ),
        function("gelu, 4096 × 1024", ops.gelu, F.gelu, (4096, 1024), image=False),
        function(
            "layer norm, 4096 × 256",
            ops.layer_norm,
            lambda x, weight, bias: F.layer_norm(x, (256,), weight, bias),
            *((4096, 256), (256,), (256,)),
            image=False,
        ),
    )
    for row in several:
        yield from value_and_gradients(row, gradients=tuple(row.inputs))


def adam(rounds: int, case: str = "unet-122", finish: Callable = lambda: None) -> dict:
    """The optimiser's step on all parameters of a U-Net."""
    ours = list(CASES[case].model().parameters())
    theirs = [torch.tensor(p.numpy(), requires_grad=True, device=DEVICE) for p in ours]
    optimisers = optim.Adam(ours, lr=1e-3), torch.optim.Adam(theirs, lr=1e-3, fused=True)
    for p, q in zip(ours, theirs, strict=True):
        p.grad[...] = backend.asarray(upstream(p.shape))
        q.grad = torch.tensor(backend.to_numpy(p.grad), device=DEVICE)
    mine, fused = (optimiser.step for optimiser in optimisers)
    for _ in range(3):
        mine(), fused()
    pairs = [(p.numpy(), _on_host(q.detach())) for p, q in zip(ours, theirs, strict=True)]
    errors = {"error": max(harness.relative_error(*pair) for pair in pairs)}
    size = sum(p.size for p in ours)
    laps = harness.race({harness.OURS: mine, "contiguous": fused}, rounds, finish)
    return {"op": f"Adam, {size:,} parameters", **harness.verdict(laps), **errors}


def main() -> None:
    parser = harness.options(__doc__, rounds=5)
    parser.add_argument("--here", action="store_true", help="used internally")
    args = harness.parse(parser)
    measured = {row.name: row.measure for row in rows()} | {"Adam": adam}
    names = harness.chosen(measured, args.only)
    if args.here:
        print(json.dumps([measured[name](args.rounds) for name in names]))
        return
    words = ["--here", "--rounds", str(args.rounds)]
    words += [f"--only={text}" for text in args.only or ()]
    tables = {
        f"{threads} thread{'s' if threads > 1 else ''}": memory.in_fresh_process(
            *words, TINYDIFF_NUM_THREADS=str(threads)
        )
        for threads in (1, 2)
    }
    harness.report("per_op", tables, args.out)


if __name__ == "__main__":
    main()
