"""Networks to be fooled, all attacks with settings for a test, and pictures."""

import math
from typing import NamedTuple

import numpy as np

import tinydiff as td
from tinydiff import adversarial, nn, ops, optim
from tinydiff.backend import asarray, randn
from tinydiff.models import Classifier


class Case(NamedTuple):
    """An attack, settings that make it quick, and the norm of its ε-ball."""

    attack: object
    settings: dict
    norm: float
    eps: float
    random: bool


def universal(model, x, y, *, eps, **settings):
    v = adversarial.universal_perturbation(model, x, y, eps=eps, **settings)
    return adversarial.moved(asarray(x), v)


def through_purification(model, x, y, *, eps, rng=None, **settings):
    """PGD on a network that sees pictures through noise, and in backward not."""

    def film(z, rng):
        yield z + 0.2 * randn(z.shape, rng=rng, dtype=z.dtype)

    whole = adversarial.Purified(model, film, rng=rng)
    return adversarial.pgd(whole, x, y, eps=eps, rng=rng, **settings)


SMALL = {"eps": 0.1, "norm": math.inf, "random": False}
ROUND = {"eps": 0.8, "norm": 2, "random": False}
CASES = {
    "gradient_ascent": Case(adversarial.gradient_ascent, {"steps": 9}, **ROUND),
    "fgsm": Case(adversarial.fgsm, {}, **SMALL),
    "fgsm, targeted": Case(adversarial.fgsm, {"targeted": True}, **SMALL),
    "pgd": Case(adversarial.pgd, {"steps": 5}, **SMALL | {"random": True}),
    "pgd, large steps": Case(
        adversarial.pgd, {"steps": 5, "step": 0.7, "restarts": 3}, **SMALL | {"random": True}
    ),
    "pgd, L2": Case(
        adversarial.pgd, {"steps": 5, "norm": 2, "restarts": 2}, **ROUND | {"random": True}
    ),
    "pgd, targeted": Case(
        adversarial.pgd, {"steps": 5, "norm": 2, "targeted": True, "random_start": False}, **ROUND
    ),
    "pgd, draws": Case(adversarial.pgd, {"steps": 3, "draws": 2}, **SMALL | {"random": True}),
    "pgd, purified": Case(
        through_purification, {"steps": 4, "draws": 2}, **SMALL | {"random": True}
    ),
    "pgd, purified, L2": Case(
        through_purification, {"steps": 4, "draws": 2, "norm": 2}, **ROUND | {"random": True}
    ),
    "pgd, momentum": Case(
        adversarial.pgd, {"steps": 5, "momentum": 1.0, "random_start": False}, **SMALL
    ),
    "deepfool": Case(adversarial.deepfool, {"steps": 4}, **ROUND),
    "deepfool, near": Case(adversarial.deepfool, {"steps": 4}, **ROUND | {"eps": 0.01}),
    "carlini_wagner": Case(
        adversarial.carlini_wagner, {"steps": 10, "lr": 0.1, "search_steps": 3, "c": 1.0}, **ROUND
    ),
    "carlini_wagner, targeted": Case(
        adversarial.carlini_wagner,
        {"steps": 10, "lr": 0.1, "search_steps": 3, "c": 1.0, "targeted": True},
        **ROUND | {"eps": 0.05},
    ),
    "universal_perturbation": Case(universal, {"rounds": 1}, **SMALL | {"random": True}),
    "universal_perturbation, L2": Case(
        universal, {"rounds": 1, "norm": 2}, **ROUND | {"random": True}
    ),
    "nes": Case(adversarial.nes, {"steps": 4, "samples": 5}, **SMALL | {"random": True}),
    "nes, L2, targeted": Case(
        adversarial.nes,
        {"steps": 4, "samples": 5, "norm": 2, "targeted": True},
        **ROUND | {"random": True},
    ),
    "square": Case(adversarial.square, {"queries": 20}, **SMALL | {"random": True}),
    "square, targeted": Case(
        adversarial.square, {"queries": 20, "targeted": True}, **SMALL | {"random": True}
    ),
}


class Affine(nn.Module):
    """(N, H, W, C) → x·W + b, its own closed form"""

    independent_images = True

    def __init__(self, weight, bias):
        self.linear = nn.Linear(*weight.shape).astype(weight.dtype)
        self.linear.weight.data[...] = asarray(weight)
        self.linear.bias.data[...] = asarray(bias)

    def forward(self, x):
        return self.linear(ops.reshape(x, shape=(len(x), -1)))


def affine(rng, classes=5, shape=(3, 3, 2), dtype=np.float64):
    """An affine network of pictures, its weights (D, K) and biases (K,)"""
    weight = rng.standard_normal((int(np.prod(shape)), classes)).astype(dtype)
    bias = rng.standard_normal(classes).astype(dtype)
    return Affine(weight, bias), weight, bias


def untrained(dtype=np.float32):
    """A network with every kind of layer that a classifier has, dropout too."""
    td.seed(3)
    network = Classifier(2, 4, widths=(8, 8), dropout=0.5)
    return adversarial.on_pictures(network.astype(dtype))


def undecided(x):
    """An untrained network that sees several classes in the pictures, and these."""
    model = untrained()
    seen = model.eval()(x).data
    model.model.head.bias.data -= seen.mean(axis=0)
    return model, adversarial.classes_seen(model, x)


def some_pictures(rng, n=5, side=6, dtype=np.float32):
    """Pictures (n, side, side, 2), with black and white places, and classes of 4."""
    x = np.clip(rng.uniform(-0.3, 1.3, (n, side, side, 2)), 0, 1).astype(dtype)
    return asarray(x), rng.integers(0, 4, n)


def stripes(n, seed):
    """Noisy 8×8 pictures of the classes lying and standing, and these."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.2, 0.5, (n, 8, 8, 2)).astype(np.float32)
    y = np.arange(n) % 2
    x[y == 0, ::2] += 0.3
    x[y == 1, :, ::2] += 0.3
    return x, y


def trained():
    """A network that tells `stripes` apart."""
    td.seed(0)
    model = adversarial.on_pictures(Classifier(2, 2, widths=(8, 16)))
    optimiser = optim.AdamW(model.parameters(), lr=2e-2)
    x, y = stripes(64, 0)
    for _ in range(40):
        optimiser.zero_grad()
        ops.cross_entropy(model(asarray(x)), y).backward()
        optimiser.step()
    return model
