"""Whole training steps: tinydiff's Trainer against PyTorch eager.

    python benchmarks/training_step.py                        all rows, time and memory
    python benchmarks/training_step.py --only unet-122 --rounds 3 --no-memory

A step is: zero the gradients, forward, loss, backward, clip (where the recipe does), optimiser,
EMA (where the recipe does), on a batch that lies ready.  First, loss and all gradients are compared
on equal weights and inputs; a difference over 1e-3 ends the program.
"""

import json
from collections.abc import Callable

import cases
import harness
import memory
import twins
from cases import CASES, Case

from tinydiff import backend, kernels

TOLERANCE = 1e-3


def main() -> None:
    parser = harness.options(__doc__, rounds=5)
    parser.add_argument("--no-memory", action="store_true", help="times only")
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "CONTESTANT"), help="used internally")
    args = harness.parse(parser)
    if args.peak:
        print(json.dumps(peak(*args.peak)))
        return
    rows = []
    for name in harness.chosen(CASES, args.only):
        row = measure(CASES[name], args.rounds)
        rows.append(row if args.no_memory else row | memory_of(name))
        print(harness.table(rows[-1:]), flush=True)
    name = "training_step_avx2" if args.avx2 else "training_step"
    harness.report(name, {"Training step": rows}, args.out)


def measure(
    case: Case, rounds: int, finish: Callable = lambda: None, tolerance: float = TOLERANCE
) -> dict:
    loss, gradient = differences(case)
    if max(loss, gradient) > tolerance:
        raise SystemExit(f"{case.title}: loss differs by {loss:.1e}, gradients by {gradient:.1e}")
    contestants = {harness.OURS: case.step()}
    contestants |= {name: twins.step(case, name) for name in twins.formats(case)}
    verdict = harness.verdict(harness.race(contestants, rounds, finish))
    return {"step": case.title, **verdict, "loss differs": loss, "gradients differ": gradient}


def differences(case: Case) -> tuple[float, float]:
    """Of the loss, and the largest of all gradients', relative to PyTorch's.

    A loss that draws random numbers is left out: mean squares instead.
    """
    name = "mean_squares" if case.loss is cases.diffusion_loss else case.loss.__name__
    ours, theirs = case.model().eval(), twins.model(case, "contiguous").eval()
    twins.load(theirs, ours.state_dict())
    target, inputs = case.batch()
    with kernels.single_threaded_blas:
        loss = getattr(cases, name)(ours, target, *inputs)
        loss.backward()
    their_loss = getattr(twins, name)(theirs, *twins.batch(case, "contiguous"))
    their_loss.backward()
    gradients = {name: backend.to_numpy(p.grad) for name, p in ours.named_parameters()}
    mine = twins.as_theirs(theirs, gradients)
    right = {name: p.grad.cpu().numpy() for name, p in theirs.named_parameters()}
    # The gradient of a key's bias, for one, is zero but for rounding.
    floor = 1e-3 * max(float(abs(g).max()) for g in right.values())
    gradient = max(harness.relative_error(mine[name], g, floor) for name, g in right.items())
    return abs(loss.item() / their_loss.item() - 1), gradient


def memory_of(name: str) -> dict:
    ours = memory.in_fresh_process("--peak", name, harness.OURS)
    # Not the fast kernels: importing them would change how the C library frees PyTorch's memory.
    theirs = min(
        memory.in_fresh_process("--peak", name, contestant, TINYDIFF_KERNELS="plain")
        for contestant in twins.formats(CASES[name])
    )
    return {"tinydiff, MB": ours, "PyTorch, MB": theirs, "memory ratio": ours / theirs}


def peak(name: str, contestant: str) -> float:
    case = CASES[name]
    if contestant == harness.OURS:
        return memory.peak_megabytes(case.step)
    return memory.peak_megabytes(lambda: twins.step(case, contestant))


if __name__ == "__main__":
    main()
