"""Train an autoencoder: a scene as a sixteenth of its numbers, and back; then with an adversary.

    python examples/autoencoder.py                 without an adversary, and on from there with one
    python examples/autoencoder.py --kind vq       a codebook in place of Gaussians
    python examples/autoencoder.py --kind vae      the plain VAE: pixels and KL, and no more
    python examples/autoencoder.py --checkpoint runs/autoencoder-kl-adversary/checkpoint.npz \\
        --image my.png                             your own picture, there and back

The scenes have one to three shapes; 4×4 pixels of them become one place of three numbers.  The
first run looks at pixels only.  In the second, features of a classifier, runs/looks-scenes, say
what looks alike, and the adversary what looks real.  How good it is, those of another classifier
say, the judge runs/classify-scenes.  Both are trained, on scenes of one shape, if there are none.

Writes to runs/NAME/, and of the run with an adversary to runs/NAME-adversary/, loss.png, the log
and the checkpoint; to the latter, or else the former, reconstructions.png (scenes, and what comes
back without and with the adversary) and latents.png (latents as colours and one by one, scenes
between two, and what noise decodes to).  The same command again goes on where it stopped.  With
--image it trains nothing, and writes MY-again.png beside the checkpoint.
"""

from pathlib import Path

import numpy as np

import tinydiff as td
from tinydiff import data, images, metrics, models, plots, training
from tinydiff.autoencoding import (
    Adversary,
    AutoencoderLoss,
    Compressor,
    PerceptualDistance,
    whiten,
)
from tinydiff.commandline import parser, run, run_folder, whole

SIDE, OBJECTS = 64, (1, 3)  # pixels, and shapes in a scene
BATCH, LR = 16, 7e-4
NETWORK = {"latent_channels": 3, "base_channels": 48, "channel_mults": (1, 2), "patch": 2}
NETWORK |= {"norm_groups": 8}
KINDS = {  # network; how much counts what a picture costs; is there an adversary, too
    "kl": ("kl", NETWORK, 1e-6, True),
    "vq": ("vq", {**NETWORK, "codes": 1024}, 1.0, True),
    "vae": ("kl", NETWORK, 1.0, False),
}
LOOKS = 0.01  # how much counts in the second run how it looks, beside its pixels
DISCRIMINATOR = {"base_channels": 32, "layers": 2}
ADVERSARY = {"lr": 5e-4, "start": 100, "weight": 0.3}  # start: counted in the second run
SHOWN, LONGEST = 8, 256  # scenes in pictures; pixels of a picture of one's own


def main() -> None:
    args = parse_arguments()
    if args.image:
        there_and_back(args.checkpoint, args.image)
        return
    plots.require()
    folder = run_folder(args, f"autoencoder-{args.kind}")
    kind, network, cost_weight, adversary = KINDS[args.kind]
    settings = {"data": "shapes", "scenes": args.scenes, "objects": OBJECTS, "kind": kind}
    settings |= {"image": (SIDE, SIDE, 3), "autoencoder": network, "cost_weight": cost_weight}
    settings |= {"batch": BATCH, "lr": LR, "steps": args.steps, "seed": args.seed}
    found = {"without": trained(folder, settings, args.out)}
    if adversary:
        folder = folder.with_name(f"{folder.name}-adversary")
        settings |= {"adversary": ADVERSARY, "looks": LOOKS}
        settings |= {"steps": args.adversary_steps, "lr": LR / 2}
        found["with"] = trained(folder, settings, args.out, found["without"])
    test = data.shapes("test", args.test_scenes, side=SIDE, objects=OBJECTS)
    judge = metrics.scene_classifier(args.out / "classify-scenes", seed=0).model
    real, rows = metrics.features(judge, test.images), {"scene": test.images[:SHOWN]}
    for name, compressor in found.items():
        again = compressor(test.images)
        quality = f"PSNR {metrics.psnr(again, test.images):.2f} dB"
        distance = metrics.unbiased_frechet_distance(real, metrics.features(judge, again))
        bits = compressor.bits(test.images).mean()
        print(f"{name:>8}: {quality}, Fréchet distance {distance:.4f}, {bits:,.0f} bits a scene")
        rows[name] = again[:SHOWN]
    images.save_png(folder / "reconstructions.png", images.labelled_rows(rows))
    rows = latents(compressor, test.images[:SHOWN], args.seed)
    images.save_png(folder / "latents.png", images.labelled_rows(rows))
    print(f"See reconstructions.png, latents.png and loss.png in {folder}.")


