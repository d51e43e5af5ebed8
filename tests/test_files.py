"""Files appear complete or not at all."""

import os

import pytest

from tinydiff.files import remove_leftovers, replacing


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left"), replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write(b"half of the n")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_an_error_while_writing_takes_new_folders_away(tmp_path, error):
    (tmp_path / "old").mkdir()
    with pytest.raises(error), replacing(tmp_path / "old" / "new" / "deep" / "a"):
        raise error
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]
    with pytest.raises(error), replacing(tmp_path / "old" / "new" / "deep" / "a"):
        (tmp_path / "old" / "new" / "b").write_bytes(b"another's")
        raise error
    assert {path.name for path in tmp_path.rglob("*")} == {"old", "new", "b"}


def test_a_written_file_replaces_the_old_one_and_has_the_usual_permissions(tmp_path):
    path, usual = tmp_path / "deep" / "a", tmp_path / "usual"
    usual.write_bytes(b"")
    for content in (b"old", b"new"):
        with replacing(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert path.stat().st_mode == usual.stat().st_mode


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    kept = [tmp_path / name for name in ("a", ".b.1234.tmp", "a.tmp")]
    for path in [*kept, tmp_path / ".a.1234abcd.tmp"]:
        path.write_bytes(b"")
    remove_leftovers(tmp_path / "a")
    assert sorted(tmp_path.iterdir()) == sorted(kept)
