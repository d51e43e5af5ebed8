"""What the command lines of the examples share: their usual options, options checked at the door,
errors in a sentence.

def main():
    options = parser(__doc__, "checkpoint", "--seed", "--out")
    options.add_argument("--count", type=whole(1), default=100)
    args = options.parse_args()
    ...

if __name__ == "__main__":
    run(main)
"""

from __future__ import annotations

import math
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def run(main: Callable[[], None]) -> None:
    """Call main; what a user can mend ends the program with one sentence instead of a traceback."""
    try:
        main()
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except OSError as error:
        about = error.strerror and error.filename
        _end(f"{error.filename}: {error.strerror}" if about else error, 1)
    except (ValueError, ImportError, ArithmeticError, MemoryError, RuntimeError) as error:
        _end(error, 1)


def whole(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number from ``least`` on."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return value

    return convert


def number(above: float = -math.inf) -> Callable[[str], float]:
    """The type of an option that is a finite number larger than ``above``."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not above < value < math.inf:
            limit = "" if above == -math.inf else f" above {above:g}"
            raise ArgumentTypeError(f"{text!r} is not a finite number{limit}")
        return value

    return convert


USUAL = {
    "checkpoint": dict(type=Path, help="of a run of examples/ddpm.py"),
    "--seed": dict(type=whole(0), default=0, help="the same seed, the same pictures"),
    "--name": dict(help="name of the run"),
    "--out": dict(type=Path, default=Path("runs"), help="folder of all runs"),
}


def parser(doc: str, *usual: str) -> ArgumentParser:
    """A parser with these of the USUAL arguments; its help is ``doc``, the example's docstring."""
    made = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    for name in usual:
        made.add_argument(name, **USUAL[name])
    return made


def check_writable(path: str | os.PathLike) -> None:
    """Raise OSError now if no file or folder could be made at ``path`` later; makes nothing."""
    nearest = next(p for p in Path(path).absolute().parents if p.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {nearest} is read-only")


def _end(sentence: object, status: int) -> NoReturn:
    print(f"{Path(sys.argv[0]).name}: {sentence}", file=sys.stderr)
    raise SystemExit(status)
