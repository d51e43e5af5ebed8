"""What is known of one training step."""

from __future__ import annotations


class Step:
    """The record of a step.

    step       its number, from 1: so many steps have been taken
    loss       before the step
    grad_norm  global norm of the gradient, before clipping
    lr         learning rate
    images     in the batch
    seconds    it took.  A GPU runs behind, and now and then one step waits for all before it: their
               sum is right.

    On a GPU, reading loss or grad_norm of a step beyond `Trainer.settled` waits for it.
    """

    def __init__(self, step: int, loss, grad_norm, lr: float, images: int, seconds: float):
        self.step, self.lr, self.images, self.seconds = step, lr, images, seconds
        self._values = loss, grad_norm

    @property
    def loss(self) -> float:
        return self.read()[0]

    @property
    def grad_norm(self) -> float:
        return self.read()[1]

    @property
    def images_per_second(self) -> float:
        return self.images / max(self.seconds, 1e-9)

    def read(self) -> tuple[float, float]:
        """loss and grad_norm"""
        if type(self._values[0]) is not float:
            self._values = tuple(map(float, self._values))
        return self._values

    def __repr__(self) -> str:
        return f"Step({self.step}, loss={self.loss:.6g}, grad_norm={self.grad_norm:.6g})"
