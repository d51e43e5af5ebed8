"""Fréchet distance: how far apart two sets of pictures are, as Gaussians in a feature space.

    d² = ‖μ − μ'‖² + Tr(Σ + Σ' − 2 (ΣΣ')^½)

is the 2-Wasserstein distance, squared, of N(μ, Σ) and N(μ', Σ').  With the features of an
Inception network it is known as FID; here they are those of a classifier trained with this engine
(`tinydiff.metrics.features`), so the numbers compare with each other, and with no paper's.

Measured on n pictures it is too large, by about c/n, since the noise of means and covariances
counts as distance: compare only distances of equally many pictures, or take that bias away
(`unbiased_frechet_distance`).

Sources: M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
Equilibrium", 2017, equation 6; M. Chong and D. Forsyth, "Effectively Unbiased FID and Inception
Score and Where to Find Them", 2020, section 3 (the bias, and its 1/n).
"""

from __future__ import annotations

import numpy as np

from tinydiff.metrics.checks import two_samples
from tinydiff.metrics.estimate import Estimate, jackknife


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """d² of two sets of features, (N, d) and (M, d) with N, M ≥ 2, computed in float64.

    Covariances divide by N − 1.  Raises TypeError or ValueError for other arrays.
    """
    a, b = two_samples(a, b, least=2)
    means, covariances = [], []
    for x in (a, b):
        means.append(x.mean(axis=0))
        centred = x - means[-1]
        covariances.append(centred.T @ centred / (len(x) - 1))
    return frechet_distance_of_gaussians(means[0], covariances[0], means[1], covariances[1])


def frechet_distance_of_gaussians(mean_a, covariance_a, mean_b, covariance_b) -> float:
    """d² of N(mean, covariance) twice: means (d,), covariances (d, d), which may be singular.

    ΣΣ' has the eigenvalues of Rᵀ Σ' R with Σ = R Rᵀ, and those are the squares of the singular
    values of Rᵀ S with Σ' = S Sᵀ: so the trace of (ΣΣ')^½ is their sum.  No root is taken of
    a matrix that is not symmetric, nor of a number that rounding has made negative.
    """
    r, s = _root(covariance_a), _root(covariance_b)
    overlap = np.linalg.svd(r.T @ s, compute_uv=False).sum()
    shift = np.square(np.subtract(mean_a, mean_b)).sum()
    return float(max(0.0, shift + np.trace(covariance_a) + np.trace(covariance_b) - 2 * overlap))


def unbiased_frechet_distance(
    a: np.ndarray,
    b: np.ndarray,
    *,
    labels: tuple[np.ndarray, np.ndarray] | None = None,
    parts: int = 20,
) -> Estimate:
    """d² less its bias, and its standard error, by the jackknife over pictures.

    The bias is taken to fall as 1/n, as Chong and Forsyth do, who fit a line through many n.
    Near 0 the value may come out negative.

    labels  the classes of a and of b, if there is a chosen number of each, as `jackknife` says;
            without labels, pictures are in random order
    """
    a, b = two_samples(a, b, least=2 * parts)
    return jackknife(frechet_distance, a, b, labels=labels, parts=parts)


def _root(covariance) -> np.ndarray:
    """R (d, d) with R Rᵀ = covariance, whose eigenvalues below 0 are rounding errors."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))
