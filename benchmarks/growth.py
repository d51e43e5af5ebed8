"""How time and memory of a training step grow with batch, side of the image, width, and threads.

    python benchmarks/growth.py

Time should grow as the number of images and of pixels does.  So the time for an image, or a pixel,
is compared with that one row higher up: where it rises by more than 1.3 there is a cliff.  All rows
of a table take turns, PyTorch's among them; each number of threads has a process of its own, and so
has each peak of memory (see `memory.py`).
"""

import json
from dataclasses import dataclass

import harness
import memory
import twins
from cases import Case, unet

THREADS, CLIFF = ("1", "2"), 1.3
RISE = "a unit's, over the row before"


@dataclass(frozen=True)
class Sweep:
    """A small U-Net, one of whose sizes grows.

    power   a row is point^power units of work (images, pixels); None where that is not linear
    """

    name: str
    points: tuple[int, ...]
    power: int | None

    def case(self, point: int) -> Case:
        size = {"batch": 8, "side": 16, "width": 32, self.name: point}
        return unet(
            "a small U-Net",
            (size["batch"], size["side"], size["side"], 3),
            base_channels=size["width"],
            channel_mults=(1, 2),
            num_res_blocks=1,
            norm_groups=8,
        )


SWEEPS = {
    sweep.name: sweep
    for sweep in (
        Sweep("batch", (1, 2, 4, 8, 16, 32, 64, 128, 256), power=1),
        Sweep("side", (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64), power=2),
        Sweep("width", (32, 48, 64, 96, 128, 192, 256), power=None),
    )
}


def main() -> None:
    parser = harness.options(__doc__, rounds=3)
    parser.add_argument("--times", metavar="SWEEP", help="used internally")
    parser.add_argument("--peak", nargs=2, metavar=("SWEEP", "POINT"), help="used internally")
    args = harness.parse(parser)
    if args.times:
        print(json.dumps(times(SWEEPS[args.times], args.rounds)))
        return
    if args.peak:
        name, point = args.peak
        print(json.dumps(memory.peak_megabytes(SWEEPS[name].case(int(point)).step)))
        return
    tables, cliffs = {}, []
    for name in harness.chosen(SWEEPS, args.only):
        for threads in THREADS:
            title = f"{name}, {threads} thread{'' if threads == '1' else 's'}"
            tables[title] = table(SWEEPS[name], args.rounds, threads)
            if SWEEPS[name].power:
                rise = max(row[RISE] for row in tables[title][1:])
                judged = "CLIFF" if rise > CLIFF else "none"
                cliffs.append({"growth with": title, "largest rise": rise, "cliff": judged})
    harness.report("growth", tables | ({"Cliffs": cliffs} if cliffs else {}), args.out)


def times(sweep: Sweep, rounds: int) -> dict[str, list[float]]:
    """Seconds a step in each round, for each point and contestant."""
    contestants = {}
    for point in sweep.points:
        case = sweep.case(point)
        contestants[f"{point} {harness.OURS}"] = case.step()
        contestants |= {f"{point} {name}": twins.step(case, name) for name in twins.FORMATS}
    return harness.race(contestants, rounds)


def table(sweep: Sweep, rounds: int, threads: str) -> list[dict]:
    rows, before = [], None
    environment = {"TINYDIFF_NUM_THREADS": threads}
    arguments = ("--times", sweep.name, "--rounds", str(rounds))
    laps = memory.in_fresh_process(*arguments, **environment)
    for point in sweep.points:
        contestants = {name: laps[f"{point} {name}"] for name in (harness.OURS, *twins.FORMATS)}
        row = {sweep.name: point, **harness.verdict(contestants)}
        if sweep.power:
            costs = [t / point**sweep.power for t in contestants[harness.OURS]]
            if before:
                rises = (now / then for now, then in zip(costs, before, strict=True))
                row[RISE] = harness.quartiles(rises)[1]
            before = costs
        row["peak, MB"] = memory.in_fresh_process("--peak", sweep.name, str(point), **environment)
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
