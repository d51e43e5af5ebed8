"""Draw pictures with a trained diffusion model.

    python examples/sample.py runs/mnist/checkpoint.npz                      ten of each class
    python examples/sample.py runs/mnist/checkpoint.npz --class 7 --count 64
    python examples/sample.py runs/mnist/checkpoint.npz --count 1000 --out samples.npz

--out ending in .png gives one picture of all, in .npz the arrays `images` (uint8) and `labels`,
and anything else is a folder of one PNG a picture.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from tinydiff import images
from tinydiff.diffusion import Pipeline
from tinydiff.files import replacing


def main() -> None:
    args = parse_arguments()
    pipeline = Pipeline.load(args.checkpoint)
    labels = choose_labels(pipeline.classes, args.wanted, args.count)
    drawn = pipeline.draw(
        args.count,
        labels,
        sampler=args.sampler,
        steps=args.steps,
        guidance=1.0 if labels is None else args.guidance,
        rng=np.random.default_rng(args.seed),
        progress=True,
    )
    if args.out.suffix == ".npz":
        known = np.full(args.count, -1) if labels is None else labels
        with replacing(args.out) as file:
            np.savez_compressed(file, images=drawn, labels=known)
    elif args.out.suffix == ".png":
        images.save_png(args.out, images.grid(drawn, columns=args.columns), scale=args.scale)
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(drawn):
            name = "" if labels is None else f"-{pipeline.classes[labels[i]]}".replace("/", "-")
            images.save_png(args.out / f"{i:05d}{name}.png", picture, scale=args.scale)
    print(f"{args.count} pictures in {args.out}")


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


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=100, help="how many pictures")
    parser.add_argument(
        "--class", dest="wanted", action="append", help="draw this class (may be repeated)"
    )
    parser.add_argument("--sampler", default="ddim", choices=["ddim", "ddpm"])
    parser.add_argument("--steps", type=int, default=50, help="evaluations of the network")
    parser.add_argument("--guidance", type=float, default=2.0, help="1: plain conditional")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same pictures")
    parser.add_argument("--out", type=Path, default=Path("samples.png"))
    parser.add_argument("--columns", type=int, default=10, help="of one picture of all")
    parser.add_argument("--scale", type=int, default=2, help="pixels a pixel in PNG files")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"sample.py: {error}")
