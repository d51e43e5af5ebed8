"""Draw pictures with a trained diffusion model.

    python examples/sample.py runs/mnist/checkpoint.npz                      ten of each class
    python examples/sample.py runs/mnist/checkpoint.npz --class 7 --count 64
    python examples/sample.py runs/mnist/checkpoint.npz --count 1000 --out samples.npz

--out ending in .png gives one picture of all, in .npz the arrays `images` (uint8) and `labels`,
and anything else is a folder of one PNG a picture.
"""

from pathlib import Path

import numpy as np

from tinydiff import images
from tinydiff.commandline import check_writable, number, parser, run, whole
from tinydiff.diffusion import load_pipeline
from tinydiff.diffusion.samplers import SAMPLERS
from tinydiff.files import replacing


def main() -> None:
    args = parse_arguments()
    check_out(args.out)
    pipeline = load_pipeline(args.checkpoint)
    labels = choose_labels(pipeline.classes, args.wanted, args.count)
    usual = 1.0 if labels is None else 3.0
    drawn = pipeline.draw(
        args.count,
        labels,
        sampler=args.sampler,
        steps=args.steps,
        guidance=usual if args.guidance is None else args.guidance,
        rng=np.random.default_rng(args.seed),
        progress=True,
    )
    kind = args.out.suffix.lower()
    if kind == ".npz":
        known = np.full(args.count, -1) if labels is None else labels
        with replacing(args.out) as file:
            np.savez_compressed(file, images=drawn, labels=known)
    elif kind == ".png":
        table = images.grid(drawn, columns=min(args.columns, args.count))
        images.save_png(args.out, table, scale=args.scale)
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(drawn):
            name = "" if labels is None else f"-{pipeline.classes[labels[i]]}".replace("/", "-")
            images.save_png(args.out / f"{i:05d}{name}.png", picture, scale=args.scale)
    print(f"{args.count} pictures in {args.out}")


def check_out(out: Path) -> None:
    """Complain now, not when all is drawn, about a place that cannot be written to."""
    kind = out.suffix.lower()
    if kind in (".jpg", ".jpeg", ".gif", ".webp"):
        raise ValueError(f"--out is {out}, expected a name in .png or .npz, or a folder")
    if out.exists() and out.is_dir() == (kind in (".png", ".npz")):
        there, wanted = ("folder", "file") if out.is_dir() else ("file", "folder")
        raise ValueError(f"--out is {out}: there is a {there}, where a {wanted} is to be written")
    check_writable(out.parent if kind in (".png", ".npz") else out)


def choose_labels(classes: tuple[str, ...], wanted: list[str] | None, count: int):
    """A label for each picture: the wanted classes, or all of them, in equal numbers."""
    if not classes:
        if wanted:
            raise ValueError("--class: this model was trained without classes")
        return None
    chosen = range(len(classes))
    if wanted:
        unknown = [name for name in wanted if name not in classes]
        if unknown:
            raise ValueError(f"--class: {unknown[0]!r} is not one of {', '.join(classes)}")
        chosen = [classes.index(name) for name in wanted]
    return np.sort(np.resize(chosen, count))


def parse_arguments():
    options = parser(__doc__, "checkpoint", "--seed")
    options.add_argument("--count", type=whole(1), default=100, help="how many pictures")
    options.add_argument(
        "--class",
        dest="wanted",
        action="append",
        help="draw this class; may be repeated (default: all)",
    )
    options.add_argument("--sampler", default="ddpm", choices=list(SAMPLERS), help="to draw with")
    options.add_argument("--steps", type=whole(1), default=50, help="of the sampler")
    options.add_argument(
        "--guidance",
        type=number(),
        help="1: plain conditional (default: 3 where there are classes)",
    )
    options.add_argument("--out", type=Path, default=Path("samples.png"), help="see above")
    options.add_argument("--columns", type=whole(1), default=10, help="of one picture of all")
    options.add_argument("--scale", type=whole(1), default=2, help="pixels a pixel in PNG files")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
