"""CIFAR-10: 50,000 + 10,000 colour images of 32x32 in ten classes, the binary version.

Five training files and a test file of 10,000 records each, in one tar archive.  A record is a
label byte and 3072 pixel bytes: 1024 red, 1024 green, 1024 blue, each 32x32 row by row.  (The
Python version holds pickles, which can run code when they are read.)
A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import io
import tarfile

import numpy as np

from tinydiff.data.dataset import Dataset
from tinydiff.data.download import Source, fetch

ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"  # what the archive unpacks to

CIFAR10 = Source(
    title="CIFAR-10",
    folder="cifar-10",
    homes=(
        "https://www.cs.toronto.edu/~kriz/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
    ),
    checksums={ARCHIVE: "md5:c32a1d4ab5d03f1284b67883e8d87530"},
)

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_FILES = {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("test_batch.bin",),
}
_RECORDS = 10_000  # a file
_RECORD = 1 + 3 * 32 * 32  # bytes


def cifar10(split: str = "train") -> Dataset:
    """CIFAR-10: 50,000 ("train") or 10,000 ("test") colour images of 32x32.

    The archive ``cifar-10-binary.tar.gz`` or the folder it unpacks to, ``cifar-10-batches-bin``,
    is found under TINYDIFF_DATA or in the user's cache folder; else the archive is downloaded
    (170 MB); see ``download.py``.  Raises ValueError for an unknown split or an incomplete
    folder, DatasetNotFoundError if the files are nowhere to be had.
    """
    if split not in _FILES:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    files = _unpacked(split)
    if files is None:
        files = _archived(split)
    records = np.concatenate([_records(*file) for file in files.items()])
    labels = records[:, 0].astype(np.int64)
    per_class = np.bincount(labels, minlength=len(CLASSES)).tolist()
    if per_class != [len(labels) // len(CLASSES)] * len(CLASSES):
        raise ValueError(
            f"{', '.join(files)} are not the files of CIFAR-10, whose classes have equally many "
            f"images: here they have {per_class}"
        )
    # Planes of red, green and blue become pixels; contiguous, so that taking a batch is fast.
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Dataset(f"cifar10-{split}", np.ascontiguousarray(images), labels, CLASSES)


def _unpacked(split: str) -> dict[str, bytes] | None:
    """The files of a folder that a user has unpacked, by path, or None if there is no folder."""
    for place in CIFAR10.places():
        folder = place / FOLDER
        if folder.is_dir():
            missing = [name for name in _FILES[split] if not (folder / name).is_file()]
            if missing:
                raise ValueError(f"{folder} lacks {', '.join(missing)}: unpack {ARCHIVE} again")
            return {str(folder / name): (folder / name).read_bytes() for name in _FILES[split]}
    return None


def _archived(split: str) -> dict[str, bytes]:
    """The files in the archive, read in memory: nothing in it can write anywhere."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(fetch(CIFAR10, ARCHIVE)), mode="r:gz") as archive:
        for member in archive:
            name = member.name.removeprefix(f"{FOLDER}/")
            if name in _FILES[split] and member.isfile():
                files[name] = archive.extractfile(member).read()
    return {name: files[name] for name in _FILES[split]}  # the archive's own order is another


def _records(name: str, content: bytes) -> np.ndarray:
    """A file's records (10000, 3073); ValueError if it is not such a file."""
    if len(content) != _RECORDS * _RECORD:
        raise ValueError(
            f"{name} is not complete: the file of CIFAR-10 has {_RECORDS * _RECORD} bytes "
            f"({_RECORDS} records), this one {len(content)}; unpack {ARCHIVE} again"
        )
    records = np.frombuffer(content, np.uint8).reshape(_RECORDS, _RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise ValueError(
            f"{name} is not a file of CIFAR-10: it holds the label {records[:, 0].max()}"
        )
    return records
