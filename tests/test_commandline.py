"""What the examples' command lines share: the usual arguments, and types of options."""

import argparse
import sys
from pathlib import Path

import pytest

from tinydiff.commandline import (
    USUAL,
    check_writable,
    number,
    parser,
    row,
    run,
    run_folder,
    tell,
    whole,
)
from tinydiff.training import TrainingStopped

DOC = "Draws.\n\n    with   spaces"


def test_a_parser_has_what_it_is_asked_for(capsys):
    args = parser(DOC, "checkpoint", "--seed", "--out").parse_args(["a/b.npz", "--seed", "3"])
    assert vars(args) == {"checkpoint": Path("a/b.npz"), "seed": 3, "out": Path("runs")}
    assert vars(parser(DOC).parse_args([])) == {}
    with pytest.raises(SystemExit):
        parser(DOC, *USUAL).parse_args(["--help"])
    shown = capsys.readouterr().out
    assert DOC in shown
    for name in USUAL:
        assert name in shown


def test_more_may_be_added():
    options = parser(DOC, "--name")
    options.add_argument("--count", type=whole(1), default=7)
    assert vars(options.parse_args(["--name", "x"])) == {"name": "x", "count": 7}


@pytest.mark.parametrize("argument", ["--seed=-1", "--seed=one"])
def test_what_is_not_a_seed_is_refused(argument, capsys):
    with pytest.raises(SystemExit):
        parser(DOC, "--seed").parse_args([argument])
    assert "is not a whole number from 0 on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole(2), "2", 2),
        (whole(2, 3), "3", 3),
        (number(), "-1.5", -1.5),
        (number(0), "1e-3", 1e-3),
        (number(0, most=0.01), "0.01", 0.01),
    ],
)
def test_numbers(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (whole(2), "1", "'1' is not a whole number from 2 on"),
        (whole(2), "2.5", "'2.5' is not a whole number from 2 on"),
        (whole(2, 3), "4", "'4' is not a whole number from 2 to 3"),
        (whole(2, 3), "many", "'many' is not a whole number from 2 to 3"),
        (number(0, most=0.01), "0.02", "'0.02' is not a finite number above 0 and at most 0.01"),
        (number(most=0.01), "-inf", "'-inf' is not a finite number at most 0.01"),
        (number(), "nan", "'nan' is not a finite number"),
        (number(), "inf", "'inf' is not a finite number"),
        (number(above=0), "0", "'0' is not a finite number above 0"),
        (number(), "many", "'many' is not a finite number"),
    ],
)
def test_refuses_numbers(kind, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        kind(text)


def test_help_tells_limits_and_defaults(capsys):
    options = parser(DOC, "--seed", "--name", "--out", name="draw-DATA")
    options.add_argument("--count", type=whole(1), default=7, help="how many")
    options.add_argument("--sizes", type=whole(2, 9), nargs="+", default=[3, 5], help="of all")
    options.add_argument("--rate", type=number(above=0, most=0.5), help="see above")
    options.add_argument("--fast", action="store_true", help="a little")
    with pytest.raises(SystemExit):
        options.parse_args(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for text in (
        "the same seed, the same pictures (from 0 on; default: 0)",
        "name of the run (default: draw-DATA)",
        "folder of all runs (default: runs)",
        "how many (from 1 on; default: 7)",
        "of all (from 2 to 9; default: 3 5)",
        "see above (above 0 and at most 0.5)",
    ):
        assert text in shown
    assert shown.endswith("a little") and "SUPPRESS" not in shown


def test_a_picture_and_a_network_to_show_it_to_belong_together(capsys):
    options = parser(DOC)
    options.add_image("a cat")
    both = ["--image", "cat.png", "--checkpoint", "a.npz"]
    assert vars(options.parse_args(both)) == {"image": Path("cat.png"), "checkpoint": Path("a.npz")}
    assert vars(options.parse_args([])) == {"image": None, "checkpoint": None}
    for one in (both[:2], both[2:]):
        with pytest.raises(SystemExit):
            options.parse_args(one)
        assert "--image and --checkpoint belong together" in capsys.readouterr().err


def test_a_picture_is_not_shown_beside_other_work(capsys):
    options = parser(DOC)
    options.add_image("a cat", instead_of="compare")
    options.add_argument("--compare", nargs="+")
    both = ["--image", "cat.png", "--checkpoint", "a.npz"]
    assert options.parse_args(both).compare is None
    with pytest.raises(SystemExit):
        options.parse_args([*both, "--compare", "b"])
    assert "--image and --compare" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        options.parse_args(["--help"])
    assert "a cat" in capsys.readouterr().out


def test_a_place_under_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("hello")
    check_writable(tmp_path)
    check_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    for folder in (tmp_path / "file", tmp_path / "file" / "new"):
        with pytest.raises(NotADirectoryError, match=r"cannot be written to: .* is not a folder"):
            check_writable(folder)


def test_what_is_told_is_kept_too_even_when_interrupted(tmp_path, capsys):
    path = tmp_path / "new" / "table.txt"

    def lines(until=None):
        for i, line in enumerate((row("ε 0.3", "1", "2"), "second")):
            if i == until:
                raise KeyboardInterrupt
            yield line
            assert capsys.readouterr().out == line + "\n", "not at once"

    tell(path, lines())
    assert path.read_bytes() == (f"{'ε 0.3':<53}1{2:14}\nsecond\n").encode()
    with pytest.raises(KeyboardInterrupt):
        tell(path, lines(until=1))
    assert path.read_bytes().count(b"\n") == 1
    with pytest.raises(KeyboardInterrupt):
        tell(tmp_path / "other" / "table.txt", lines(until=0))
    assert not (tmp_path / "other").exists()


def test_the_folder_of_a_run(tmp_path, monkeypatch):
    for name, folder in ((None, "draw-digits"), ("mine", "mine")):
        args = argparse.Namespace(out=tmp_path, name=name)
        assert run_folder(args, "draw-digits") == tmp_path / folder
    assert run_folder(argparse.Namespace(out=tmp_path), "always") == tmp_path / "always"
    (tmp_path / "draw-digits").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path / "draw-digits")
    with pytest.raises(PermissionError, match="draw-digits is read-only"):
        run_folder(argparse.Namespace(out=tmp_path, name=None), "draw-digits")


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (TrainingStopped("Stopped after step 3."), 130, "Stopped after step 3."),
        (MemoryError(), 1, "there is not enough memory: ask for fewer pictures at a time"),
        (MemoryError("Unable to allocate 7 TiB"), 1, "Unable to allocate 7 TiB"),
        (ValueError("seed is -1"), 1, "seed is -1"),
        (OSError(28, "No space left", "a.png"), 1, "a.png: No space left"),
    ],
)
def test_errors_end_in_a_sentence(error, status, sentence, monkeypatch, capsys):
    def main():
        raise error

    monkeypatch.setattr(sys, "argv", ["examples/draw.py"])
    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == status
    assert capsys.readouterr().err == f"draw.py: {sentence}\n"


def test_other_ends_are_as_they_were():
    with pytest.raises(SystemExit) as end:
        run(lambda: sys.exit(2))
    assert end.value.code == 2
