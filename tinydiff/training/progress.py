"""A progress bar on the terminal: steps, time left, loss, images per second."""

from __future__ import annotations

import sys

from tinydiff.training.step import Step

SMOOTHING = 0.95  # of the loss and speed shown: a batch's loss says little, that of 20 some


class Progress:
    """``with Progress(done, total) as bar: bar.update(record)``"""

    def __init__(self, done: int, total: int):
        # Imported here: tqdm takes a part of the time that `import tinydiff` may take.
        from tqdm import tqdm

        # Where output goes to a file, each update is a line: some now and then are enough.
        pause = 0.1 if sys.stderr.isatty() else 30.0
        self._bar = tqdm(
            total=total, initial=done, unit="step", dynamic_ncols=True, mininterval=pause
        )
        self._weight = self._loss = self._seconds = self._images = 0.0

    def update(self, record: Step) -> None:
        """One step further."""
        # Averages that begin at zero, and the sum of their weights, which makes up for it.
        self._weight += (1 - SMOOTHING) * (1 - self._weight)
        self._loss += (1 - SMOOTHING) * (record.loss - self._loss)
        self._seconds += (1 - SMOOTHING) * (record.seconds - self._seconds)
        self._images += (1 - SMOOTHING) * (record.images - self._images)
        speed = self._images / max(self._seconds, 1e-9)
        loss = self._loss / self._weight
        self._bar.set_postfix_str(f"loss {loss:.4f}, {speed:.0f} images/s", refresh=False)
        self._bar.update()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()
