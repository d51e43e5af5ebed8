"""What a run has trained, as one thing that comes back from its checkpoint.

class Finder(Trained):
    called, trained_by = "a detector", "examples/detect.py"

    def __init__(self, settings):
        self.model = Detector(...)

finder = Finder.load("runs/detect/checkpoint.npz")
"""

from __future__ import annotations

import os
from typing import ClassVar, TypeVar

from tinydiff.training.run import load_run

Whole = TypeVar("Whole", bound="Trained")


class Trained:
    """Made from the settings of a run, as Kind(settings), with its network in ``model``.

    called      what it is, for errors: "a detector"
    trained_by  the script that trains it
    """

    called: ClassVar[str]
    trained_by: ClassVar[str]

    @classmethod
    def load(
        cls: type[Whole],
        path: str | os.PathLike,
        *,
        finished: bool = False,
        example: str | None = None,
    ) -> Whole:
        """From the checkpoint of a training run, with its averaged weights.

        finished  refuse a run that has not come to its end
        example   the script that trains it, for the error; by default the usual one

        Raises FileNotFoundError, CheckpointError for a file that holds no such run, or HalfTrained.
        """
        example = example or cls.trained_by
        return load_run(path, cls, kind=cls.called, example=example, finished=finished)
