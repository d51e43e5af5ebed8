"""What guidance, thresholds and noise do in a cascade: measured, and drawn.

    python examples/cascade.py --plain                       first, once
    python examples/cascade_ablation.py

Guidance of the first stage makes pictures truer to their sentences, and drives colours to the ends
of their range: clamped, they stay there; thresholded, the whole picture is scaled back.  The second
stage makes large what the first has drawn, with its faults.  Noise on it hides them: here it is
given small pictures that were drawn, and real ones, with noise of several levels, beside a stage
that learned without any.

Sentences are about pairs of things that no stage has seen together.  In each picture it is measured
which shapes of which colours are where, and how well it agrees, shrunk, with what it was made of.

Writes to runs/NAME/ (cascade-ablation by default): guidance.png and thresholds.png; levels.png,
noise-drawn.png and noise-real.png; and table.txt.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinydiff import data, images, metrics, plots, vision
from tinydiff.commandline import parser, run, run_folder, tell, whole
from tinydiff.diffusion import Pipeline, SuperResolution, draw_cascade
from tinydiff.training import check_settings

SCALES, THRESHOLDS = (1.0, 2.0, 4.0, 8.0), {"clamped": None, "thresholded": 0.95}
LEVELS = 0.0, 0.05, 0.1, 0.15, 0.2, 0.25
GUIDANCE, NOISE = 2.0, (0.1, 0.1)  # where they are not what is looked at
FIRST, LATER = {"sampler": "ddpm", "steps": 50}, {"sampler": "ddim", "steps": 12}
SHOWN = 8


def main() -> None:
    args = parse_arguments()
    plots.require()
    folder = run_folder(args, "cascade-ablation")
    base, middle, last, plain = (
        kind.load(
            args.cascade / name / "checkpoint.npz",
            finished=True,
            example="examples/cascade.py --plain",
        )
        for name, kind in {
            "16": Pipeline,
            "32": SuperResolution,
            "64": SuperResolution,
            "32-plain": SuperResolution,
        }.items()
    )
    check_settings(base.settings, "world", "pairs")
    world = data.World(**base.settings["world"])
    _, captions = data.pairs_of(world, seed=base.settings["pairs"])
    captions = np.random.default_rng(args.seed).choice(captions, args.count).tolist()
    real = data.shapes("test", args.count, side=last.image[0], objects=2, world=world)

    def table() -> Iterator[str]:
        yield from guide((base, middle, last), captions, world, folder, args.seed)
        settings = {**FIRST, "guidance": GUIDANCE, "threshold": THRESHOLDS["thresholded"]}
        rng = np.random.default_rng(args.seed)
        drawn = base.draw(args.count, captions, rng=rng, progress=True, **settings)
        given = {
            "drawn": (drawn, captions),
            "real": (middle.shrink(last.shrink(real.images)), real.captions),
        }
        yield from noise(middle, plain, given, world, folder, args.seed)

    tell(folder / "table.txt", table())
    print(f"See guidance, thresholds, levels, noise-drawn and noise-real.png in {folder}.")


def guide(stages, captions, world, folder: Path, seed: int) -> Iterator[str]:
    """What does guidance of the first stage do, if its x_0 is clamped, and if it's thresholded?"""
    true, ends, rows = {}, {}, {}
    for name, threshold in THRESHOLDS.items():
        true[name], ends[name] = [], []
        for w in SCALES:
            settings = [{**FIRST, "guidance": w, "threshold": threshold}]
            settings += [{**LATER, "level": level} for level in NOISE]
            rng = np.random.default_rng(seed)
            drawn = draw_cascade(
                stages, len(captions), captions, settings=settings, rng=rng, progress=True
            )
            told = vision.what_is_so(drawn[-1], captions, world)
            extreme = ((drawn[0] == 0) | (drawn[0] == 255)).mean(axis=(1, 2, 3))
            yield f"{name}, w = {w:g}: {told}; values at an end {extreme.mean():.2%}"
            true[name].append(point(told.shares()["relations"]))
            ends[name].append((extreme.mean(), extreme.std() / len(extreme) ** 0.5))
            rows[f"{name}, w = {w:g}"] = drawn[-1][:SHOWN]
    panels = {"what was said is so": true, "values at an end of the range": ends}
    plots.save_panels(folder / "guidance.png", SCALES, panels, xlabel="guidance w")
    table = images.labelled_grid(np.concatenate([*rows.values()]), [""] * SHOWN, [*rows], scale=1)
    images.save_png(folder / "thresholds.png", table)


def noise(stage, plain, kinds, world, folder: Path, seed: int) -> Iterator[str]:
    """What is noise for, on small pictures that were drawn, and on real ones?"""
    true, agree = {}, {}
    for kind, (small, captions) in kinds.items():
        true[kind], agree[kind] = [], []
        columns = {"given": small[:SHOWN].repeat(2, axis=1).repeat(2, axis=2)}
        for level in (None, *LEVELS):
            who, name = (plain, "learned without") if level is None else (stage, f"{level:g}")
            settings = {**LATER, "level": level or 0.0, "rng": np.random.default_rng(seed)}
            large = who.draw(small, captions, progress=True, **settings)
            told = vision.what_is_so(large, captions, world)
            same = metrics.psnr(stage.shrink(large), small)
            yield f"{kind}, {name}: {told}; agreement {same:.1f} dB"
            columns[name] = large[:SHOWN]
            if who is stage:
                true[kind].append(point(told.shares()["relations"]))
                agree[kind].append(point(same))
        table = np.stack([*columns.values()], axis=1).reshape(-1, *large.shape[1:])
        table = images.labelled_grid(table, [*columns], captions[:SHOWN])
        images.save_png(folder / f"noise-{kind}.png", table)
    panels = {"what was said is so": true, "agreement with what was given, dB": agree}
    plots.save_panels(folder / "levels.png", LEVELS, panels, xlabel="level of the noise")


def point(estimate: metrics.Estimate) -> tuple[float, float]:
    return estimate.value, estimate.error


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="cascade-ablation")
    usual = Path("runs/cascade")
    options.add_argument("--cascade", type=Path, default=usual, help="folder of its stages")
    options.add_argument("--count", type=whole(SHOWN), default=300, help="pictures to measure on")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
