"""What all examples have in common: --help that hides nothing, places checked at the door."""

import argparse

import pytest
from example_runs import EXAMPLES, call, everything_in, load

NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
CHECKPOINT = {  # that need one
    *("attack", "defences", "dream", "edit", "evaluate", "guidance", "inside", "likelihood"),
    *("neighbours", "planes", "purify", "sample", "samplers", "style"),
}


@pytest.fixture
def options(monkeypatch):
    """The options that the parser of an example has, by its name."""

    def those_of(name):
        parsers = []

        def keep(parser):
            parsers.append(parser)
            raise SystemExit

        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", keep)
        call(load(name))
        return parsers[0]._actions

    return those_of


@pytest.mark.parametrize("name", NAMES)
def test_help_tells_limits_and_defaults(name, options):
    for option in options(name):
        text = option.help or ""
        assert text and text[0] != "(", f"{option.dest}: nothing is said"
        if option.default not in (None, False, argparse.SUPPRESS):
            default = option.default if isinstance(option.default, list) else [option.default]
            assert f"default: {' '.join(map(str, default))}" in text, option.dest
            assert text.count("default") == 1, option.dest
        limits = getattr(option.type, "limits", "")
        assert limits in text, option.dest


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_no_folder_to_write_into(name, digits_run, here):
    (here / "README.md").write_text("precious")
    out = "README.md/x.png" if name == "sample" else "README.md"
    source = [digits_run / "checkpoint.npz"] if name in CHECKPOINT else []
    ended = call(load(name), *source, "--out", out)
    assert "cannot be written to" in ended.error() and "is not a folder" in ended.error()
    assert ended.err.count("\n") == 1, "something was begun"
    assert ended.out == ""
    assert everything_in(here) == {"README.md"}
