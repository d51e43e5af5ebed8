"""CIFAR-10 from an archive and from a folder, both made up here, and every way they can be bad."""

import dataclasses
import hashlib
import io
import tarfile

import numpy as np
import pytest

from tinydiff.data import cifar, cifar10

RECORDS = 20  # instead of 10,000 a file, to be quick
NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def made_up() -> dict[str, bytes]:
    """Six files; a pixel of record r in file f is (10 f + r, row, column) in red, green, blue."""
    files = {}
    row, column = np.mgrid[:32, :32].astype(np.uint8)
    for f, name in enumerate(NAMES):
        records = np.empty((RECORDS, 3073), np.uint8)
        records[:, 0] = (np.arange(RECORDS) + f) % 10
        for r in range(RECORDS):
            planes = np.stack([np.full((32, 32), 10 * f + r, np.uint8), row, column])
            records[r, 1:] = planes.ravel()
        files[name] = records.tobytes()
    return files


def pack(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in sorted(files, reverse=True):  # an order of its own
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
    return packed.getvalue()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYDIFF_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar, "_RECORDS", RECORDS)
    return tmp_path


def put_archive(place, monkeypatch, files):
    content = pack(files)
    checksum = {cifar.ARCHIVE: "md5:" + hashlib.md5(content).hexdigest()}
    source = dataclasses.replace(cifar.CIFAR10, homes=(), checksums=checksum)
    monkeypatch.setattr(cifar, "CIFAR10", source)
    (place / cifar.ARCHIVE).write_bytes(content)


def put_folder(place, files):
    folder = place / cifar.FOLDER
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def check(train, test):
    assert train.images.shape == (5 * RECORDS, 32, 32, 3)
    assert test.images.shape == (RECORDS, 32, 32, 3)
    for data, files in ((train, range(5)), (test, [5])):
        red = [10 * f + r for f in files for r in range(RECORDS)]
        label = [(f + r) % 10 for f in files for r in range(RECORDS)]
        assert data.labels.tolist() == label
        assert data.images[:, 3, 7].tolist() == [[r, 3, 7] for r in red]
        assert data.images.flags.c_contiguous
        assert data.classes[3] == "cat"


def test_archive(place, monkeypatch):
    put_archive(place, monkeypatch, made_up())
    check(cifar10("train"), cifar10("test"))


@pytest.mark.parametrize("inside", [".", "cifar-10"])
def test_unpacked_folder(place, inside):
    put_folder(place / inside, made_up())
    check(cifar10("train"), cifar10("test"))


def test_an_archive_with_the_wrong_checksum_is_not_opened(place, monkeypatch):
    monkeypatch.setattr(cifar, "CIFAR10", dataclasses.replace(cifar.CIFAR10, homes=()))
    (place / cifar.ARCHIVE).write_bytes(pack(made_up()))
    with (
        pytest.warns(UserWarning, match=r"binary\.tar\.gz is cut short, damaged or another"),
        pytest.raises(FileNotFoundError, match="put cifar-10-binary"),
    ):
        cifar10()


def test_an_incomplete_file_is_refused(place):
    files = made_up()
    files["data_batch_3.bin"] = files["data_batch_3.bin"][:-3073]
    put_folder(place, files)
    with pytest.raises(ValueError, match=r"data_batch_3.bin is not complete: .* 61460 bytes"):
        cifar10("train")
    assert len(cifar10("test")) == RECORDS


def test_a_missing_file_is_named(place):
    files = made_up()
    del files["data_batch_2.bin"], files["data_batch_5.bin"]
    put_folder(place, files)
    with pytest.raises(ValueError, match=r"lacks data_batch_2.bin, data_batch_5.bin: unpack"):
        cifar10("train")


def test_a_label_out_of_range_is_refused(place):
    files = made_up()
    files["test_batch.bin"] = b"\x0a" + files["test_batch.bin"][1:]
    put_folder(place, files)
    with pytest.raises(ValueError, match=r"test_batch\.bin is not a file of CIFAR-10: .* label 10"):
        cifar10("test")


def test_unequal_classes_are_refused(place):
    """CIFAR-10 has equally many of each: a file of other pictures hardly ever does."""
    files = made_up()
    files["test_batch.bin"] = b"\0" + files["test_batch.bin"][1:]
    put_folder(place, files)
    with pytest.raises(ValueError, match=r"equally many images: here they have \[3, 2, .*1"):
        cifar10("test")


def test_the_first_records_only_are_refused(place, monkeypatch):
    """Folders of the first records of each file go around; they are not CIFAR-10."""
    monkeypatch.setattr(cifar, "_RECORDS", 10_000)
    put_folder(place, made_up())
    with pytest.raises(ValueError, match="30730000 bytes"):
        cifar10("train")


def test_unknown_split():
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'valid'"):
        cifar10("valid")


def test_the_true_archive_is_the_one_asked_for():
    assert cifar.CIFAR10.checksums == {cifar.ARCHIVE: "md5:c32a1d4ab5d03f1284b67883e8d87530"}
    assert all(home.startswith("https://") for home in cifar.CIFAR10.homes)
