"""Fool a trained classifier, and see how little that takes.

    python examples/attack.py runs/classify-mnist/checkpoint.npz
    python examples/attack.py CHECKPOINT --other runs/vgg-mnist/checkpoint.npz     another one too?
    python examples/attack.py CHECKPOINT --image my.png --target 7       your picture, seen as a 7

The checkpoint is one of examples/classify.py.  Each attack tries to have test pictures taken for
something else; a table says how many are still seen rightly, and how far the others have moved.  ε
is how much brighter or darker a pixel may become, of 1 between black and white (L∞), or the
Euclidean distance of all of them (L2).

Writes to runs/NAME/ (attack-RUN by default): table.txt; fooled.png (pictures for which a change of
--small is enough: before, the change 20 times as strong, after, and what is seen); universal.png
(one change for all pictures, and what is seen in some that have it).  With --image it writes
MY-fooled.png beside the checkpoint.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinydiff import adversarial, data, images
from tinydiff.adversarial import carried_out, classes_seen, first_pictures, gradient_ascent, pgd
from tinydiff.backend import asarray, to_numpy
from tinydiff.commandline import number, parser, row, run, run_folder, tell, whole
from tinydiff.metrics import Recogniser

DATA = data.LABELLED
GREY = {"eps": 0.3, "small": 0.03, "l2": 2.0}  # ε in L∞, so small that nobody sees it, in L2
COLOUR = {"eps": 8 / 255, "small": 2 / 255, "l2": 0.5}
STEPS = 40  # of PGD
ASCENT = 0.05  # a step of gradient ascent
CW = {"steps": 100, "lr": 0.05, "search_steps": 5, "c": 1.0}
SHOWN = 8  # rows of fooled.png


def main() -> None:
    args = parse_arguments()
    if args.image:
        fool(Recogniser.load(args.checkpoint), args)
        return
    folder = run_folder(args, f"attack-{args.checkpoint.resolve().parent.name}")
    recogniser = Recogniser.load(args.checkpoint)
    name = args.data or data.learned_from(recogniser.settings, DATA)
    known = [recogniser] + ([Recogniser.load(args.other)] if args.other else [])
    train_set, test_set = data.train_and_test(name, DATA, recogniser.image[0])
    for each in known:
        each.take_names(test_set)
    sizes = dict(GREY if recogniser.image[2] == 1 else COLOUR)
    sizes |= {key: value for key in ("eps", "small") if (value := getattr(args, key))}
    x, y = first_pictures(test_set, args.count)

    def lines() -> Iterator[str]:
        yield f"{len(x)} pictures of {test_set.name}, {args.few} for *; means over those fooled now"
        yield from table(recogniser, x, y, sizes, args, folder)
        few = first_pictures(train_set, args.few)
        yield one_for_all(recogniser, *few, x, y, sizes["eps"], args.seed, folder)
        yield from transferred(known, x, y, sizes["eps"]) if args.other else ()

    tell(folder / "table.txt", lines())
    print(f"See {folder}.")


def table(recogniser: Recogniser, x, y, sizes: dict, args, folder: Path) -> Iterator[str]:
    """A line for each attack; fooled.png from the first."""
    eps, small, far, rng = *(sizes[k] for k in GREY), np.random.default_rng(args.seed)
    momentum = {"steps": 10, "step": eps / 10, "momentum": 1.0, "random_start": False}
    attacks = [
        (f"PGD, ε {small:.3g}", pgd, {"eps": small, "steps": STEPS, "random_start": False}),
        (f"FGSM, ε {eps:.3g}", adversarial.fgsm, {"eps": eps}),
        (f"PGD, ε {eps:.3g}", pgd, {"eps": eps, "steps": STEPS, "rng": rng}),
        (f"PGD with momentum, ε {eps:.3g}", pgd, {"eps": eps, **momentum}),
        (f"PGD in L2, ε {far:.3g}", pgd, {"eps": far, "norm": 2, "steps": STEPS, "rng": rng}),
        ("gradient ascent to the next class", gradient_ascent, {"step": ASCENT}),
        ("DeepFool", adversarial.deepfool, {}),
        ("Carlini-Wagner *", adversarial.carlini_wagner, CW),
        (f"NES, ε {eps:.3g} *", adversarial.nes, {"eps": eps, "steps": STEPS, "rng": rng}),
        (f"square attack, ε {eps:.3g} *", adversarial.square, {"eps": eps, "rng": rng}),
    ]
    model = adversarial.on_pictures(recogniser.model)
    sure = classes_seen(model, x) == y
    yield row("", "right", "mean L2", "mean L∞")
    yield row("no attack", f"{sure.mean():.1%}")
    for what, attack, settings in attacks:
        n = args.few if "*" in what else len(x)
        aim = (y + 1) % len(recogniser.classes) if attack is gradient_ascent else y
        found = carried_out(attack, model, x[:n], aim[:n], progress=what, **settings)
        right = found.seen == y[:n]
        fooled = np.flatnonzero(sure[:n] & ~right)
        means = [f"{of[fooled].mean():.3f}" for of in (found.l2, found.linf) if len(fooled)]
        yield row(what, f"{right.mean():.1%}", *means)
        if what == attacks[0][0] and len(fooled):
            some = fooled[:SHOWN]
            save_sheet(folder / "fooled.png", recogniser, x[some], found.pictures[some])
        elif what == attacks[0][0]:
            yield "(nobody is fooled by so little: there is no fooled.png)"


def one_for_all(
    recogniser: Recogniser, train, labels, x, y, eps: float, seed: int, folder: Path
) -> str:
    """A universal perturbation, made from training pictures, on test pictures; universal.png."""
    model, rng = adversarial.on_pictures(recogniser.model), np.random.default_rng(seed)
    v = adversarial.universal_perturbation(
        model, train, labels, eps=eps, rng=rng, progress="one for all"
    )
    moved = to_numpy(adversarial.moved(asarray(x), v))
    shown = images.to_uint8(np.concatenate([to_numpy(v) / (2 * eps) + 0.5, moved[:9]]), (0, 1))
    captions = ["the change", *recogniser.verdicts(shown[1:])]
    images.save_png(folder / "universal.png", images.captioned_grid(shown, captions, 5, scale=3))
    return row(
        f"one change for all, ε {eps:.3g}", f"{(classes_seen(model, moved) == y).mean():.1%}"
    )


def transferred(known: list[Recogniser], x, y, eps: float) -> Iterator[str]:
    """Who still sees rightly what was made to fool whom."""
    models = [adversarial.on_pictures(each.model) for each in known]
    settings = {"eps": eps, "steps": STEPS, "random_start": False, "progress": "PGD"}
    shares = adversarial.transfer(pgd, models, x, y, **settings)
    yield row(f"PGD, ε {eps:.3g}, seen rightly by", "the first", "the other")
    for made, line in zip(("the first", "the other"), shares, strict=True):
        yield row(f"made against {made}", *(f"{share:.1%}" for share in line))


def save_sheet(path: Path, recogniser: Recogniser, before, after) -> list[str]:
    """Pictures before and after; returns what is seen in them, in the bytes they are saved as."""
    verdicts = recogniser.verdicts(*(images.to_uint8(x, (0, 1)) for x in (before, after)))
    images.save_png(path, adversarial.before_and_after(before, after, verdicts))
    return verdicts


def fool(recogniser: Recogniser, args) -> None:
    """Change a user's picture until the network sees in it the class they ask for."""
    if args.target not in recogniser.classes:
        raise ValueError(f"--target {args.target}: expected one of {', '.join(recogniser.classes)}")
    model, aim = adversarial.on_pictures(recogniser.model), recogniser.classes.index(args.target)
    x = images.to_float(recogniser.read(args.image)[None], (0, 1))
    found = carried_out(gradient_ascent, model, x, np.array([aim]), step=ASCENT, steps=1000)
    path = args.checkpoint.with_name(f"{args.image.stem}-fooled.png")
    (verdict,) = save_sheet(path, recogniser, x, found.pictures)
    print(f"{verdict}: {found.l2[0]:.3f} away in L2, {found.linf[0]:.3f} in L∞.")
    if found.seen[0] != aim:
        print(f"All steps are over, and it is not taken for {args.target}.")
    print(f"See {path}.")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="attack-RUN")
    options.add_argument("checkpoint", type=Path, help="of a run of examples/classify.py")
    known = f"{', '.join(DATA)}, or a folder of pictures"
    options.add_argument("--data", help=f"{known} (default: what the model learned from)")
    options.add_argument("--count", type=whole(1), default=1000, help="test pictures")
    options.add_argument("--few", type=whole(1), default=100, help="pictures for what takes long")
    size = number(above=0, most=1)
    options.add_argument("--eps", type=size, help="ε in L∞ (default: 0.3; of colour 8/255)")
    options.add_argument("--small", type=size, help="ε of fooled.png (default: 0.03; 2/255)")
    options.add_argument("--other", type=Path, help="checkpoint: is it fooled by the same?")
    options.add_argument("--image", type=Path, help="a picture to change")
    options.add_argument("--target", metavar="CLASS", help="what it is to be taken for")
    args = options.parse_args()
    if (args.image is None) != (args.target is None):
        options.error("--image and --target belong together")
    return args


if __name__ == "__main__":
    run(main)
