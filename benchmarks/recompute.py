"""Memory for time: a U-Net at 64×64 with its blocks' activations kept, and computed again.

    python benchmarks/recompute.py

A step is zeroing the gradients, forward, loss, backward and Adam; both ways come to the same losses
to the last bit, which is checked first.  Times take turns in one process, peaks of memory are those
of a fresh process each (see `memory.py`) and hold weights, gradients and optimiser as well.
"""

import json

import harness
import memory
from cases import Case, unet

WAYS = {"all kept": False, "recomputed": True}


def main() -> None:
    parser = harness.options(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--peak", choices=WAYS, help="used internally")
    args = harness.parse(parser)
    if args.peak:
        print(json.dumps(memory.peak_megabytes(case(args.batch, args.peak).step)))
        return
    steps = {way: case(args.batch, way).step() for way in WAYS}
    if len({step().loss for _ in range(3) for step in steps.values()}) != 3:
        raise SystemExit("the losses of three steps differ")
    laps = harness.race(steps, args.rounds)
    peaks = {
        way: memory.in_fresh_process("--peak", way, "--batch", str(args.batch)) for way in WAYS
    }
    rows = [
        {
            "activations": way,
            "a step, ms": harness.quartiles(1e3 * t for t in laps[way]),
            "times": harness.quartiles(
                t / kept for t, kept in zip(laps[way], laps["all kept"], strict=True)
            ),
            "peak, MB": peaks[way],
            "of it": peaks[way] / peaks["all kept"],
        }
        for way in WAYS
    ]
    caption = f"{case(args.batch, 'all kept').title}, 64 × 64"
    harness.report("recompute", {caption: rows}, args.out)


def case(batch: int, way: str) -> Case:
    title = f"U-Net 64·(1, 2, 2), batch {batch}"
    return unet(title, (batch, 64, 64, 3), channel_mults=(1, 2, 2), recompute=WAYS[way])


if __name__ == "__main__":
    main()
