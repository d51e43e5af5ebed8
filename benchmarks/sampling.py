"""Drawing pictures: guided DDPM of 50 steps, as examples/sample.py does it, against PyTorch.

    python benchmarks/sampling.py

The first of the 50 steps are taken and timed; all cost the same.  Both sides remember no graph, and
do the same arithmetic around the network.  First, both take these steps with equal weights and
noise, and must come to the same pictures.
"""

import functools
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import harness
import numpy as np
import torch
import twins
from cases import DIFFUSION, Case, recipe

from tinydiff import interop
from tinydiff.diffusion import classifier_free, denoiser, sample_ddpm

ALL, TAKEN, GUIDANCE, WORST = 50, 2, 3.0, 1e-3
CASES = {
    "mnist": replace(recipe("mnist", (28, 28, 1)), title="MNIST recipe", shape=(100, 28, 28, 1)),
    "cifar10": replace(recipe("cifar10", (32, 32, 3)), title="CIFAR U-Net", shape=(16, 32, 32, 3)),
}


def main() -> None:
    args = harness.parse(harness.options(__doc__, rounds=5))
    rows = [measure(CASES[name], args.rounds) for name in harness.chosen(CASES, args.only)]
    harness.report("sampling", {f"Sampling: a step of {ALL}, with guidance": rows}, args.out)


def measure(case: Case, rounds: int, finish: Callable = lambda: None, worst: float = WORST) -> dict:
    right = their_side(case, "contiguous", same_noise(case))()
    error = harness.relative_error(interop.to_torch(our_side(case)(), "image"), right.cpu().numpy())
    if error > worst:
        raise SystemExit(f"{case.title}: the pictures differ by {error:.1e}")
    contestants = {harness.OURS: our_side(case)}
    contestants |= {f: their_side(case, f, torch.randn_like) for f in twins.FORMATS}
    laps = harness.race(contestants, rounds, finish)
    verdict = harness.verdict({name: [t / TAKEN for t in times] for name, times in laps.items()})
    per_second = {
        f"{name}, images/s": len(case.batch()[0]) / ALL / (verdict[f"{name}, ms"][1] / 1e3)
        for name in ("tinydiff", "PyTorch")
    }
    title = f"{case.title}, batch {case.shape[0]}"
    return {"network": title, **verdict, **per_second, "pictures differ": error}


def our_side(case: Case) -> Callable[[], np.ndarray]:
    model, (_, (x_T, _, *labels)) = case.model().eval(), case.batch()
    if labels:
        denoise = classifier_free(model, DIFFUSION, *labels, scale=GUIDANCE)
    else:
        denoise = denoiser(model, DIFFUSION)

    def sample():
        rng = np.random.default_rng(0)
        xs = sample_ddpm(denoise, x_T, DIFFUSION.schedule, steps=ALL, rng=rng)
        return deque(islice(xs, TAKEN), maxlen=1).pop()

    return sample


def same_noise(case: Case) -> Callable[[torch.Tensor], torch.Tensor]:
    """The noise that `our_side` draws, one after the other."""
    rng = np.random.default_rng(0)
    return lambda x: twins.tensor(rng.standard_normal(case.shape, dtype=np.float32), "contiguous")


def their_side(case: Case, memory_format: str, noise: Callable) -> Callable[[], torch.Tensor]:
    network = twins.model(case, memory_format).eval()
    twins.load(network, case.model().state_dict())
    _, x_T, _, *labels = twins.batch(case, memory_format)
    if labels:
        null = torch.full_like(labels[0], case.settings["num_classes"])
        labels = [torch.cat([labels[0], null])]
    return functools.partial(ddpm, network, x_T, noise, *labels)


@torch.inference_mode()
def ddpm(network, x, noise: Callable, labels=None) -> torch.Tensor:
    """What `sample_ddpm` computes, with `classifier_free` where there are labels."""
    s = DIFFUSION.schedule.respaced(ALL)
    for i in list(reversed(range(ALL)))[:TAKEN]:
        signal, sigma = float(s.sqrt_alphas_cumprod[i]), float(s.sqrt_one_minus_alphas_cumprod[i])
        seen = x if labels is None else torch.cat([x, x])
        t = torch.full((len(seen),), int(s.timesteps[i]), device=x.device)
        eps = sigma * seen + signal * network(seen, t, labels)
        if labels is not None:
            told, untold = eps.chunk(2)
            eps = untold + GUIDANCE * (told - untold)
        x0 = ((x - sigma * eps) / signal).clamp(-1, 1)
        mean = float(s.posterior_mean_coef1[i]) * x0 + float(s.posterior_mean_coef2[i]) * x
        x = mean + float(s.posterior_variance[i]) ** 0.5 * noise(x)
    return x


if __name__ == "__main__":
    main()
