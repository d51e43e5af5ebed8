"""What matcher and prior have in common: what goes on from them needs them trained to the end."""

from __future__ import annotations

import os
from typing import TypeVar

from tinydiff.training import Trained

Kind = TypeVar("Kind", bound="Part")


class Part(Trained):
    """One of the parts, trained to its end."""

    trained_by = "examples/unclip.py"

    @classmethod
    def load(cls: type[Kind], path: str | os.PathLike) -> Kind:
        """`Trained.load` of a finished run."""
        return super().load(path, finished=True)
