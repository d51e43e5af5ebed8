"""Train a classifier that is hard to fool, and measure what its defence is worth.

    python examples/defend.py --data mnist --defence pgd
    python examples/defend.py --data PATH/TO/PICTURES --defence fast         one sub-folder a class
    python examples/defend.py --checkpoint runs/defend-pgd-mnist/checkpoint.npz --image my.png

A defence is a way to train: none; pgd, on attacks of many steps; fast, on those of one; gradient,
which keeps the slope of the loss small; squeeze, which does so to the logits; noise, on noisy
pictures.  ε is how much brighter or darker a pixel may become, of 1 between black and white.

Writes to runs/NAME/ (defend-DEFENCE-DATA by default): table.txt (how many test pictures are seen
rightly, clean and under each attack; the mean distance to another class in L2, as far as one is
found; and of how many the class is certain within 0.5 in L2, if the network is smoothed by noise),
loss.png, the log and checkpoint.  The same command again goes on where it stopped.
examples/defences.py compares several such runs.

With --image it trains nothing: your picture is attacked, so that it may be taken for anything but
what it is taken for now; MY-attacked.png, beside the checkpoint, shows it before and after.
"""

import tinydiff as td
from tinydiff import adversarial, data, images, ops, plots
from tinydiff.adversarial import on_pictures
from tinydiff.adversarial.training import FAST, PGD
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.metrics import Recogniser, train_classifier
from tinydiff.training import minutes, save_loss

DATA = data.LABELLED
NETWORKS = {  # by channels
    1: {"kind": "strided", "shift": 1},
    3: {"kind": "resnet", "lr": 3e-3, "dropout": 0.0, "flip": True, "shift": 2},
}
LEAST_STEPS = 600


def clean_loss(network, x, labels, done):
    return ops.cross_entropy(on_pictures(network)(x), labels)


DEFENCES = {  # passes over the data, the loss and its settings; or noise in the usual one
    "none": (8.0, clean_loss, {}),
    "pgd": (20.0, adversarial.adversarial_loss, PGD),
    "fast": (4.0, adversarial.adversarial_loss, FAST),
    "gradient": (15.0, adversarial.gradient_penalty_loss, {"weight": 10.0}),
    "squeeze": (15.0, adversarial.squeezing_loss, {"weight": 0.5}),
    "noise": (15.0, None, {"noise": 0.25}),
}


def main() -> None:
    args = parse_arguments()
    if args.image:
        attack_own(args)
        return
    plots.require()
    name = data.short_name(args.data, DATA)
    folder = run_folder(args, f"defend-{args.defence}-{name}")
    train_set, test_set = data.train_and_test(args.data, DATA, args.size)
    eps = args.eps or adversarial.usual_eps(args.data)
    td.seed(args.seed)
    print(f"{args.data}: {len(train_set)} pictures, defence: {args.defence}")
    recogniser = train_classifier(train_set, folder, seed=args.seed, **recipe(args, eps, train_set))
    batch = recogniser.settings["recipe"]["batch_size"]
    print(f"trained {minutes(folder, batch):.1f} minutes")
    save_loss(folder, f"{args.data}: training loss, defence: {args.defence}")
    (x, y), model = adversarial.first_pictures(test_set, args.count), on_pictures(recogniser.model)
    settings = {"eps": eps, "few": args.few, "seed": args.seed, "progress": True}
    found = adversarial.robustness(model, x, y, **settings)
    table = (
        f"{len(x)} pictures of {test_set.name}, ε {eps:.3g}; * {min(args.few, len(x))} of them\n"
        f"{adversarial.robustness_table({folder.name: found})}\n"
    )
    (folder / "table.txt").write_text(table)
    print(f"{table}See table.txt and loss.png in {folder}.")


def recipe(args, eps: float, train_set: data.Dataset) -> dict:
    """What `train_classifier` is to do."""
    epochs, loss, settings = DEFENCES[args.defence]
    if loss:
        of_attacks = {"eps": eps} if loss is adversarial.adversarial_loss else {}
        settings = {"loss": loss, "loss_settings": {**settings, **of_attacks}}
    length = {"epochs": epochs, "least_steps": LEAST_STEPS}
    if args.epochs:
        length = {"epochs": args.epochs, "least_steps": 1}
    return {**NETWORKS[train_set.images.shape[3]], **settings, **length}


def attack_own(args) -> None:
    """What is seen in a user's picture before and after an attack?"""
    recogniser = Recogniser.load(args.checkpoint)
    model = on_pictures(recogniser.model)
    eps = args.eps or adversarial.usual_eps(recogniser.settings.get("data", ""))
    x = images.to_float(recogniser.read(args.image)[None], (0, 1))
    y = adversarial.classes_seen(model, x)
    changed = adversarial.under_pgd(model, x, y, eps, seed=args.seed).pictures
    (verdict,) = recogniser.verdicts(*(images.to_uint8(z, (0, 1)) for z in (x, changed)))
    path = args.checkpoint.with_name(f"{args.image.stem}-attacked.png")
    sheet = adversarial.before_and_after(x, changed, [verdict], times=round(0.5 / eps, 1))
    images.save_png(path, sheet)
    print(f"{verdict} (ε {eps:.3g}).  See {path}.")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="defend-DEFENCE-DATA")
    known = ", ".join(DATA)
    options.add_argument("--data", default="digits", help=f"{known}, or a folder of pictures")
    options.add_argument("--size", type=whole(28), default=32, help="side of a folder's pictures")
    options.add_argument("--defence", default="pgd", choices=list(DEFENCES), help="how to train")
    options.add_argument("--epochs", type=number(above=0), help="passes (default: the recipe's)")
    size = number(above=0, most=1)
    options.add_argument("--eps", type=size, help="ε (default: 0.3; of clothes 0.1, colour 8/255)")
    options.add_argument("--count", type=whole(1), default=1000, help="test pictures")
    options.add_argument("--few", type=whole(1), default=200, help="pictures for what takes long")
    options.add_image("a picture to attack")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
