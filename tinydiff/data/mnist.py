"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28x28, in four idx files each.

An idx file is a gzipped array: two zero bytes, the type of its elements (8 for bytes), the number
of axes, the length of each axis as a big-endian 32-bit integer, then the elements.
MNIST is by Y. LeCun, C. Cortes and C. J. C. Burges; Fashion-MNIST by H. Xiao, K. Rasul and
R. Vollgraf (arXiv:1708.07747).
"""

from __future__ import annotations

import gzip
import math
import zlib

import numpy as np

from tinydiff.data.dataset import Dataset
from tinydiff.data.download import Source, fetch

_FILES = {"train": "train", "test": "t10k"}


def _source(title: str, folder: str, homes: tuple[str, ...], digests: tuple[str, ...]) -> Source:
    parts = ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz")
    names = [f"{split}-{part}" for split in _FILES.values() for part in parts]
    checksums = {name: f"sha256:{digest}" for name, digest in zip(names, digests, strict=True)}
    return Source(title, folder, homes, checksums)


MNIST = _source(
    "MNIST",
    "mnist",
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)

FASHION_MNIST = _source(
    "Fashion-MNIST",
    "fashion-mnist",
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)

CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def mnist(split: str = "train") -> Dataset:
    """MNIST: 60,000 ("train") or 10,000 ("test") handwritten digits, white on black.

    Found under TINYDIFF_DATA or in the user's cache folder, else downloaded (12 MB); see
    ``download.py``.  Raises ValueError for an unknown split, DatasetNotFoundError if the files
    are nowhere to be had.
    """
    return _load(MNIST, split, tuple("0123456789"))


def fashion_mnist(split: str = "train") -> Dataset:
    """Fashion-MNIST: 60,000 or 10,000 pieces of clothing in ten classes, otherwise as MNIST.

    Found, downloaded (31 MB) and refused as by ``mnist``.
    """
    return _load(FASHION_MNIST, split, CLOTHES)


def _load(source: Source, split: str, classes: tuple[str, ...]) -> Dataset:
    if split not in _FILES:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    prefix = _FILES[split]
    images = read_idx(fetch(source, f"{prefix}-images-idx3-ubyte.gz"))
    labels = read_idx(fetch(source, f"{prefix}-labels-idx1-ubyte.gz"))
    return Dataset(f"{source.folder}-{split}", images[..., None], labels.astype(np.int64), classes)


def read_idx(content: bytes) -> np.ndarray:
    """The array of bytes in a gzipped idx file; ValueError for anything else."""
    try:
        plain = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"not a complete gzip file: {error}") from error
    if len(plain) < 4 or plain[:3] != b"\0\0\x08":
        raise ValueError(f"not an idx file of bytes: it begins with {plain[:4].hex(' ')}")
    axes = plain[3]
    data = 4 + 4 * axes
    shape = tuple(int.from_bytes(plain[i : i + 4], "big") for i in range(4, data, 4))
    if len(plain) != data + math.prod(shape):
        raise ValueError(
            f"an idx file of shape {shape} holds {data + math.prod(shape)} bytes, got {len(plain)}"
        )
    return np.frombuffer(plain, np.uint8, offset=data).reshape(shape).copy()
