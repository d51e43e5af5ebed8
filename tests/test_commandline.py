"""What the examples' command lines share: the usual arguments, and types of options."""

import argparse
from pathlib import Path

import pytest

from tinydiff.commandline import USUAL, check_writable, number, parser, whole

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
    [(whole(2), "2", 2), (number(), "-1.5", -1.5), (number(0), "1e-3", 1e-3)],
)
def test_numbers(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (whole(2), "1", "'1' is not a whole number from 2 on"),
        (whole(2), "2.5", "'2.5' is not a whole number from 2 on"),
        (number(), "nan", "'nan' is not a finite number"),
        (number(), "inf", "'inf' is not a finite number"),
        (number(above=0), "0", "'0' is not a finite number above 0"),
        (number(), "many", "'many' is not a finite number"),
    ],
)
def test_refuses_numbers(kind, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        kind(text)


def test_a_place_under_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("hello")
    check_writable(tmp_path / "new" / "folder" / "a.png")
    assert not (tmp_path / "new").exists()
    with pytest.raises(NotADirectoryError, match="cannot be written"):
        check_writable(tmp_path / "file" / "a.png")
