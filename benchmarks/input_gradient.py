"""What an attack pays for a step, beside a step of training: no gradient of a weight is computed.

    python benchmarks/input_gradient.py
    python benchmarks/input_gradient.py --only vgg --rounds 21

The networks are those of models.CLASSIFIERS, of digits, and wider ones; both steps see a batch of
128 that lies ready.  A step of training is a Trainer's: forward, loss, backward, clipping, AdamW,
EMA.  A step of an attack is a tenth of a PGD of ten: forward, loss, the gradient with respect to
the pictures, a step along its signs and the way back into the ball.  All rows come twice, with one
thread and with two.  Of a single thread its own processor time is told, which hangs less on what
else the machine does.
"""

import functools
import json
import time
from collections.abc import Callable

import harness
import memory
import numpy as np
from cases import Case, smooth_cross_entropy

from tinydiff.adversarial import pgd
from tinydiff.kernels.workers import THREADS
from tinydiff.metrics import classifying, judge_recipe
from tinydiff.models import CLASSIFIERS

STEPS = 10
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
    parser = harness.options(__doc__, rounds=11)
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
    clock = time.process_time if THREADS == 1 else time.perf_counter
    laps = harness.race({"training": case.step(), "attack": attack(case)}, rounds, clock=clock)
    training, attacked = laps["training"], [t / STEPS for t in laps["attack"]]
    return {
        "network": case.title,
        "training, ms": harness.quartiles(1e3 * t for t in training),
        "input gradient, ms": harness.quartiles(1e3 * t for t in attacked),
        "ratio": harness.quartiles(a / t for a, t in zip(attacked, training, strict=True)),
    }


def attack(case: Case) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x = rng.random(case.shape, dtype=np.float32)
    y = rng.integers(case.settings["num_classes"], size=len(x))
    return functools.partial(pgd, case.model(), x, y, eps=0.3, steps=STEPS)


if __name__ == "__main__":
    main()
