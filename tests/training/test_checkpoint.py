"""Checkpoints: what goes in comes out, and what is not one is refused with its name."""

import errno
import io
import json
import math
import pickle
import random
import zipfile

import numpy as np
import pytest

import tinydiff as td
from tinydiff import backend
from tinydiff.training import CheckpointError, load, save

CONTENT = {
    "step": 3,
    "name": "Zahlen für „alle“",
    "nothing": None,
    "yes": True,
    "rates": [0.1, 1e-300, math.inf, -0.0, 2**127 + 1],
    "empty": {},
    "model": {
        "0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.float16([1, 2]),
        "mask": np.array([[True, False]]),
        "labels": np.array([-1, 2**60]),
        "bytes": np.arange(3, dtype=np.uint8),
        "scalar": np.array(2.5),
        "none": np.zeros((0, 3), np.float32),
        "list": [np.ones(2), {"deep": np.zeros(1)}, []],
    },
}


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_array_equal(a, b)
    else:
        assert repr(a) == repr(b)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.npz"


def test_round_trip(path):
    save(path, CONTENT)
    loaded = load(path)
    assert_same(loaded, CONTENT)
    loaded["model"]["0.weight"][0] = 7  # one's own, to write into
    assert td.load is load
    assert td.save is save


def test_the_same_content_gives_the_same_bytes(tmp_path):
    save(tmp_path / "a", CONTENT)
    save(tmp_path / "b", load(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as file:  # nor does the hour matter
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_numpy_reads_it_without_pickle(path):
    save(path, CONTENT)
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["model/0.weight"], CONTENT["model"]["0.weight"])
        assert json.loads(archive["tinydiff.json"])["format"] == "tinydiff checkpoint"


def test_what_is_converted(path):
    strided = np.arange(12.0).reshape(3, 4).T
    device = backend.xp.ones(2)
    save(path, {"tuple": (1, 2), "f": np.float32(0.5), "i": np.int64(3), "s": strided, "d": device})
    loaded = load(path)
    assert loaded["tuple"] == [1, 2]
    assert type(loaded["f"]) is float
    assert type(loaded["i"]) is int
    np.testing.assert_array_equal(loaded["s"], strided)
    np.testing.assert_array_equal(loaded["d"], [1, 1])


@pytest.mark.parametrize(
    ("error", "content", "words"),
    [
        (TypeError, [1, 2], "content is a list"),
        (TypeError, {"a": {"b": object()}}, "a/b is object"),
        (TypeError, {"a": [0, np.array([None])]}, "a/1 is an array of object"),
        (TypeError, {"a": np.array(["text"])}, "a is an array of <U4"),
        (TypeError, {"a": td.Tensor(1.0)}, "a is an array of float32|a is Tensor"),
        (TypeError, {"a": 1 + 2j}, "a is complex"),
        (ValueError, {"a": {3: 1}}, "a has the key 3"),
        (ValueError, {"../evil": 1}, "content has the key '../evil'"),
        (ValueError, {"..": {"evil": np.ones(1)}}, "has the key '..'"),
        (ValueError, {"a\0b": np.ones(1)}, "has the key"),
        (ValueError, {"a\\b": np.ones(1)}, "has the key"),
        (ValueError, {"": 1}, "has the key ''"),
    ],
)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path, error, content, words):
    with pytest.raises(error, match=words):
        save(tmp_path / "file", content)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"file\.npz"):
        load(path)


