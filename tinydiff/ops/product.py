"""Products of matrices and tensors."""

import string

from tinydiff import backend, kernels
from tinydiff.backend import xp
from tinydiff.ops import checks
from tinydiff.tensor import Tensor, op


def _t(a):
    return xp.swapaxes(a, -1, -2)


@op
def matmul(a, b):
    """a @ b over the last two axes: (…, n, k) @ (…, k, m) → (…, n, m); leading axes broadcast."""
    left, right = xp.shape(a), xp.shape(b)
    if min(len(left), len(right)) < 2 or left[-1] != right[-2]:
        raise ValueError(f"matmul: shapes {left} and {right} are not (…, n, k) and (…, k, m)")
    return kernels.matmul(a, b), (
        lambda g: kernels.matmul(g, _t(b)),
        lambda g: kernels.matmul(_t(a), g),
    )


@op
def linear(x, weight, bias=None):
    """y = x @ weight + bias: (…, in) → (…, out), weight (in, out), bias (out,)"""
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"linear: x {x.shape} and weight {weight.shape} are not (…, in), (in, out)"
        )
    n, m = weight.shape
    if bias is not None and bias.shape != (m,):
        raise ValueError(f"linear: bias has shape {bias.shape}, expected ({m},)")
    rows = x.reshape(-1, n)
    y = kernels.linear(rows, weight, bias)
    return y.reshape(*x.shape[:-1], m), (
        lambda g: kernels.matmul(g.reshape(-1, m), weight.T).reshape(x.shape),
        lambda g: kernels.matmul_t(rows, g.reshape(-1, m)),
        lambda g: kernels.sum_rows(g.reshape(-1, m)),
    )


def einsum(subscripts: str, *operands: Tensor) -> Tensor:
    """Σ over the letters missing on the right of '->', as in NumPy ("nqd,nkd->nqk").

    No letter may stand twice within one operand (take a diagonal by indexing instead).
    """
    inputs, output = _spelled_out(subscripts, [len(x.shape) for x in operands])
    sizes: dict[str, int] = {}
    for i, (letters, x) in enumerate(zip(inputs, operands, strict=True)):
        for c, n in zip(letters, x.shape, strict=True):
            if n != 1 and sizes.setdefault(c, n) != n:
                raise ValueError(
                    f"einsum: operand {i} of {subscripts!r} has shape {x.shape}, "
                    f"where another operand has length {sizes[c]}"
                )
    return _einsum(*operands, inputs=inputs, output=output)


@op
def _einsum(*arrays, inputs, output):
    def rule(i):
        others = [s for j, s in enumerate(inputs) if j != i]
        rest = [a for j, a in enumerate(arrays) if j != i]
        known = set(output).union(*others)
        # A letter only this operand has was summed away alone: its gradient is constant along it.
        kept = "".join(c for c in inputs[i] if c in known)

        def pull_back(g):
            share = xp.einsum(",".join([output, *others]) + "->" + kept, g, *rest, optimize=True)
            grow = tuple(slice(None) if c in known else None for c in inputs[i])
            shape = [
                max(share.shape[kept.index(c)], n) if c in known else n
                for c, n in zip(inputs[i], arrays[i].shape, strict=True)
            ]
            return xp.broadcast_to(share[grow], shape)

        return pull_back

    y = xp.einsum(",".join(inputs) + "->" + output, *arrays, optimize=True)
    return y, tuple(rule(i) for i in range(len(arrays)))


def _spelled_out(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the output, with "..." replaced by unused letters."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    if not arrow or len(inputs) != len(ndims):
        raise ValueError(f"einsum: {subscripts!r} must name {len(ndims)} operands and an output")
    spare = [c for c in string.ascii_letters if c not in subscripts]
    widest = max(
        (n - len(s) + 3 for s, n in zip(inputs, ndims, strict=True) if "..." in s), default=0
    )
    for i, (s, n) in enumerate(zip(inputs, ndims, strict=True)):
        if "..." in s:
            s = s.replace("...", "".join(spare[widest - (n - len(s) + 3) : widest]))
        if len(s) != n or len(set(s)) != n or (n and not s.isalpha()):
            raise ValueError(
                f"einsum: operand {i} has {n} axes, which {inputs[i]!r} does not name once each"
            )
        inputs[i] = s
    output = output.replace("...", "".join(spare[:widest]))
    if len(set(output)) != len(output) or not set(output) <= set("".join(inputs)):
        raise ValueError(f"einsum: the output of {subscripts!r} repeats or invents a letter")
    return inputs, output


def embedding(weight: Tensor, index) -> Tensor:
    """weight[index]: rows of a table (count, size) for integer indices (…) → (…, size)"""
    index = backend.to_numpy(checks.integers(index))  # it will be looked at
    if len(weight.shape) != 2:
        raise ValueError(f"embedding: weight has shape {weight.shape}, expected (count, size)")
    # From 0 on: a label of −1 is a mistake, not the last row.
    checks.positions("embedding", index, 0, weight.shape[0] - 1)
    return _embedding(weight, index=index)


@op
def _embedding(weight, *, index):
    picked = weight[backend.asarray(index)]
    return picked, (lambda g: kernels.sum_picked(g, index, len(weight)),)
