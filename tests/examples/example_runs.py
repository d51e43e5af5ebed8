"""Running the examples in this process, with networks and data small enough for a test."""

import contextlib
import dataclasses
import functools
import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinydiff as td
from tinydiff import commandline
from tinydiff.metrics import judge_of, train_classifier

EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS, SAMPLING_STEPS = 8, 4
SIZE = 8  # of the pictures in folders
DETECT_SIDE = 64  # of scenes
DETECT_FEW = ("--steps", 4, "--scenes", 20, "--test-scenes", 8, "--score", 0)


@dataclasses.dataclass
class Ended:
    """How a script ended: its exit status, and what it said."""

    status: int
    out: str
    err: str

    def error(self) -> str:
        """The last line of a script that ended with an error, and not with a traceback."""
        assert self.status != 0, self
        assert "Traceback" not in self.err, self.err
        return self.err.splitlines()[-1]


def load(name: str):
    """The script as a module, anew: what a test changes in it is gone afterwards."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_few_digits(name: str, count: int):
    """The script as a module, in whose data sets there are only so many digits."""
    module = load(name)
    digits = functools.partial(module.DATA["digits"], count=count)
    module.DATA = {**module.DATA, "digits": digits}
    return module


def small_ddpm():
    """examples/ddpm.py with small networks, few digits and short sampling."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("ddpm")
    for recipe in (module.GREY, module.COLOUR):
        recipe["unet"].update(base_channels=8, norm_groups=4)
    digits, *rest = module.DATA["digits"]
    module.DATA["digits"] = (functools.partial(digits, count=100), *rest)
    sampling = module.sampling
    module.sampling = lambda *given: sampling(*given) | {"steps": SAMPLING_STEPS}
    return module


def small_classify():
    """examples/classify.py with small networks and few digits."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = with_few_digits("classify", 120)
    module.NETWORKS = {
        "resnet": {"widths": (8, 8), "blocks": (0, 1), "lr": 0.01},
        "vgg": {"widths": (8, 8), "lr": 0.01},
    }
    module.COLOUR = {"epochs": 2.0, "flip": True, "shift": 1}
    residual = {"kind": "resnet", **module.NETWORKS["resnet"], **module.COLOUR}
    judges = module.judge_recipe
    module.judge_recipe = lambda channels: judges(1) if channels == 1 else dict(residual)
    # So fast that averaged weights lag behind.
    small = {"batch_size": 20, "lr": 0.1, "widths": (8, 8)}
    module.judge_of = functools.partial(judge_of, **small)
    module.train_classifier = lambda *data, kind, **recipe: train_classifier(
        *data, kind=kind, **{"batch_size": 20, **(small if kind == "plain" else {}), **recipe}
    )
    return module


def small_detect():
    """examples/detect.py with small pictures, a small network and quick learning."""
    pytest.importorskip("matplotlib", reason="its curves need the extra 'plots'")
    module = load("detect")
    module.SIDE = DETECT_SIDE
    module.NETWORK = {"widths": (16, 32), "blocks": (1, 1), "patch": 4}  # cells of 8 × 8 pixels
    module.LR = 5e-3
    return module


def call(module, *arguments) -> Ended:
    """The module's main as its command line runs it, in a process that has just begun."""
    td.seed(0)
    status, out, err = 0, io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", [module.__file__, *map(str, arguments)])
        try:
            commandline.run(module.main)
        except SystemExit as end:
            status = end.code
    if isinstance(status, str):  # Python prints such a text and ends with 1
        return Ended(1, out.getvalue(), f"{err.getvalue()}{status}\n")
    return Ended(status, out.getvalue(), err.getvalue())


def write_pictures(folder: Path, count: int, brightness: int) -> Path:
    """``count`` colour pictures, 10 high and 12 wide: a patch of the brightness on dark noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(brightness)
    for i in range(count):
        picture = rng.integers(0, 60, (10, 12, 3), dtype=np.uint8)
        picture[3:7, 4:8] = brightness
        Image.fromarray(picture).save(folder / f"{i}.png")
    return folder


def vgg_of_my_colours(here: Path) -> Path:
    """The checkpoint of one that has hardly learned two classes of pictures in the folder mine."""
    for brightness in (120, 250):
        write_pictures(here / "mine" / f"class-{brightness}", 12, brightness)
    train = ("--data", "mine", "--size", 16, "--model", "vgg", "--epochs", 1)
    assert call(small_classify(), *train).status == 0
    return here / "runs" / "vgg-mine" / "checkpoint.npz"


def pixels(path: Path) -> np.ndarray:
    """A picture file as an array: all of it can be read, not only its header."""
    with Image.open(path) as image:
        return np.asarray(image)


def cell(table: np.ndarray, row: int, column: int, size: int) -> np.ndarray:
    """One picture out of a grid with a margin of 2, saved at scale 2."""
    step = (size + 2) * 2
    top, left = 4 + row * step, 4 + column * step
    return table[top : top + size * 2 : 2, left : left + size * 2 : 2]


def grid_of(path: Path, rows: int, columns: int) -> np.ndarray:
    """The grid of 28×28 grey pictures in a picture file, without the captions above and beside."""
    table = pixels(path)[-2 * (30 * rows + 2) :, -2 * (30 * columns + 2) :]
    assert np.array_equal(table[..., 0], table[..., -1])
    return table[..., 0]


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
