"""How much the squared error of each step counts in the loss.

Papers state weights on the error of ε or of x_0, for networks that predict the one or the other.
Here each is stated once, as its paper has it, and one rule turns it into the weight w_y on the
error of whatever the network predicts: an error in its output y moves x_0 (or ε) by ∂x_0/∂y,

    w_y = w_x0 (∂x_0/∂y)²        or        w_y = w_eps (∂ε/∂y)²

    "simple"    w_y   = 1                            Ho et al., L_simple
    "vlb"       w_eps = β_t² / (2 σ_t² α_t (1−ᾱ_t))  Ho et al., equation 12, with σ_t² = β̃_t:
                                                     T times the mean over t is the bound, in nats
    "min_snr"   w_x0  = min(snr_t, 5)                Hang et al.
    "clip_snr"  w_x0  = min(max(snr_t, 1), 5)        the same, and from below as Salimans and Ho
    "p2"        w_eps = 1 / (1 + snr_t)              Choi et al., k = γ = 1
    "edm"       w_x0  = snr_t + 1/σ_data²            Karras et al., σ_data = ½, with snr = 1/σ²

At step 0, where β̃_0 = 0, β̃_1 stands in for it, as in `NoiseSchedule`.

Sources: J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020; T. Hang et al., "Efficient
Diffusion Training via Min-SNR Weighting Strategy", 2023, section 3.4; T. Salimans and J. Ho,
"Progressive Distillation for Fast Sampling of Diffusion Models", 2022, section 4; J. Choi et al.,
"Perception Prioritized Training of Diffusion Models", 2022, equation 8; T. Karras et al.,
"Elucidating the Design Space of Diffusion-Based Generative Models", 2022, table 1.
"""

from __future__ import annotations

import numpy as np

from tinydiff.diffusion.parametrisation import TO_EPS, TO_X0, check_prediction, factors
from tinydiff.diffusion.schedule import NoiseSchedule


def _vlb(s: NoiseSchedule) -> np.ndarray:
    variance = np.exp(s.posterior_log_variance_clipped)
    return s.betas**2 / (2 * variance * s.alphas * (1 - s.alphas_cumprod))


WEIGHTINGS = {  # name: (whose error, its weight)
    "vlb": (TO_EPS, _vlb),
    "min_snr": (TO_X0, lambda s: np.minimum(s.snr, 5)),
    "clip_snr": (TO_X0, lambda s: np.clip(s.snr, 1, 5)),
    "p2": (TO_EPS, lambda s: 1 / (1 + s.snr)),
    "edm": (TO_X0, lambda s: s.snr + 1 / 0.5**2),
}


def loss_weights(weighting: str, schedule: NoiseSchedule, prediction: str) -> np.ndarray:
    """w_t (T,), the weight of step t's squared error of ``prediction``, as float64.

    Raises ValueError for a weighting or a prediction there is not.
    """
    check_prediction(prediction)
    if weighting == "simple":
        return np.ones(schedule.T)
    if weighting not in WEIGHTINGS:
        names = ", ".join(map(repr, ("simple", *WEIGHTINGS)))
        raise ValueError(f"weighting: expected {names}, got {weighting!r}")
    whose, weight = WEIGHTINGS[weighting]
    alpha, sigma = schedule.sqrt_alphas_cumprod, schedule.sqrt_one_minus_alphas_cumprod
    _, moves = factors(whose, prediction, alpha, sigma)
    return weight(schedule) * moves**2
