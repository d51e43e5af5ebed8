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
from argparse import (
    SUPPRESS,
    Action,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn


def run(main: Callable[[], None]) -> None:
    """Call main; what a user can mend ends the program with one sentence instead of a traceback.

    After Ctrl-C the status is 130, also where a run in training has something to say of it: that
    is a SystemExit with a text (`tinydiff.training.TrainingStopped`).
    """
    try:
        main()
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except SystemExit as end:
        if not isinstance(end.code, str):
            raise
        _end(end.code, 130)
    except MemoryError as error:  # Python's own has no text
        _end(str(error) or "there is not enough memory: ask for fewer pictures at a time", 1)
    except OSError as error:
        about = error.strerror and error.filename
        _end(f"{error.filename}: {error.strerror}" if about else error, 1)
    except (ValueError, ImportError, ArithmeticError, RuntimeError) as error:
        _end(error, 1)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number from ``least`` on, or up to ``most``."""
    limits = f"from {least} on" if most is None else f"from {least} to {most}"

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= (value if most is None else most):
            raise ArgumentTypeError(f"{text!r} is not a whole number {limits}")
        return value

    convert.limits = limits
    return convert


def number(above: float = -math.inf, most: float = math.inf) -> Callable[[str], float]:
    """The type of an option that is a finite number larger than ``above``, at most ``most``."""
    limits = " and ".join(
        f"{word} {limit:g}"
        for word, limit in (("above", above), ("at most", most))
        if math.isfinite(limit)
    )

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (above < value <= most and math.isfinite(value)):
            raise ArgumentTypeError(f"{text!r} is not a finite number {limits}".rstrip())
        return value

    convert.limits = limits
    return convert


USUAL = {
    "checkpoint": dict(type=Path, help="of a run of examples/ddpm.py"),
    "--seed": dict(type=whole(0), default=0, help="the same seed, the same pictures"),
    "--name": dict(help="name of the run"),
    "--out": dict(type=Path, default=Path("runs"), help="folder of all runs"),
}


class Parser(ArgumentParser):
    """An ArgumentParser whose --help tells the limits and the default of every option."""

    shows = False  # whether it has --image and --checkpoint
    other_work: str | None = None  # what cannot come with --image

    def add_argument(self, *names: str, **settings) -> Action:
        """As of argparse; what the text does not say stands behind it in brackets."""
        notes = [getattr(settings.get("type"), "limits", "")]
        default = settings.get("default")
        if default is not None and default != SUPPRESS:
            shown = default if isinstance(default, list) else [default]
            notes.append(f"default: {' '.join(map(str, shown))}")
        notes = "; ".join(filter(None, notes))
        if notes:
            settings["help"] = f"{settings.get('help', '')} ({notes})".strip()
        return super().add_argument(*names, **settings)

    def add_image(self, text: str, *, instead_of: str | None = None) -> None:
        """--checkpoint, of a trained network, and --image, a picture to show it: both or neither.

        text        what the picture is
        instead_of  an argument for other work, which cannot come with it
        """
        self.add_argument("--checkpoint", type=Path, help="of a run of this, for --image")
        self.add_argument("--image", type=Path, help=text)
        self.shows, self.other_work = True, instead_of

    def parse_args(self, *given) -> Namespace:
        """As of argparse."""
        args = super().parse_args(*given)
        if self.shows and (args.image is None) != (args.checkpoint is None):
            self.error("--image and --checkpoint belong together")
        if self.shows and args.image and self.other_work and vars(args)[self.other_work]:
            self.error(f"--image and --{self.other_work} are two things to do: one at a time")
        return args


def parser(doc: str, *usual: str, name: str = "") -> Parser:
    """A parser with these of the USUAL arguments; its help is ``doc``, the example's docstring.

    name  what --name is by default, in words
    """
    made = Parser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    for argument in usual:
        settings = dict(USUAL[argument])
        if argument == "--name" and name:
            settings["help"] += f" (default: {name})"
        made.add_argument(argument, **settings)
    return made


def run_folder(args: Namespace, usual: str) -> Path:
    """Where a run writes to: the folder --name, or else ``usual``, in the folder --out.

    Raises OSError now if it cannot be written to (`check_writable`).
    """
    folder = args.out / (getattr(args, "name", None) or usual)
    check_writable(folder)
    return folder


def row(what: str, *cells: str) -> str:
    """A line of a table of text: what it is about, and columns, right-aligned."""
    return f"{what:<40}" + "".join(f"{cell:>14}" for cell in cells)


def tell(path: Path, lines: Iterable[str]) -> None:
    """Print lines as they come, and write them to the file ``path``: also those before Ctrl-C."""
    told = []
    try:
        for line in lines:
            print(line)
            told.append(line)
    finally:
        if told:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(told) + "\n", encoding="utf-8")


def check_writable(folder: str | os.PathLike) -> None:
    """Raise OSError now if no file could be written into ``folder`` later; makes nothing."""
    place = Path(folder).absolute()
    nearest = next(p for p in (place, *place.parents) if p.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{folder} cannot be written to: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to: {nearest} is read-only")


def _end(sentence: object, status: int) -> NoReturn:
    print(f"{Path(sys.argv[0]).name}: {sentence}", file=sys.stderr)
    raise SystemExit(status)