def trained(
    folder: Path, settings: dict, out: Path, before: Compressor | None = None
) -> Compressor:
    """The autoencoder of the run in ``folder``, trained if it is not yet, from ``before`` on."""
    if not training.is_finished(folder, settings):
        scenes = data.shapes("train", settings["scenes"], side=SIDE, objects=OBJECTS)
        batches = data.Batches(scenes, BATCH, seed=settings["seed"], flip=True)
        vgg = before and metrics.scene_classifier(out / "looks-scenes", seed=1).model
        td.seed(settings["seed"])
        made, terms = Compressor(settings), {"cost_weight": settings["cost_weight"]}
        if before:
            made.model.load_state_dict(before.model.state_dict())
            discriminator = models.PatchDiscriminator(3, **DISCRIMINATOR)
            terms |= {"adversary": Adversary(discriminator, **settings["adversary"])}
            terms |= {"perceptual": PerceptualDistance(vgg), "perceptual_weight": LOOKS}
        else:
            whiten(made.model, batches[0][0])
        print(f"{folder.name}: {len(scenes)} scenes, {made.model.num_parameters():,} parameters")
        loss = AutoencoderLoss(made.model, **terms)
        recipe = {"averaged": 20, "clip": None, "states": loss.states}
        training.complete(made, loss, batches, folder, title="nats a scene", **recipe)
    print(f"{folder.name}: trained {training.minutes(folder, BATCH):.1f} minutes")
    return Compressor.load(folder / "checkpoint.npz")


def latents(compressor: Compressor, scenes: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Latents as colours and one by one; from the first scene to the last; noise decoded."""
    z = compressor.encode(scenes)
    mean, spread = z.mean(axis=(0, 1, 2)), z.std(axis=(0, 1, 2))
    shades = images.to_uint8((z - mean) / (3 * spread))  # grey where it is as usual
    shades = shades.repeat(compressor.stride, axis=1).repeat(compressor.stride, axis=2)
    rows = {"scene": scenes, "latents": shades[..., :3]}
    rows |= {f"number {c + 1}": shades[..., [c] * 3] for c in range(z.shape[3])}
    share = np.linspace(0, 1, len(scenes), dtype=np.float32).reshape(-1, 1, 1, 1)
    mixed = np.rint((1 - share) * scenes[0] + share * scenes[-1]).astype(np.uint8)
    between = compressor.decode((1 - share) * z[0] + share * z[-1])
    noise = np.random.default_rng(seed).standard_normal(z.shape, dtype=np.float32)
    noise = compressor.decode(mean + spread * noise)
    return rows | {"pixels mixed": mixed, "latents mixed": between, "noise decoded": noise}


def there_and_back(checkpoint: Path, file: Path) -> None:
    """A picture of one's own, and beside it what comes back."""
    compressor = Compressor.load(checkpoint)
    picture = data.read_picture(file, LONGEST, multiple=compressor.stride)[None]
    again = compressor(picture)
    target = checkpoint.with_name(f"{file.stem}-again.png")
    images.save_png(target, images.side_by_side([picture, again]), scale=2)
    print(f"PSNR {metrics.psnr(again, picture).value:.2f} dB.  See {target}.")


def parse_arguments():
    options = parser(__doc__, "--seed", "--name", "--out", name="autoencoder-KIND")
    options.add_argument("--kind", choices=list(KINDS), default="kl", help="what is in between")
    options.add_argument("--steps", type=whole(1), default=5000, help="to train without adversary")
    options.add_argument("--adversary-steps", type=whole(1), default=1000, help="with one")
    options.add_argument("--scenes", type=whole(BATCH), default=8000, help="scenes to learn from")
    options.add_argument("--test-scenes", type=whole(40), default=1000, help="to measure on")
    options.add_image("a picture to take there and back")
    return options.parse_args()


if __name__ == "__main__":
    run(main)
