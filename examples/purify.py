"""Defend a classifier by a diffusion model, which draws every picture anew before it is looked at.

    python examples/purify.py runs/classify-mnist/checkpoint.npz
    python examples/purify.py CHECKPOINT --diffusion runs/fashion-mnist/checkpoint.npz
    python examples/purify.py CHECKPOINT --image my.png                        a picture of yours

The checkpoint is one of examples/classify.py, --diffusion one of examples/ddpm.py that learned from
the same pictures.  Pictures are noised up to step t = strength · T, and drawn back in a few steps.
The strength is the one of several with which most training pictures are seen rightly, half of them
attacked.  Then test pictures are attacked in two ways: knowing the classifier only, and knowing all
(BPDA and EOT: the gradient behind purification, the mean of several draws).  What a defence is
worth is the second.

Writes to runs/NAME/ (purify-RUN by default): table.txt, how many are seen rightly, and
purified.png: pictures, attacked, noised, purified, and what is seen in each.  With --image it
writes MY-purified.png beside the checkpoint.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from tinydiff import data, images
from tinydiff.adversarial import (
    Purified,
    carried_out,
    classes_seen,
    first_pictures,
    on_pictures,
    pgd,
)
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.commandline import number, parser, row, run, run_folder, tell, whole
from tinydiff.diffusion import Pipeline, denoiser, sdedit
from tinydiff.metrics import Recogniser

DATA = data.LABELLED
GREY, COLOUR = (0.1, 0.3), (2 / 255, 8 / 255)  # ε in L∞
STRENGTHS, USUAL = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), 0.4
DRAWING = 2  # steps of DDPM: more change little
ALONE, ALL = {"steps": 40}, {"steps": 10, "draws": 16}  # PGD on the classifier, and on the whole
BATCH = 10
SHOWN = 6  # rows of purified.png


def main() -> None:
    args = parse_arguments()
    folder = run_folder(args, f"purify-{args.checkpoint.resolve().parent.name}")
    recogniser, pipeline = Recogniser.load(args.checkpoint), Pipeline.load(args.diffusion)
    if recogniser.image != pipeline.image:
        raise ValueError(
            f"--diffusion {args.diffusion}: a model of pictures {pipeline.image}, expected "
            f"{recogniser.image}, those of the classifier"
        )
    sizes = GREY if recogniser.image[2] == 1 else COLOUR
    bare, attack = on_pictures(recogniser.model), partial(attacked, seed=args.seed)
    guarded = partial(purified, bare, pipeline, seed=args.seed)
    if args.image:
        x = images.to_float(recogniser.read(args.image)[None], (0, 1))
        changed = attack(bare, x, classes_seen(bare, x), sizes[-1], **ALONE)
        path, strength = args.checkpoint.with_name(f"{args.image.stem}-purified.png"), args.strength
        sheet = before_and_after(recogniser, pipeline, x, changed, strength or USUAL, args.seed)
        images.save_png(path, sheet)
        print(f"See {path}.")
        return
    name = args.data or data.learned_from(recogniser.settings, DATA)
    train_set, test_set = data.train_and_test(name, DATA, recogniser.image[0])
    recogniser.take_names(test_set)

    def lines() -> Iterator[str]:
        (x, y), strength = first_pictures(train_set, args.count), args.strength
        if strength is None:
            x[::2] = attack(bare, x[::2], y[::2], sizes[-1], **ALONE)
            yield row(f"{len(x)} training pictures, half at ε {sizes[-1]:.3g}", "", "purified")
            found = {}
            for s in STRENGTHS:
                found[s] = right(guarded(s), x, y)
                yield row(f"strength {s:g}", "", f"{found[s]:.1%}")
            strength = max(STRENGTHS, key=found.get)
        x, y = first_pictures(test_set, args.count)

        def line(what: str, z: np.ndarray) -> str:
            return row(what, *(f"{right(model, z, y):.1%}" for model in (bare, guarded(strength))))

        yield row(f"{len(x)} test pictures, strength {strength:g}", "classifier", "purified")
        yield line("no attack", x)
        for eps in sizes:
            changed = attack(bare, x, y, eps, **ALONE)
            yield line(f"attack on the classifier, ε {eps:.3g}", changed)
            both = purified(bare, pipeline, strength, args.seed + 1)
            yield line(f"attack on both, ε {eps:.3g}", attack(both, x, y, eps, **ALL))
        some = x[:SHOWN], changed[:SHOWN], strength, args.seed
        images.save_png(folder / "purified.png", before_and_after(recogniser, pipeline, *some))

    tell(folder / "table.txt", lines())
    print(f"See {folder}.")


def purified(bare, pipeline: Pipeline, strength: float, seed: int) -> Purified:
    """The classifier of pictures in [0, 1], behind the diffusion model, which is told no class."""
    denoise = denoiser(pipeline.model.eval(), pipeline.diffusion)
    settings = {"strength": strength, "steps": DRAWING}
    film = partial(sdedit, denoise, schedule=pipeline.diffusion.schedule, **settings)
    return Purified(bare, film, rng=np.random.default_rng(seed))


def attacked(model, x, y, eps: float, *, seed: int, **how) -> np.ndarray:
    bar = f"ε {eps:.3g} on {'both' if isinstance(model, Purified) else 'the classifier'}"
    how |= {"batch": BATCH, "progress": bar, "rng": np.random.default_rng(seed)}
    return carried_out(pgd, model, x, y, eps=eps, **how).pictures


def right(model, x, y) -> float:
    return float((classes_seen(model, x) == y).mean())


def before_and_after(recogniser, pipeline, x, changed, strength: float, seed: int) -> np.ndarray:
    """A row for each picture: itself, attacked, noised, and purified."""
    diffusion = pipeline.diffusion
    t = np.full(len(x), math.ceil(strength * diffusion.schedule.T) - 1)
    noise = randn(x.shape, rng=np.random.default_rng(seed))  # the same as that of purification
    noised = to_numpy(diffusion.q_sample(asarray(2 * changed - 1), t, noise))
    pure = to_numpy(
        purified(on_pictures(recogniser.model), pipeline, strength, seed).purify(asarray(changed))
    )
    cells = np.stack([x, changed, np.clip((noised + 1) / 2, 0, 1), pure], axis=1)
    seen = (recogniser.verdicts(images.to_uint8(z, (0, 1))) for z in (x, changed, pure))
    captions = []
    for first, then, last in zip(*seen, strict=True):
        captions += [first, f"attacked: {then}", "noised", f"purified: {last}"]
    return images.captioned_grid(cells.reshape(-1, *x.shape[1:]), captions, 4, scale=4)


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="purify-RUN")
    options.add_argument("checkpoint", type=Path, help="of a run of examples/classify.py")
    usual = Path("runs/mnist/checkpoint.npz")
    options.add_argument("--diffusion", type=Path, default=usual, help="of examples/ddpm.py")
    known = f"{', '.join(DATA)}, or a folder of pictures"
    options.add_argument("--data", help=f"{known} (default: what the classifier learned from)")
    text = "pictures to test, and to tune"
    options.add_argument("--count", type=whole(2), default=200, help=text)
    text = f"of the noise, as a share of all (without: the best of several; of --image {USUAL})"
    options.add_argument("--strength", type=number(above=0, most=1), help=text)
    options.add_argument("--image", type=Path, help="a picture to attack and to purify")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
