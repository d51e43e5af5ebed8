"""What an attack pays for a step, beside a step of training and beside PyTorch's.

    python benchmarks/input_gradient.py
    python benchmarks/input_gradient.py --only vgg --rounds 21

The networks are those of models.CLASSIFIERS, of digits, and wider ones; both steps see a batch of
128 that lies ready.  A step of training is a Trainer's: forward, loss, backward, clipping, AdamW,
EMA.  A step of an attack is a tenth of a PGD of ten: forward, loss, the gradient with respect to
the pictures, without that of a weight, a step along its signs and the way back into the ball.
PyTorch's network is the same, in the memory format that is faster for it, and before all else the
two gradients are compared on equal weights; a difference over 1e-2 ends the program.  All rows come
twice, with one thread and with two.  Of a single thread its own processor time is told, which hangs
less on what else the machine does.
"""

import functools
import json
import statistics
import time
from collections.abc import Callable

import harness
import memory
import numpy as np
import torch
import twins
from cases import Case, smooth_cross_entropy

from tinydiff import interop
from tinydiff.adversarial import pgd
from tinydiff.adversarial.network import attacking, loss_gradient
from tinydiff.kernels.workers import THREADS
from tinydiff.metrics import classifying, judge_recipe
from tinydiff.models import CLASSIFIERS

STEPS, EPS, TOLERANCE = 10, 0.3, 1e-2
DIGITS, COLOUR = (28, 28, 1), (32, 32, 3)
JUDGE = judge_recipe(COLOUR[2])


def classifier(title: str, kind: str, image=DIGITS, **settings) -> Case:
    return Case(
        title,
        CLASSIFIERS[kind],
        {"in_channels": image[2], "num_classes": 10, **settings},
        (classifying.BATCH, *image),
        smooth_cross_entropy,
        optimiser="AdamW",
        rate=classifying.PEAK / 10,
        clip=1.0,
        decay=0.998,
    )


CASES = {
    **{kind: classifier(kind, kind) for kind in CLASSIFIERS},
    "plain-wide": classifier("plain, twice as wide", "plain", widths=(64, 128, 256)),
    "vgg-wide": classifier("vgg, twice as wide", "vgg", widths=(64, 128, 256)),
    "judge": classifier(
        "judge of colour", JUDGE["kind"], COLOUR, widths=JUDGE["widths"], blocks=JUDGE["blocks"]
    ),
}


def main() -> None:
    parser = harness.options(__doc__, rounds=3)
    parser.add_argument("--here", action="store_true", help="used internally")
    args = harness.parse(parser)
    names = harness.chosen(CASES, args.only)
    if args.here:
        print(json.dumps([measure(CASES[name], args.rounds) for name in names]))
        return
    words = [
        "--here",
        "--rounds",
        str(args.rounds),
        *(f"--only={text}" for text in args.only or ()),
    ]
    tables = {
        f"{threads} thread{'s' if threads > 1 else ''}": memory.in_fresh_process(
            *words, TINYDIFF_NUM_THREADS=str(threads)
        )
        for threads in (1, 2)
    }
    harness.report("input_gradient", tables, args.out)


def measure(case: Case, rounds: int) -> dict:
    difference = gradients_differ(case)
    if difference > TOLERANCE:
        raise SystemExit(f"{case.title}: input gradients differ by {difference:.1e}")
    contestants = {"training": case.step(), "attack": attack(case)}
    for name in twins.FORMATS:
        contestants |= {
            f"training, {name}": twins.step(case, name),
            f"attack, {name}": their_attack(case, name),
        }
    clock = time.process_time if THREADS == 1 else time.perf_counter
    laps = harness.race(contestants, rounds, clock=clock)
    trained, attacked = laps["training"], laps["attack"]
    their_trained, their_attacked = (
        min((laps[f"{kind}, {name}"] for name in twins.FORMATS), key=statistics.median)
        for kind in ("training", "attack")
    )
    return {
        "network": case.title,
        "training, ms": milliseconds(trained),
        "input gradient, ms": milliseconds(attacked, STEPS),
        "ratio": ratios(attacked, trained, STEPS),
        "PyTorch: training, ms": milliseconds(their_trained),
        "its input gradient, ms": milliseconds(their_attacked, STEPS),
        "its ratio": ratios(their_attacked, their_trained, STEPS),
        "ours to its input gradient": ratios(attacked, their_attacked),
        "gradients differ": difference,
    }


def milliseconds(laps: list[float], steps: int = 1) -> list[float]:
    return harness.quartiles(1e3 * t / steps for t in laps)


def ratios(laps: list[float], others: list[float], steps: int = 1) -> list[float]:
    return harness.quartiles(t / steps / other for t, other in zip(laps, others, strict=True))


def attack(case: Case) -> Callable[[], object]:
    return functools.partial(pgd, case.model(), *pictures(case), eps=EPS, steps=STEPS)


def their_attack(case: Case, memory_format: str) -> Callable[[], object]:
    x, y = pictures(case)
    network = twins.model(case, memory_format)
    return twins.pgd(network, twins.tensor(x, memory_format), torch.tensor(y), EPS, STEPS)


def pictures(case: Case) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.random(case.shape, dtype=np.float32)
    return x, rng.integers(case.settings["num_classes"], size=len(x))


def gradients_differ(case: Case) -> float:
    """The input gradients' ‖ours − theirs‖ / ‖theirs‖, ours as an attack asks for it

    A single entry may differ by much: where two pixels tie but for rounding, max-pooling may pick
    either.  So norms are compared.
    """
    x, y = pictures(case)
    ours = case.model()
    with attacking(ours, x):
        gradient = interop.to_torch(loss_gradient(ours, x, y), "image")
    differences = []
    for name in twins.FORMATS:
        theirs = twins.model(case, name).eval()
        twins.load(theirs, ours.state_dict())
        z = twins.tensor(x, name).requires_grad_()
        torch.nn.functional.cross_entropy(theirs(z), torch.tensor(y), reduction="sum").backward()
        right = z.grad.numpy()
        differences.append(float(np.linalg.norm(gradient - right) / np.linalg.norm(right)))
    return max(differences)


if __name__ == "__main__":
    main()
