"""Recomputation: compute a part of the network again in `backward`, rather than keep all of it.

Backward needs what forward computed.  Of n layers in k blocks, ``checkpoint`` keeps what goes into
each block, and what is inside one block at a time while backward walks it: n/k + k arrays in place
of n, fewest for k = √n, for one more forward pass, a third of a step's arithmetic.

    h = checkpoint(block, h)              # in place of h = block(h)

(Nothing to do with the checkpoints of `tinydiff.training`, which are files of saved weights.)

The second run sees the same random numbers, makes the same graph on the same tensors, and backward
walks it in the place of the first: the gradients are the same to the last bit.

Source: T. Chen et al., "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tinydiff import backend
from tinydiff.graph import Node, births, made_since
from tinydiff.recording import recording
from tinydiff.tensor import Tensor, node_of

_again = False


def recomputing() -> bool:
    """Is this the second run of a checkpoint?  Then what should happen once has happened."""
    return _again


def checkpoint(fn: Callable[..., Tensor], *inputs) -> Tensor:
    """fn(*inputs), one Tensor, of which backward will compute the inside a second time.

    fn may use other tensors than its inputs, parameters for instance; all get their gradients.
    It must do the same thing both times: what it reads must not change before backward, and what
    it draws must come from tinydiff's own random stream.  What it makes inside does not lead to
    the result, so `grad` finds zeros there; a new leaf inside must not require a gradient.

    Raises TypeError if fn returns something else than a Tensor, and RuntimeError in backward if
    its second run does not fit the first.
    """
    if not callable(fn):
        raise TypeError(f"checkpoint: fn is a {type(fn).__name__}, expected a function")
    stream, part = backend.rng.bit_generator.state, backend.part_seen()
    output, _, outside = _run(fn, inputs)
    if not outside:  # no gradient passes through: there is nothing to compute again
        return output
    shape, dtype = output.shape, output.dtype

    def run_again(retain_graph: bool) -> list[Node]:  # the new one is for this walk anyway
        with recording(), _as_before(stream, part):
            result, graph, needed = _run(fn, inputs)
        if (result.shape, result.dtype, set(needed)) != (shape, dtype, set(outside)):
            raise RuntimeError(
                "checkpoint: fn did not do the same in backward as before: it returned "
                f"{shape} {dtype} computed from {len(outside)} tensors that require grad, "
                f"then {result.shape} {result.dtype} from {len(needed)}"
            )
        return graph

    # The output forgets how it was computed, and with that the arrays its rules kept.
    node = node_of(output)
    node.inputs, node.rules = outside, run_again
    return output


def _run(fn: Callable, inputs: tuple) -> tuple[Tensor, list[Node], tuple[Node, ...]]:
    """fn's result, the graph it left, oldest first, and the tensors from before it hangs on."""
    start = next(births)
    output = fn(*inputs)
    if not isinstance(output, Tensor):
        raise TypeError(f"checkpoint: fn returned a {type(output).__name__}, expected one Tensor")
    if not output.requires_grad or node_of(output).birth < start:  # one of the inputs, say
        return output, [], ()
    graph, used = made_since(start, node_of(output))
    return output, graph, tuple(used)


@contextlib.contextmanager
def _as_before(stream: dict, part) -> Iterator[None]:
    """The random stream put back to ``stream``, for ``part`` of the images; then to where it is."""
    global _again
    generator = backend.rng.bit_generator
    earlier, now = _again, generator.state
    _again, generator.state = True, stream
    seeing = contextlib.nullcontext() if part is None else backend.seeing_part(*part)
    try:
        with seeing:
            yield
    finally:
        _again, generator.state = earlier, now
