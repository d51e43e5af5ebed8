"""Checkpoints: nested dicts of arrays, numbers and texts in one file, which holds data only.

The file is an .npz archive that `numpy.load` reads too: each array is an entry named by its path
("model/conv.weight.npy"), and the entry "tinydiff.json" holds all the rest, with null where an
array belongs, and the arrays' paths.  Whoever wrote it, loading one runs no code, and no entry can
claim to be longer than the file is.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping

import numpy as np

from tinydiff import backend
from tinydiff.files import replacing

FORMAT, VERSION = "tinydiff checkpoint", 1
_ROOT = "tinydiff.json"
_KINDS = "biuf"  # dtypes that are numbers: no objects, no texts, no records


class CheckpointError(ValueError):
    """A file that is not a checkpoint, or no longer one."""


def save(path: str | os.PathLike, content: Mapping) -> None:
    """Write a dict whose values are arrays, numbers, texts, booleans, None, lists or such dicts.

    The file appears complete or not at all.  Keys are printable texts without slashes.  Tuples
    come back as lists, NumPy scalars as Python numbers, device arrays as NumPy arrays.
    Raises TypeError or ValueError that names what cannot be saved.
    """
    if not isinstance(content, Mapping):
        raise TypeError(f"save: content is a {type(content).__name__}, expected a dict")
    arrays: dict[str, np.ndarray] = {}
    plain = _take_out(content, "", arrays)
    root = {"format": FORMAT, "version": VERSION, "arrays": list(arrays), "content": plain}
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        # Unlike writestr, open leaves the time out: the same content gives the same bytes.
        with archive.open(_ROOT, "w") as entry:
            entry.write(json.dumps(root).encode())
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)


def load(path: str | os.PathLike) -> dict:
    """What `save` wrote.

    Raises FileNotFoundError if there is no such file, CheckpointError if it is truncated, damaged,
    something else than a checkpoint, or a newer version's.
    """
    with open(path, "rb") as file:
        start = file.read(2)
        try:
            with zipfile.ZipFile(file) as archive:
                return _read(archive, os.fstat(file.fileno()).st_size)
        except CheckpointError as error:
            raise CheckpointError(f"{os.fspath(path)}: {error}") from None
        except MemoryError:
            raise
        except Exception as error:  # there is no end of ways in which a file can be wrong
            known = start == b"PK"
            trouble = "truncated or damaged" if known else "not a tinydiff checkpoint"
            raise CheckpointError(f"{os.fspath(path)}: the file is {trouble}") from error


def _take_out(value, path: str, arrays: dict[str, np.ndarray]):
    """``value`` as JSON can hold it, with None for each array; those go into ``arrays``."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
        return value.item()
    if isinstance(value, Mapping):
        for key in value:
            if not _usable(key):
                where = path or "content"
                raise ValueError(
                    f"save: {where} has the key {key!r}, expected text without slashes"
                )
        return {k: _take_out(v, f"{path}/{k}" if path else k, arrays) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_out(v, f"{path}/{i}", arrays) for i, v in enumerate(value)]
    if isinstance(value, (np.ndarray, backend.xp.ndarray)) and value.dtype.kind in _KINDS:
        arrays[path] = np.asarray(backend.to_numpy(value), order="C")
        return None
    kind = f"an array of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
    raise TypeError(
        f"save: {path} is {kind}; expected numbers, texts, arrays of numbers, lists or dicts"
    )


def _usable(key) -> bool:
    """Can the key be a part of an entry's name?"""
    if not isinstance(key, str) or not key.isprintable():
        return False
    return key not in ("", ".", "..") and not set(key) & set("/\\")


def _read(archive: zipfile.ZipFile, size: int) -> dict:
    if _ROOT not in archive.namelist():
        raise CheckpointError("not a tinydiff checkpoint (an archive of something else)")
    if sum(entry.file_size for entry in archive.infolist()) > size:
        raise CheckpointError("its entries claim to hold more than the file does")
    root = json.loads(archive.read(_ROOT))
    if root["format"] != FORMAT:
        raise CheckpointError("not a tinydiff checkpoint (an archive of something else)")
    if root["version"] != VERSION:
        raise CheckpointError(
            f"the file has format version {root['version']}, this tinydiff reads {VERSION}"
        )
    content, paths = root["content"], root["arrays"]
    if sorted(archive.namelist()) != sorted([_ROOT, *(f"{path}.npy" for path in paths)]):
        raise CheckpointError("the file is damaged: arrays are missing from it, or too many")
    if not isinstance(content, dict):
        raise CheckpointError("the file is damaged: its content is no dict")
    for path in paths:
        _put_back(content, path, _array(path, archive.read(f"{path}.npy")))
    return content


def _put_back(content: dict, path: str, array: np.ndarray) -> None:
    """Set the array where its path leads, which must be a place left empty for it."""
    *way, last = path.split("/")
    node = content
    for key in way:
        node = node[_key(node, key)]
    if node[_key(node, last)] is not None:
        raise CheckpointError(f"the entry {path!r} has no place in it")
    node[_key(node, last)] = array


def _key(node: dict | list, key: str) -> str | int:
    return int(key) if isinstance(node, list) else key


def _array(name: str, data: bytes) -> np.ndarray:
    """The array in an .npy file: header and numbers, of exactly the length the header says."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise CheckpointError(f"the entry {name!r} is not written by tinydiff")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    length = len(data) - file.tell()
    if fortran or dtype.kind not in _KINDS or math.prod(shape) * dtype.itemsize != length:
        raise CheckpointError(f"the entry {name!r} is not an array of numbers of its length")
    return np.ndarray(shape, dtype, buffer=data, offset=file.tell()).copy()