def test_a_disk_that_fills_up_leaves_the_old_file_and_nothing_else(path):
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    save(path, CONTENT)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # as if 10 kB were free
    try:
        with pytest.raises(OSError, match=r"File too large") as caught:
            save(path, {"a": np.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def archive(path, entries, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in entries.items():
            file.writestr(name, data)


def npy(array, **settings):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **settings)
    return file.getvalue()


def root(content, arrays=(), format="tinydiff checkpoint", version=1):
    return json.dumps(
        {"format": format, "version": version, "arrays": list(arrays), "content": content}
    )


class Exploit:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def huge_header():
    """An .npy that says it holds 10¹⁵ numbers."""
    return npy(np.zeros(1, np.uint8)).replace(b"'shape': (1,), ", b"'shape': (10**15,), ")[:-1]


A = {"tinydiff.json": root({"a": None}, ["a"])}
FILES = {
    "empty": b"",
    "text": b"step 1\n",
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "pickle": pickle.dumps(Exploit()),
    "npz of arrays": {"a.npy": npy(np.ones(3))},
    "PyTorch's": {"archive/data.pkl": pickle.dumps(Exploit()), "archive/version": "3\n"},
    "another format": {"tinydiff.json": root({}, format="something")},
    "no JSON": {"tinydiff.json": "{"},
    "JSON of a list": {"tinydiff.json": "[1, 2]"},
    "deep JSON": {"tinydiff.json": "[" * 100_000},
    "deep content": {"tinydiff.json": '{"format": ' * 900 + "1" + "}" * 900},
    "content is a list": {"tinydiff.json": root([])},
    "pickled objects": A | {"a.npy": npy(np.array([Exploit()]), allow_pickle=True)},
    "not an array": A | {"a.npy": b"hello"},
    "a huge header": A | {"a.npy": huge_header()},
    "too many numbers": A | {"a.npy": npy(np.ones(3)) + bytes(8)},
    "too few numbers": A | {"a.npy": npy(np.ones(3))[:-8]},
    "texts": A | {"a.npy": npy(np.array(["a"]))},
    "records": A | {"a.npy": npy(np.zeros(1, [("x", "f4")]))},
    "an array too many": A | {"a.npy": npy(np.ones(3)), "b.npy": npy(np.ones(3))},
    "an array missing": A,
    "no place": {"tinydiff.json": root({"a": None}, ["b"]), "b.npy": npy(np.ones(3))},
    "a path upwards": {"tinydiff.json": root({"a": None}, ["../a"]), "../a.npy": npy(np.ones(3))},
    "a place taken": {"tinydiff.json": root({"a": 1}, ["a"]), "a.npy": npy(np.ones(3))},
    "inside a number": {"tinydiff.json": root({"a": 1}, ["a/b"]), "a/b.npy": npy(np.ones(3))},
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_and_foreign_files_are_refused_by_name(path, name):
    content = FILES[name]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        archive(path, content)
    with pytest.raises(CheckpointError, match=r"file\.npz: "):
        load(path)


def test_a_zip_bomb_is_refused_before_it_unpacks(path):
    archive(path, A | {"a.npy": npy(np.zeros(10**7))}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    with pytest.raises(CheckpointError, match="entries claim to hold more than the file"):
        load(path)


def test_overlapping_entries_are_refused(path):
    """Many entries in the directory that are all the same megabyte of the file."""
    archive(path, A | {"a.npy": npy(np.zeros(10**5))})
    with zipfile.ZipFile(path, "a") as file:
        [entry] = [e for e in file.infolist() if e.filename == "a.npy"]
        file.filelist.extend([entry] * 50)
        file._didModify = True
    with pytest.raises(CheckpointError, match="entries claim to hold more than the file"):
        load(path)


def test_a_newer_version_is_named(path):
    archive(path, {"tinydiff.json": root({}, version=2)})
    with pytest.raises(CheckpointError, match="format version 2, this tinydiff reads 1"):
        load(path)


def test_a_truncated_file_is_refused_wherever_it_ends(path):
    save(path, CONTENT)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        words = "truncated or damaged" if length >= 2 else "not a tinydiff checkpoint"
        with pytest.raises(CheckpointError, match=words):
            load(path)


def test_damage_is_noticed_or_harmless(path):
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    save(path, CONTENT)
    whole = path.read_bytes()
    noticed = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = load(path)
        except CheckpointError:
            noticed += 1
        else:
            assert_same(loaded, CONTENT)
    assert noticed > 150
