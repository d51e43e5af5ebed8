"""The ladder: a stack of denoisers in which each layer adds noise and halves the picture.

    z_T = x (the picture),   z_{t−1} = √(ᾱ_{t−1}/ᾱ_t) H z_t + b_t ε,   …,   z_0 ~ N(0, I) (smallest)
    ẑ_t = Dec_t(z_{t−1}, c),                       L = Σ_t w_t E‖Dec_t(z_{t−1}, c) − z_t‖²

H averages 2×2 pixels, and t counts up towards the picture.  Averages of pictures lie in [−1, 1] as
they do and are left as they are.  The noise in z_t loses three quarters of its variance in H, and
b_t² = (1−ᾱ_{t−1}) − (ᾱ_{t−1}/ᾱ_t)(1−ᾱ_t)/4 fills it up again: with x_t the picture at that size,

    z_t = √ᾱ_t x_t + √(1−ᾱ_t) ε                    at every level, and ᾱ_0 = 0

**What it can draw.**  Least squares makes of Dec_t the mean of all z_t that may stand above
z_{t−1}.  A chain of means makes no choices: its ẑ_T is hardly more than the mean picture of the
class.  Noise has to be drawn between the layers, and what of it does not depend on the picture is
known.  Given x, all is Gaussian, and Bayes' rule says

    q(z_t | z_{t−1}, x) = N(μ_t, Σ_t)
    μ_t = √ᾱ_t (1 − (1−ρ_t)Π) x_t + (1−ρ_t) √(ᾱ_t/ᾱ_{t−1}) Π z_{t−1}
    √Σ_t ε = √(1−ᾱ_t) (1 − (1−√ρ_t)Π) ε

where Π puts the mean of 2×2 pixels in the place of each (for z_{t−1}: the pixel that they became).
1−ρ_t = (s_t/s_{t−1})² is the share of z_t's noise in those means that is left in z_{t−1}'s: of what
H keeps, a part of the noise is drawn anew, and all of it of what H threw away.  It is the ancestral
step of DDPM with a change of size in it.  The sampler draws z_t = Dec_t(z_{t−1}) + √Σ_t ε.

If x is known, this chain has exactly the marginals above.  It is not, and what is still open of it
at layer t, the spread of Dec_t's possible answers, is not drawn.  With one layer a size, the
lecture's picture as it stands, that is most of the spread (of the smooth Gaussian pictures in the
tests 82 % of the variance): what comes out is smooth and alike.  So a ladder may have more layers a
size (``rungs``): upwards, the first of them doubles the picture, and the others only take noise
away (Π = 1).  What is missing falls as 1/T (24 % with eight, 4 % with 64), and the details that a
layer adds to the picture are small beside the noise that it adds with them.

**Noise.**  Seen at full size, it is s_t = noise·tan(π/2·(1 − t/T)), the cosine schedule: from 0 in
the picture to ∞ in z_0.  k halvings make s/2^k of s, so ᾱ_t = 1/(1 + (s_t/2^k)²).

**The loss.**  Of ‖Dec_t − z_t‖² the part √Σ_t ε is what nobody can predict.  Its mean is a constant
and left out: Dec_t learns μ_t, which has the same mean given z_{t−1}.  The network says v
(`parametrisation`) and thereby x_t, which takes x_t's place in μ_t.  w_t makes all v count alike.

Sources: S. Abu-Hussein and R. Giryes, "UDPM: Upsampling Diffusion Probabilistic Models", 2023 (one
layer a size, with more in the loss than squares); J. Gu et al., "f-DM: A Multi-stage Diffusion
Model via Progressive Signal Transformation", 2023 (many, and noise that fits the size); J. Ho et
al., "Denoising Diffusion Probabilistic Models", 2020, section 2 (the posterior).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tinydiff import backend, ops
from tinydiff.backend import asarray, randn, to_numpy, xp
from tinydiff.diffusion.conditioning import training_condition
from tinydiff.diffusion.denoiser import predictor
from tinydiff.diffusion.guidance import finite
from tinydiff.diffusion.parametrisation import check_pictures, column, to_x0
from tinydiff.diffusion.schedule import positive_int
from tinydiff.diffusion.timesteps import UniformTimesteps
from tinydiff.tensor import Tensor


class Ladder:
    """T = halvings·rungs layers between noise and pictures of ``size`` × ``size`` pixels.

    rungs  layers a size; 1 halves at each
    noise  s in the middle, where t = T/2

    sizes           of z_0 … z_T, ints (T + 1,)
    doubles         (T + 1,): does Dec_t double the size?
    alphas_cumprod  ᾱ_0 … ᾱ_T, from 0 to 1; float64, as ``rho``

    Pictures are floating-point backend arrays (N, H, W, C), t host integers (N,) in 1 … T that lead
    to one size.  Raises ValueError for a size that cannot be halved so often, or noise ≤ 0.
    """

    def __init__(self, size: int = 32, halvings: int = 3, rungs: int = 8, noise: float = 1.0):
        for name, value in (("size", size), ("halvings", halvings), ("rungs", rungs)):
            positive_int(name, value)
        if size % 2**halvings:
            raise ValueError(f"size: {size} cannot be halved {halvings} times")
        if not 0 < noise < np.inf:
            raise ValueError(f"noise: expected a finite number > 0, got {noise}")
        self.T = T = halvings * rungs
        t = np.arange(T + 1)
        halved = (T - t) // rungs
        self.sizes = size >> halved
        self.doubles = np.append(False, self.sizes[1:] > self.sizes[:-1])
        # s = sin/cos, so that both ends are exact: ᾱ = 1 in the picture, 0 in z_0.
        angle = np.pi / 2 * (1 - t / T)
        cos2, sin2 = np.cos(angle) ** 2, (noise * np.sin(angle)) ** 2
        cos2[0] = sin2[T] = 0
        self.alphas_cumprod = cos2 / (cos2 + sin2 / 4.0**halved)
        self.rho = np.append(1.0, 1 - sin2[1:] * cos2[:-1] / (cos2[1:] * sin2[:-1]))

    def picture(self, x, t: int):
        """x_t: the picture x, averaged down to the size of z_t."""
        self._check_level(t, 0)
        _check_side("x", x, self.sizes[-1])
        while x.shape[1] > self.sizes[t]:
            x = _halved(x)
        return x

    def q_sample(self, x, t: int, noise):
        """z_t = √ᾱ_t x_t + √(1−ᾱ_t) ε, with ε of z_t's shape."""
        picture = self.picture(x, t)
        check_pictures(picture, noise=noise)
        signal = self.alphas_cumprod[t]
        return float(np.sqrt(signal)) * picture + float(np.sqrt(1 - signal)) * noise

    def down(self, z, t: int, noise):
        """z_{t−1} from z_t, one layer down, with ε of z_{t−1}'s shape."""
        self._check_level(t, 1)
        _check_side("z", z, self.sizes[t])
        signal, above = self.alphas_cumprod[t - 1], self.alphas_cumprod[t]
        left = (1 - above) * signal / above  # of the noise in z_t
        if self.doubles[t]:
            z, left = _halved(z), left / 4
        check_pictures(z, noise=noise)
        return float(np.sqrt(signal / above)) * z + float(np.sqrt(1 - signal - left)) * noise

    def mean(self, z, t, x):
        """μ_t of q(z_t | z_{t−1}, x): z is z_{t−1}, x is x_t or a guess of it (array or Tensor)."""
        t, z = self._check("x", x, t, z)
        signal, below = self.alphas_cumprod[t], self.alphas_cumprod[t - 1]
        share = np.where(self.doubles[t], 1 / 4, 1)
        gain = np.sqrt(below / signal) * share * (1 - signal) / (1 - below)  # 0 for z_0, where ᾱ is
        known = column(gain, x) * z
        return column(np.sqrt(signal), x) * self._shrink(x, t, self.rho[t]) + known

    def fresh_noise(self, t, eps):
        """Noise of covariance Σ_t, from white noise of z_t's shape."""
        t, _ = self._check("eps", eps, t)
        sigma = np.sqrt(1 - self.alphas_cumprod[t])
        return column(sigma, eps) * self._shrink(eps, t, np.sqrt(self.rho[t]))

    def to_x(self, z, t, v):
        """x_t according to v, a network's answer (array or Tensor) to z_{t−1}."""
        t, z = self._check("v", v, t, z)
        below = self.alphas_cumprod[t - 1]
        return to_x0("v", z, v, np.sqrt(below), np.sqrt(1 - below))

    def weights(self) -> np.ndarray:
        """w_t (T + 1,): one over the mean square of ∂Dec_t/∂v."""
        shrunk = np.where(self.doubles, (3 + self.rho**2) / 4, self.rho**2)[1:]
        signal, below = self.alphas_cumprod[1:], self.alphas_cumprod[:-1]
        return np.append(0.0, 1 / (signal * shrunk * (1 - below)))

    def training_loss(
        self,
        model,
        x,
        *,
        cond=None,
        drop: float = 0.1,
        rng: np.random.Generator | None = None,
    ) -> Tensor:
        """L/T, a scalar: the mean over layers, pictures and pixels.

        For each size, every picture is shown to one of the layers that lead there.

        model       model(z, t, cond) -> v; z is z_{t−1}, doubled where Dec_t doubles it
        cond, drop  labels, and how often they are left out, as in `GaussianDiffusion`
        rng         draws the drops, then for each size t and the noise; by default the process's
        """
        rng = backend.rng if rng is None else rng
        x = check_pictures(asarray(x))
        _check_side("x", x, self.sizes[-1])
        labels, weights = training_condition(model, cond, x, drop, rng), self.weights()
        losses = []
        for size in np.unique(self.sizes[1:]):
            layers = np.flatnonzero(self.sizes == size)
            layers = layers[layers > 0]
            t = layers[UniformTimesteps(len(layers)).draw(len(x), rng)[0]]
            x_t = self.picture(x, layers[0])
            z = self._below(x_t, t, randn(x_t.shape, rng=rng, dtype=x.dtype))
            v = model(Tensor(z), t, labels)
            if v.shape != x_t.shape:
                raise ValueError(f"model: expected output of shape {x_t.shape}, got {v.shape}")
            error = self.mean(z, t, self.to_x(z, t, v)) - self.mean(z, t, x_t)
            losses.append((ops.square(error) * column(weights[t], x)).mean())
        return sum(losses[1:], losses[0]) * (1 / len(losses))

    def _below(self, x, t, noise):
        """z_{t−1} for pictures of z_t's size, doubled to that size where Dec_t doubles it."""
        here = asarray(self.doubles[t].reshape(-1, 1, 1, 1))
        x = xp.where(here, _doubled(_halved(x)), x)
        noise = xp.where(here, 2 * _doubled(_halved(noise)), noise)  # 2 H ε is white again
        below = self.alphas_cumprod[t - 1]
        return column(np.sqrt(below), x) * x + column(np.sqrt(1 - below), x) * noise

    def _shrink(self, x, t, factor):
        """(1 − (1 − factor) Π) x, for arrays and Tensors"""
        n, h, w, c = x.shape
        blocks = x.reshape(n, h // 2, 2, w // 2, 2, c)
        means = blocks.mean(axis=(2, 4), keepdims=True)
        doubles = self.doubles[t]
        own = column(np.where(doubles, 1, factor), blocks)
        of_means = column(np.where(doubles, factor - 1, 0), blocks)
        return (own * blocks + of_means * means).reshape(n, h, w, c)

    def _check_level(self, t: int, least: int) -> None:
        if not isinstance(t, (int, np.integer)) or not least <= t <= self.T:
            raise ValueError(f"t: expected a level in {least} … {self.T}, got {t!r}")

    def _check(self, name: str, x, t, z=None) -> tuple:
        """t (N,) on the host, and z at the size of x, if they belong together"""
        t = to_numpy(t)
        if t.dtype.kind not in "iu" or t.shape != x.shape[:1] or not len(t):
            raise ValueError(f"t: expected {len(x)} integers, got {t.dtype} of shape {t.shape}")
        if not 1 <= t.min() <= t.max() <= self.T:
            raise ValueError(f"t: expected layers in 1 … {self.T}, got {t}")
        size = self.sizes[t[0]]
        if np.any(self.sizes[t] != size):
            raise ValueError(f"t: expected layers that lead to one size, got {t}")
        _check_side(name, x, size)
        if z is not None and z.shape != x.shape:
            n, h, w, c = x.shape
            if z.shape != (n, h // 2, w // 2, c):
                raise ValueError(
                    f"z: expected {n} pictures of side {h}, or half of it, got {z.shape}"
                )
            z = _doubled(z)
        return t, z


def ladder_decoder(model, ladder: Ladder, cond=None, *, scale: float = 1.0) -> Callable:
    """decode(z, t) -> ẑ_t: Dec_t of a network, guided with weight ``scale`` to labels cond (N,).

    z is z_{t−1}; the x_t that the network sees in it is clamped to [−1, 1].  Without cond a
    conditional model is told "no label".  Raises ValueError for labels the model does not know, or
    a scale that is not finite or not 1 without them.
    """
    scale = finite("scale", scale)
    if cond is None and scale != 1:
        raise ValueError(f"scale: got {scale}, but there are no labels (cond) to guide to")
    with_label, without = predictor(model, cond), predictor(model)

    def decode(z, t):
        v = with_label(z, t)
        if scale != 1:
            plain = without(z, t)
            v = plain + scale * (v - plain)
        return ladder.mean(z, t, xp.clip(ladder.to_x(z, t, v), -1, 1))

    return decode


def sample_ladder(
    decode: Callable, z_0, ladder: Ladder, *, rng: np.random.Generator | None = None
) -> Iterator:
    """Up the ladder: yields z_1 … z_T, of rising size; z_T is the picture.

        z_t = Dec_t(z_{t−1}) + noise of covariance Σ_t

    decode  decode(z, t) -> E[z_t | z_{t−1}], with t host integers (N,), as `ladder_decoder`
    z_0     white noise (N, h, w, C) of the smallest size

    The last layer adds no noise.  Raises ValueError or TypeError for a z_0 that does not fit.
    """
    z = check_pictures(asarray(z_0))
    _check_side("z_0", z, ladder.sizes[0])
    for i in range(1, ladder.T + 1):
        t = np.full(len(z), i)
        mean = decode(z, t)
        z = mean + ladder.fresh_noise(t, randn(mean.shape, rng=rng, dtype=mean.dtype))
        yield z


def _halved(x):
    """The mean of 2×2 pixels"""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))


def _doubled(x):
    """Every pixel becomes 2×2"""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _check_side(name: str, x, size: int) -> None:
    if x.ndim != 4 or x.shape[1:3] != (size, size):
        raise ValueError(f"{name}: expected shape (N, {size}, {size}, C), got {x.shape}")
