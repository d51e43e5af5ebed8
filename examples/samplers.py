"""Every sampler on one trained model: how good are pictures for how much work?

    python examples/samplers.py runs/mnist/checkpoint.npz
    python examples/samplers.py runs/mnist/checkpoint.npz --sampler ddpm --evaluations 250

Writes to runs/NAME/ (samplers-DATA by default): samplers.png, a row a sampler, a column for each
number of evaluations of the network, all from the same noise; and table.txt, the Fréchet distances
from the test set in the features of the judge, which comes from runs/classify-DATA/
(examples/classify.py) or is trained there first.  Their bias is taken away, and beside each stands
its standard error; compare them with each other and with that of as many real pictures, of the
training set.  Heun needs about 8 steps, 15 evaluations: below, what it draws stays noise.
"""

import numpy as np
from tqdm import tqdm

from tinydiff import data, images, metrics
from tinydiff.commandline import number, parser, run, run_folder, whole
from tinydiff.diffusion import Pipeline
from tinydiff.diffusion.samplers import SAMPLERS
from tinydiff.files import replacing

DATA = data.MNIST_LIKE
SHOWN, BATCH = 5, 100  # pictures of each kind in samplers.png; drawn at a time


def main() -> None:
    args = parse_arguments()
    pipeline = Pipeline.load(args.checkpoint)
    T = pipeline.diffusion.schedule.T
    if max(args.evaluations) > T:
        raise ValueError(
            f"--evaluations: expected at most T = {T}, the steps of the model's schedule, "
            f"got {max(args.evaluations)}"
        )
    learned = pipeline.learned_from(DATA)
    folder = run_folder(args, f"samplers-{learned}")
    train_set, test_set = DATA[learned]("train"), DATA[learned]("test")
    judge = metrics.judge_of(train_set, args.out / f"classify-{learned}")
    labels = np.arange(args.count) % len(pipeline.classes)
    rng = np.random.default_rng(args.seed)
    chosen = metrics.same_mix(test_set, labels, rng)
    real = metrics.features(judge, test_set.images[chosen]), test_set.labels[chosen]
    own = metrics.same_mix(train_set, labels, rng, most=1)
    names, columns = args.sampler or list(SAMPLERS), sorted(set(args.evaluations))
    lines, cells = [f"{'evaluations':20}" + "".join(f"{n:>18}" for n in columns)], []
    with tqdm(total=len(names) * sum(columns) * args.count, unit="image", unit_scale=True) as bar:
        for name in names:
            lines.append(f"{name:20}")
            for evaluations in columns:
                drawn = draw(pipeline, labels, name, evaluations, args)
                lines[-1] += quality(judge, drawn, labels, real)
                cells.append(np.concatenate(drawn[:SHOWN], axis=1))
                bar.update(evaluations * args.count)
    captions = [f"{n} evaluations" for n in columns], names
    images.save_png(
        folder / "samplers.png", images.labelled_grid(np.stack(cells), *captions, pad=7)
    )
    yardstick = quality(judge, train_set.images[own], train_set.labels[own], real)
    lines.append(f"{'training set':20}{yardstick}")
    table = "\n".join(lines)
    with replacing(folder / "table.txt") as file:
        file.write(f"{table}\n".encode())
    print(f"{table}\nSee samplers.png and table.txt in {folder}.")


def quality(judge, pictures: np.ndarray, labels: np.ndarray, real: tuple) -> str:
    """The Fréchet distance of pictures from real ones (features, labels), in a column."""
    drawn, classes = metrics.features(judge, pictures), (labels, real[1])
    distance = metrics.unbiased_frechet_distance(drawn, real[0], labels=classes)
    return f"{format(distance, '.3f'):>18}"


def draw(pipeline: Pipeline, labels: np.ndarray, name: str, evaluations: int, args) -> np.ndarray:
    """A picture for each label; the noise depends on the seed and the label's place alone."""
    settings = {"sampler": name, "steps": steps(name, evaluations), "guidance": args.guidance}
    parts = []
    for start in range(0, len(labels), BATCH):
        part, rng = labels[start : start + BATCH], np.random.default_rng([args.seed, start])
        parts.append(pipeline.draw(len(part), part, rng=rng, **settings))
    return np.concatenate(parts)


def steps(name: str, evaluations: int) -> int:
    """How many steps a sampler takes for so many evaluations of the network, or one less."""
    if name in ("heun", "predictor-corrector"):  # two a step, but one in the last
        return (evaluations + 1) // 2
    return evaluations // 2 if name in ("ode", "flow") else evaluations


def parse_arguments():
    options = parser(__doc__, "checkpoint", "--seed", "--name", "--out", name="samplers-DATA")
    options.add_argument(
        "--sampler", action="append", choices=list(SAMPLERS), help="may be repeated (default: all)"
    )
    options.add_argument(
        "--evaluations", type=whole(2), nargs="+", default=[5, 10, 20, 50], help="of the network"
    )
    options.add_argument("--count", type=whole(40), default=200, help="pictures of each kind")
    options.add_argument("--guidance", type=number(), default=1.0, help="1: plain conditional")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
