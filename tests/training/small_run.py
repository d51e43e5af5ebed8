"""A small training run, to be killed: python small_run.py FOLDER [slow]

Everything that a step can depend on takes part: shuffled and flipped batches, dropout, running
statistics, momentum, a schedule, clipping, an average.  Says "step N" after each step; with
"slow" also "writing", half-way through each checkpoint, and then takes its time.
"""

import sys
import time

import numpy as np

import tinydiff as td
from tinydiff import nn, ops, optim, training
from tinydiff.data import Batches, Dataset

STEPS, SAVE_EVERY = 40, 7


def make_trainer(pause=0.0):
    td.seed(5)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 8, 8, 1), dtype=np.uint8)
    data = Dataset("noise", images, rng.integers(0, 3, 50), ("a", "b", "c"))
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"),
        nn.BatchNorm2d(4),
        nn.SiLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(256, 3),
    )

    def loss(x, y):
        time.sleep(pause)
        return ops.cross_entropy(model(td.Tensor(x)), y)

    return training.Trainer(
        model,
        loss,
        Batches(data, 8, seed=1, flip=True),
        optim.AdamW(model.parameters()),
        schedule=optim.one_cycle(1e-2, STEPS),
        ema=optim.EMA(model, 0.9),
        clip=1.0,
    )


def say(*words):
    print(*words, flush=True)


def write_slowly():
    write_array = np.lib.format.write_array

    def half_then_wait(entry, array, **settings):
        write_array(entry, array[:1] if array.ndim else array, **settings)
        say("writing")
        time.sleep(60)

    np.lib.format.write_array = half_then_wait


if __name__ == "__main__":
    if "slow" in sys.argv:
        write_slowly()
    for record in training.train(
        make_trainer(pause=0.01), STEPS, sys.argv[1], settings={"width": 4}, save_every=SAVE_EVERY
    ):
        say("step", record.step)
