"""The log of a run: one JSON object a line, one line a step."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tinydiff.files import replacing
from tinydiff.training.step import Step


class Log:
    """``with Log(path, step) as log:`` add lines after those of steps 1 … step.

    Lines of later steps, of a run that was killed after its last checkpoint, are dropped: the run
    takes those steps again.
    """

    def __init__(self, path: str | os.PathLike, step: int):
        kept = [r for r in read_log(path) if r["step"] <= step] if Path(path).exists() else []
        with replacing(path) as file:
            file.writelines(_line(record) for record in kept)
        self._file = open(path, "ab")  # noqa: SIM115

    def write(self, record: Step) -> None:
        """Add a line; a process killed right after this has it in its file."""
        numbers = {
            "step": record.step,
            "loss": record.loss,
            "grad_norm": record.grad_norm,
            "lr": record.lr,
            "images_per_second": round(record.images_per_second, 2),
        }
        self._file.write(_line(numbers))
        self._file.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exception) -> None:
        self._file.close()


def read_log(path: str | os.PathLike) -> list[dict]:
    """The lines of a log as dicts; a last line that a kill cut short is left out."""
    records = []
    for line in Path(path).read_bytes().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def _line(record: dict) -> bytes:
    return json.dumps(record).encode() + b"\n"
