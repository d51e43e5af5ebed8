"""The recipe most networks here are trained by, so that an example says only what is its own.

    AdamW;  lr up half a cosine over the first tenth of the steps, and down another to almost 0;
    weights averaged over about the last 1/``averaged`` of the run: an EMA of decay
    1 − averaged/steps has forgotten what was steps/averaged steps ago but for 1/e

Sources: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", 2019 (AdamW);
L. Smith and N. Topin, "Super-Convergence", 2018 (one cycle); B. Polyak and A. Juditsky,
"Acceleration of Stochastic Approximation by Averaging", 1992.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real

from tinydiff import optim
from tinydiff.nn import Module
from tinydiff.tensor import Tensor
from tinydiff.training.trainer import Trainer


def one_cycle_trainer(
    model: Module,
    loss: Callable[..., Tensor],
    batches,
    *,
    lr: float,
    steps: int,
    averaged: float = 20,
    clip: float | None = None,
    states: Mapping | None = None,
) -> Trainer:
    """A `Trainer` for ``steps`` steps; what is not named here is as it takes it.

    lr        the highest learning rate, after a tenth of the steps
    averaged  over which part of the run weights are averaged: the last 1/averaged

    Raises ValueError unless lr and averaged are > 0 and steps an int ≥ 1.
    """
    for name, value in (("lr", lr), ("averaged", averaged)):
        if not isinstance(value, Real) or not value > 0:
            raise ValueError(f"one_cycle_trainer: {name} is {value!r}, expected a number > 0")
    return Trainer(
        model,
        loss,
        batches,
        optim.AdamW(model.parameters(), lr=lr),
        schedule=optim.one_cycle(lr, steps, warm=0.1),
        ema=optim.EMA(model, decay=max(0.0, 1 - averaged / steps)),
        clip=clip,
        states=states,
    )
