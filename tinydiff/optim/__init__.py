"""Optimisers, learning-rate schedules, gradient clipping and weight averaging."""

from tinydiff.optim.adam import Adam, AdamW
from tinydiff.optim.clip import clip_grad_norm
from tinydiff.optim.ema import EMA
from tinydiff.optim.flat import Flat, flatten
from tinydiff.optim.optimiser import Optimiser
from tinydiff.optim.schedule import constant, cosine, one_cycle, warmup
from tinydiff.optim.sgd import SGD

__all__ = [name for name in dir() if not name.startswith("_")]
