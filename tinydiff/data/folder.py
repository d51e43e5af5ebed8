"""A data set of one's own pictures: a folder of files, or a folder of one sub-folder a class."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from tinydiff.data.dataset import Dataset
from tinydiff.data.picture import opened, square

NAMED = 20  # files at most that a warning names one by one


def image_folder(path: str | os.PathLike, size: int = 32, *, grey: bool = False) -> Dataset:
    """Every picture under ``path``, its centre cut out square and resized to ``size`` x ``size``.

    Sub-folders are classes, named after them, and whatever lies in one at any depth belongs to
    it; without sub-folders there are no labels.  Pictures come in the order of their names.  Any
    format, mode and size that Pillow opens will do: rotation by EXIF is undone, transparency
    laid on white, 16 bits reduced to 8, and an animation gives its first frame.  ``grey`` makes
    one channel instead of three.

    Files that cannot be read, or are too large to be meant (Pillow's MAX_IMAGE_PIXELS), are
    named in a warning and skipped, hidden ones silently.  Raises NotADirectoryError, and
    ValueError for a size below 1 or a folder without one readable picture.
    """
    from tqdm import tqdm  # takes 40 ms, a part of what `import tinydiff` may take

    root = Path(path).expanduser()
    if not root.is_dir():
        raise NotADirectoryError(f"path must be a folder of pictures, got {str(path)!r}")
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    beside, by_class = _files(root)
    found = [(name, file) for name, files in by_class.items() for file in files]
    skipped = [f"{file.relative_to(root)} (beside the folders of the classes)" for file in beside]
    if not by_class:
        found, skipped = [("", file) for file in beside], []

    pictures, names = [], []
    for name, file in tqdm(found, desc=f"reading {root.name}", delay=2, leave=False):
        try:
            pictures.append(square(opened(file, size), size, grey))
            names.append(name)
        except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
            reason = "no picture" if "cannot identify" in str(error) else error
            skipped.append(f"{file.relative_to(root)} ({reason})")
    if skipped:
        more = f" and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
        listed = ", ".join(skipped[:NAMED])
        warnings.warn(f"{root}: skipped {len(skipped)} files: {listed}{more}", stacklevel=2)
    if not pictures:
        raise ValueError(f"path holds no picture that can be read: {root}")
    images = np.stack(pictures)
    if not by_class:
        return Dataset(root.resolve().name or "pictures", images)
    classes, labels = np.unique(names, return_inverse=True)
    classes = tuple(classes.tolist())
    return Dataset(root.resolve().name or "pictures", images, labels.astype(np.int64), classes)


def _files(root: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """The visible files directly in ``root``, and those below each sub-folder that has any."""
    direct, by_class = [], {}
    for entry in sorted(root.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            direct.append(entry)
        elif entry.is_dir():
            below = sorted(
                file
                for file in entry.rglob("*")
                if file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(root).parts)
            )
            if below:
                by_class[entry.name] = below
    return direct, by_class
