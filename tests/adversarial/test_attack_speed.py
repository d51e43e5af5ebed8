"""A step of an attack does without the weights' gradients, and takes so much less than training.

A convolution's input gradient takes about as long as its forward pass, and the weights' a little
less, since the two share work: two of 2.8 parts.  Norms take little less in all.
"""

import statistics
import time

import pytest

from tinydiff import adversarial, backend, data, ops, optim
from tinydiff.backend import asarray
from tinydiff.kernels import workers
from tinydiff.models import Classifier
from tinydiff.training import Trainer

ROUNDS, STEPS, MOST = 9, 5, 0.75  # steps of an attack, which looks at its arguments once


@pytest.mark.slow
@pytest.mark.skipif(backend.name != "numpy", reason="the stand-in's times mean nothing")
def test_an_attacks_step_takes_three_quarters_of_a_training_step_at_most(monkeypatch):
    """In turn, by one thread, whose own time does not hang on what else the machine does."""
    monkeypatch.setattr(workers, "THREADS", 1)
    model = adversarial.on_pictures(Classifier(1, 10, widths=(64, 128, 256)))
    digits = data.digits("train", count=128)
    batches = data.Batches(digits, 32, value_range=(0, 1))
    trainer = Trainer(
        model,
        lambda x, y: ops.cross_entropy(model(x), y),
        batches,
        optim.AdamW(model.parameters(), lr=1e-3),
    )
    x, y = batches[0]
    x = asarray(x)
    ratios = []
    for turn in range(1, ROUNDS + 3):
        began = time.process_time()
        next(trainer.run(until=turn))
        trained = time.process_time()
        adversarial.pgd(model, x, y, eps=0.3, steps=STEPS)
        ratios.append((time.process_time() - trained) / STEPS / (trained - began))
    print(f"a step of an attack takes {statistics.median(ratios[2:]):.2f} of a training step")
    assert statistics.median(ratios[2:]) <= MOST, [round(r, 2) for r in ratios]
