"""Find the files of a public data set on this machine, or download them from its homes.

Searched in this order: the folder that the environment variable TINYDIFF_DATA names (the files
directly in it or in a sub-folder named after the data set), the user's cache folder, the homes.
Whatever the place, a file is used only if its checksum is the canonical one (of CIFAR-10's unpacked
folder, whose files have no published checksums, sizes and labels are checked instead).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinydiff.data.cache import cache_folder

# urllib.request and tqdm take 30 and 40 ms to import: only a download imports them.

TIMEOUT = 20  # seconds without a byte after which a home counts as out of reach
CHUNK = 1 << 16


class DatasetNotFoundError(FileNotFoundError):
    """A data set is neither on this machine nor to be had from its homes."""


@dataclass(frozen=True)
class Source:
    """Where a data set lives: its title, the folder it is kept in, the addresses of its homes
    (each ends in "/" and has every file), and the checksum of each file, "algorithm:digest"."""

    title: str
    folder: str
    homes: tuple[str, ...]
    checksums: dict[str, str]

    def places(self) -> list[Path]:
        """The folders on this machine to look in, the cache folder last."""
        cache = cache_folder() / self.folder
        root = os.environ.get("TINYDIFF_DATA")
        if not root:
            return [cache]
        given = Path(root).expanduser()
        if not given.is_dir():
            raise NotADirectoryError(
                f"TINYDIFF_DATA is {root!r}, which is not a folder: correct or unset it"
            )
        return [given / self.folder, given, cache]

    def damage(self, name: str, content: bytes) -> str | None:
        """What is wrong with ``content`` as the file ``name``, or None if it is the original."""
        algorithm, expected = self.checksums[name].split(":")
        found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
        if found == expected:
            return None
        return f"{len(content)} bytes with {algorithm} {found}, not {expected}"


def fetch(source: Source, name: str) -> bytes:
    """The content of the file ``name`` of a data set: found, or else downloaded and kept.

    Raises DatasetNotFoundError, in one sentence that says which files to put where.
    """
    for folder in source.places():
        content = _read(source, folder / name)
        if content is not None:
            return content
    path = source.places()[-1] / name
    problems = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_process(path.with_name(name + ".lock")):
            # Another process may have finished the same download while this one waited.
            content = _read(source, path)
            for home in source.homes if content is None else ():
                try:
                    content = _download(source, home + name, path)
                    break
                except OSError as error:
                    problems.append(f"{home}: {getattr(error, 'reason', None) or error}")
    except OSError as error:
        problems.append(str(error))
    if content is None:
        raise DatasetNotFoundError(
            f"{source.title} is not on this machine and could not be downloaded "
            f"({'; '.join(problems)}): put {', '.join(source.checksums)} into {path.parent}, or "
            "into a folder of your own and its name into the environment variable TINYDIFF_DATA."
        )
    return content


def _read(source: Source, path: Path) -> bytes | None:
    """The file at ``path``, or None where there is none or, with a warning, another."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    if damage := source.damage(path.name, content):
        warnings.warn(
            f"{path} is cut short, damaged or another file, and is not used: {source.title}'s "
            f"{path.name} is expected, but this is {damage}",
            stacklevel=4,
        )
        return None
    return content


def _download(source: Source, url: str, path: Path) -> bytes:
    """Download to ``path`` by way of a .part file, taken up again wherever it was cut off."""
    part = path.with_name(path.name + ".part")
    while True:
        start = part.stat().st_size if part.exists() else 0
        try:
            _transfer(url, part, f"{source.title} {path.name}")
        except OSError:
            if part.exists() and part.stat().st_size > start:
                continue  # cut off, but further than last time
            raise
        content = part.read_bytes()
        damage = source.damage(path.name, content)
        if damage is None:
            os.replace(part, path)
            return content
        part.unlink()
        if start == 0:
            raise OSError(f"sent {damage}")
        # What an earlier run had left may have been bad: once more, from the first byte.


def _transfer(url: str, part: Path, title: str) -> None:
    """Append what is missing to the file ``part``, or start it anew if the server will not."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from tqdm import tqdm

    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"User-Agent": "tinydiff"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        reply = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416 and start:  # nothing left to send: the file is complete, or wrong
            return
        raise
    except HTTPException as error:
        raise ConnectionError(f"not an answer in HTTP: {error!r}") from error
    with reply:
        sends_rest = reply.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if reply.status != 206 or not sends_rest:
            start = 0
        length = reply.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(total=total, initial=start, desc=title, unit="B", unit_scale=True) as bar,
        ):
            with contextlib.suppress(HTTPException):  # cut off: seen below
                while chunk := reply.read(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
            if total is not None and file.tell() < total:
                raise ConnectionError(f"connection cut after {file.tell()} of {total} bytes")


@contextlib.contextmanager
def _only_process(path: Path) -> Iterator[None]:
    """Wait until no other process is in here with the same lock file (on Unix)."""
    with open(path, "ab") as file:
        with contextlib.suppress(ImportError, OSError):  # Windows; a file system without locks
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
