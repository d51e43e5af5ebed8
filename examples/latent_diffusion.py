"""Diffusion in the latents of an autoencoder, and in pixels: what does a minute of training buy?

    python examples/autoencoder.py                            first, once
    python examples/latent_diffusion.py                       train, and draw scenes
    python examples/latent_diffusion.py --pixels              as good a network, of pixels
    python examples/latent_diffusion.py --compare runs/latent-diffusion runs/pixel-diffusion

Writes to runs/NAME/ (latent-diffusion or pixel-diffusion by default): samples.png, denoising.gif,
loss.png, the log and the checkpoint, which holds the autoencoder too.  The same command again goes
on where it stopped.

With --compare it trains nothing: it draws as many scenes by each run, and measures how far they
are from a test set, in the features of the judge runs/classify-scenes (trained first if there is
none); and it writes latent-or-pixel.png, a row for each, into the folder of all runs.
"""

import itertools
import time
from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, metrics, plots, training
from tinydiff.autoencoding import Compressor
from tinydiff.commandline import check_writable, parser, run, run_folder, whole
from tinydiff.diffusion import LatentBatches, LatentPipeline, Pipeline, load_pipeline

SIDE, OBJECTS = 64, (1, 3)  # pixels, and shapes in a scene
BATCH, LR = 32, 1e-3
OBJECTIVE = {"prediction": "x0", "weighting": "clip_snr"}
UNET = {"base_channels": 64, "channel_mults": (1, 2, 2), "attention_levels": (1, 2)}
UNET |= {"resample": "transpose", "norm_groups": 8}
PATCH = 2  # of pixels: the network has a quarter of the places to look at, and latents a sixteenth
STEPS = {"latent": 4000, "pixel": 1200}  # which take about as long
SAMPLING = {"sampler": "ddpm", "steps": 50}
SHOWN = 10  # scenes a row


def main() -> None:
    args = parse_arguments()
    if args.compare:
        compare(args)
        return
    plots.require()
    space = "pixel" if args.pixels else "latent"
    folder = run_folder(args, f"{space}-diffusion")
    unet = {**UNET, "patch": PATCH} if args.pixels else UNET
    settings = {"data": "shapes", "scenes": args.scenes, "objects": OBJECTS, "classes": ()}
    settings |= {"image": (SIDE, SIDE, 3), "unet": unet, "schedule": ("cosine", 1000)}
    settings |= {"batch": BATCH, "lr": LR, **OBJECTIVE}
    settings |= {"steps": args.steps or STEPS[space], "seed": args.seed}
    compressor = None if args.pixels else Compressor.load(args.autoencoder, finished=True)
    if compressor:
        settings |= {"compressor": compressor.settings}
    if not training.is_finished(folder, settings):
        train(folder, settings, compressor, f"squared error of x_0, weighed, in {space}s")
    print(f"trained {training.minutes(folder, BATCH):.1f} minutes")
    draw(folder, args.seed)
    print(f"See samples.png, denoising.gif and loss.png in {folder}.")


def train(folder: Path, settings: dict, compressor: Compressor | None, title: str) -> None:
    """Train a diffusion model of latents, or, without a compressor, of pixels."""
    td.seed(settings["seed"])
    scenes = data.shapes("train", settings["scenes"], side=SIDE, objects=OBJECTS)
    batches = data.Batches(scenes, BATCH, seed=settings["seed"], flip=True)
    pipeline = LatentPipeline(settings) if compressor else Pipeline(settings)
    if compressor:
        pipeline.take_autoencoder(compressor)
        pipeline.measure_scale(batches[0][0])
        batches = LatentBatches(batches, pipeline)
        print(f"latents {pipeline.shape}, times {float(pipeline.model.scale):.3f}")
    loss = lambda x, *_: pipeline.training_loss(x, weighting=settings["weighting"])
    learned = sum(p.size for p in pipeline.model.parameters() if p.requires_grad)
    print(f"{len(scenes)} scenes, {learned:,} parameters to learn")
    training.complete(pipeline, loss, batches, folder, title=title)


def draw(folder: Path, seed: int) -> None:
    """Scenes, and how they come out of noise."""
    pipeline = load_pipeline(folder / "checkpoint.npz")
    rng = np.random.default_rng(seed)
    drawn = pipeline.draw(5 * SHOWN, rng=rng, progress=True, **SAMPLING)
    images.save_png(folder / "samples.png", images.grid(drawn, SHOWN))
    steps = pipeline.denoising(SHOWN, rng=np.random.default_rng(seed), **SAMPLING)
    shown = itertools.islice(steps, 1, None, 2)  # every other one, the last included
    frames = [images.grid(pipeline.pictures(x), SHOWN // 2) for x in shown]
    images.save_gif(folder / "denoising.gif", frames, fps=10, scale=2)


def compare(args) -> None:
    """How fast and how good are several runs?"""
    check_writable(args.out)
    example, pipelines = "examples/latent_diffusion.py", {}
    for folder in args.compare:
        pipelines[folder] = load_pipeline(folder / "checkpoint.npz", example=example)
        image = pipelines[folder].image
        if image != (SIDE, SIDE, 3):
            raise ValueError(f"{folder} draws pictures {image}, not scenes of {SIDE} × {SIDE}")
    judge = metrics.scene_classifier(args.out / "classify-scenes", seed=0).model
    test = data.shapes("test", args.count, side=SIDE, objects=OBJECTS)
    real, rows = metrics.features(judge, test.images), [test.images[:SHOWN]]

    def distance(pictures: np.ndarray) -> str:
        found = metrics.features(judge, pictures)
        return f"Fréchet distance {metrics.unbiased_frechet_distance(real, found):.4f}"

    for folder, pipeline in pipelines.items():
        minutes = training.minutes(folder, pipeline.settings["batch"])
        steps = len(training.read_log(folder / "log.jsonl"))
        began = time.perf_counter()
        rng = np.random.default_rng(args.seed)
        drawn = pipeline.draw(args.count, rng=rng, progress=True, **SAMPLING)
        ms = 1000 * (time.perf_counter() - began) / args.count
        took = f"{steps} steps of {60_000 * minutes / steps:.0f} ms, {minutes:.1f} minutes"
        print(f"{folder.name}: {took}; {ms:.0f} ms a scene; {distance(drawn)}")
        if isinstance(pipeline, LatentPipeline):
            print(f"  its autoencoder alone: {distance(pipeline.compressor(test.images))}")
        rows.append(drawn[:SHOWN])
    own = data.shapes("train", args.count, side=SIDE, objects=OBJECTS).images
    print(f"as many other scenes: {distance(own)}")
    names = ("scenes", *(folder.name for folder in pipelines))
    table = images.labelled_grid(np.concatenate(rows), [""] * SHOWN, names, scale=1)
    images.save_png(args.out / "latent-or-pixel.png", table)
    print(f"See {args.out / 'latent-or-pixel.png'}.")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="see above")
    usual = Path("runs/autoencoder-kl-adversary/checkpoint.npz")
    options.add_argument("--autoencoder", type=Path, default=usual, help="its checkpoint")
    options.add_argument("--pixels", action="store_true", help="diffuse pixels, for comparison")
    options.add_argument("--steps", type=whole(1), help="steps to train (default: the recipe's)")
    options.add_argument("--scenes", type=whole(BATCH), default=8000, help="to learn from")
    options.add_argument("--compare", type=Path, nargs="+", metavar="RUN", help="folders of runs")
    options.add_argument("--count", type=whole(40), default=1000, help="to draw, for --compare")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
