"""examples/paint.py: a map to paint on, two models trained once, pictures, measures, refusals."""

import re

import numpy as np
import pytest
from example_runs import call, everything_in, load, pixels
from PIL import Image
from small_scenes import small_classifiers

from tinydiff import data, images, training
from tinydiff.diffusion import Pipeline
from tinydiff.gaugan import Painter
from tinydiff.training import whole_run

SIDE, SHOWN = 32, 2
FEW = ("--steps", 3, 3, "--scenes", 6, "--count", 2, "--pictures", 40)
RUN = {"log.jsonl", "checkpoint.npz"}


def small():
    """The script with small pictures and networks, and short sampling."""
    module = load("paint")
    module.SIDE, module.SHOWN, module.BATCH, module.SCALE = SIDE, SHOWN, 2, 2
    module.LIKE = 3
    module.UNET.update(base_channels=8, norm_groups=4)
    module.SPADE["generator"] = {"widths": (4, 8), "hidden": 4, "norm_groups": 2, "patch": 2}
    module.SPADE["encoder"] = {"width": 4, "patch": 2}
    module.DISCRIMINATOR = {"base_channels": 4, "layers": 1}
    module.SAMPLING = {"sampler": "ddim", "steps": 2}
    return module


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The folder of all runs, and what the first call said."""
    out = tmp_path_factory.mktemp("paint")
    ended = call(small(), *FEW, "--out", out)
    assert ended.status == 0, ended.err
    return out, ended


def my_map(here, painted=None):
    """A file my.png with a square of stars and a bar, three times as large as it need be."""
    mask = np.zeros((SIDE, SIDE), int)
    mask[4:20, 4:20], mask[26:29, 2:30] = 4, 9
    picture = small().PALETTE.paint(mask) if painted is None else painted
    images.save_png(here / "my.png", picture, scale=3)
    return mask


def some(module):
    """The scenes in whose styles SPADE paints"""
    scenes = module.scenes_of("train", module.LIKE)
    return scenes.images, data.semantic_masks(scenes.labels, scenes.instances), scenes.instances


def test_trains_both_and_shows_test_scenes(learned):
    out, ended = learned
    assert {path.name for path in out.iterdir()} == {"paint", "paint-diffusion", "paint-spade"}
    assert everything_in(out / "paint") == {"painted.png"}
    for kind in ("diffusion", "spade"):
        folder = out / f"paint-{kind}"
        assert everything_in(folder) == RUN
        assert [r["step"] for r in training.read_log(folder / "log.jsonl")] == [1, 2, 3]
        assert f"{folder} is not trained to its end: it is trained now" in ended.out
    assert len(re.findall(r"^6 scenes, [\d,]+ parameters$", ended.out, re.MULTILINE)) == 2
    module = small()
    test = data.shapes("test", SHOWN, side=SIDE, objects=module.OBJECTS, world=module.WORLD)
    maps = data.semantic_masks(test.labels, test.instances)
    told = {"guidance": 2.0, "rng": np.random.default_rng(0), **module.SAMPLING}
    drawn = Pipeline.load(out / "paint-diffusion" / "checkpoint.npz").draw(2, maps, **told)
    spade = Painter.load(out / "paint-spade" / "checkpoint.npz")
    spade = spade.draw(maps, like=some(module), rng=np.random.default_rng(0))
    rows = [module.PALETTE.paint(maps), test.images, drawn, spade]
    names = ("map", "scene", "diffusion", "spade")
    expected = images.labelled_grid(np.concatenate(rows), ["", ""], names)
    np.testing.assert_array_equal(pixels(out / "paint" / "painted.png"), expected)


def test_paints_my_map_and_trains_nothing(learned, here):
    out, _ = learned
    logs = [(out / f"paint-{kind}" / "log.jsonl").read_bytes() for kind in ("diffusion", "spade")]
    mask, module = my_map(here), small()
    module.train = None  # nothing is learned
    ended = call(module, "my.png", *FEW, "--out", out)
    assert ended.status == 0, ended.err
    assert "it is trained now" not in ended.out and "my-painted.png" in ended.out
    assert logs == [
        (out / f"paint-{kind}" / "log.jsonl").read_bytes() for kind in ("diffusion", "spade")
    ]
    painter = Painter.load(out / "paint-spade" / "checkpoint.npz")
    maps = mask[None].repeat(2, axis=0)
    drawn = painter.draw(maps, like=some(module), rng=np.random.default_rng(0))
    table = pixels(out / "paint" / "my-painted.png")
    cells = table[-2 * (SIDE + 2) : -4 : 2, -2 * 3 * (SIDE + 2) :: 2][:, : 3 * (SIDE + 2)]
    for k, picture in enumerate([module.PALETTE.paint(mask), *drawn]):
        left = k * (SIDE + 2)
        np.testing.assert_array_equal(cells[:SIDE, left : left + SIDE], picture)
    assert (drawn[0] != drawn[1]).any()
    (out / "paint" / "my-painted.png").unlink()


def test_measures(learned, here, tmp_path):
    out, _ = learned
    segment = load("segment")
    segment.SIDE, segment.BATCH, segment.SHOWN = SIDE, 2, 2
    segment.RECIPES["encoder-decoder"] = {"widths": (8, 8), "blocks": (0, 1)}, 3
    few = ("--steps", 3, "--scenes", 4, "--test-scenes", 5, "--out", tmp_path)
    assert call(segment, *few).status == 0
    judge = tmp_path / "segment-encoder-decoder" / "checkpoint.npz"
    with small_classifiers():
        ended = call(small(), "--evaluate", "--segmenter", judge, *FEW, "--out", out)
    assert ended.status == 0, ended.err
    number = r"-?\d+\.\d{3}"
    assert re.search(rf"^scene: mean IoU {number}$", ended.out, re.MULTILINE)
    for kind in ("diffusion", "spade"):
        row = (
            rf"^{kind}: mean IoU {number}, Fréchet distance {number} ± {number}, \d+ ms a picture$"
        )
        assert re.search(row, ended.out, re.MULTILINE), ended.out
    assert ended.out.count("  background 0.") == 3
    assert pixels(out / "paint" / "found.png").shape[0] > 7 * 2 * SIDE
    (out / "paint" / "found.png").unlink()


def test_a_map_to_paint_on_is_a_map(learned, here):
    ended = call(small(), "--palette", "--out", ".")
    assert ended.status == 0, ended.err
    assert everything_in(here) == {"paint", "paint/map.png", "paint/palette.png"}
    assert "background #000000, circle #ff3333" in ended.out
    assert pixels(here / "paint" / "map.png").shape == (2 * SIDE, 2 * SIDE, 3)
    error = call(small(), "--palette", "--out", ".").error()
    assert "map.png exists already" in error
    ended = call(small(), "paint/map.png", *FEW, "--out", learned[0])
    assert ended.status == 0, ended.err
    (learned[0] / "paint" / "map-painted.png").unlink()


def test_a_half_trained_run_is_gone_on_with(here):
    class Tired(RuntimeError):
        pass

    module, train = small(), training.train

    def two_steps(trainer, steps, folder, **settings):
        for record in train(trainer, steps, folder, **settings, save_every=1):
            yield record
            if record.step == 2 and folder.name == "paint-spade":
                raise Tired

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_run, "train", two_steps)
        assert call(module, *FEW, "--out", ".").status != 0
    ended = call(small(), *FEW, "--out", ".")
    assert ended.out.count("is not trained to its end") == 1
    log = training.read_log(here / "paint-spade" / "log.jsonl")
    assert [r["step"] for r in log] == [1, 2, 3]


REFUSED = {
    "none.png": "none.png: No such file or directory",
    "text.png": "text.png is not a picture that can be read",
    "wide.png": "wide.png is 6 × 4 pixels, expected a square map",
    "blue.png": "blue.png: row 1, column 2 (it alone) has #0000ff, the colour of no class",
    "./blue.png": "crescent #3cff33, bar #ff3377, arrow #33b3ff, without soft edges",
    "--palette blue.png": "--palette trains and paints nothing",
    "--palette --evaluate": "--palette trains and paints nothing",
    "--evaluate --segmenter no.npz": "no.npz does not exist: train with examples/segment.py first",
    "--steps 3": "expected 2 arguments",
    "--steps 0 3": "'0' is not a whole number from 1 on",
    "--count 0": "--count: '0' is not",
    "--guidance nan": "--guidance: 'nan' is not",
}


@pytest.mark.parametrize(("command", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refuses_in_one_sentence_and_trains_nothing(command, message, here):
    (here / "text.png").write_text("hello")
    Image.new("RGB", (6, 4)).save(here / "wide.png")
    blue = np.zeros((4, 4, 3), np.uint8)
    blue[1, 2] = 0, 0, 255
    images.save_png(here / "blue.png", blue)
    error = call(small(), *command.split()).error()
    assert error.startswith("paint.py: ")
    assert message in error
    assert everything_in(here) == {"text.png", "wide.png", "blue.png"}


def test_other_settings_are_another_run(learned):
    error = call(small(), *FEW, "--scenes", 7, "--out", learned[0]).error()
    assert "scenes is 7, was 6" in error


def test_what_is_trained_paints_by_any_seed(learned, here):
    out, _ = learned
    my_map(here)
    ended = call(small(), "my.png", *FEW, "--seed", 1, "--out", out)
    assert ended.status == 0, ended.err
    assert "it is trained now" not in ended.out
    drawn = pixels(out / "paint" / "my-painted.png")
    assert call(small(), "my.png", *FEW, "--out", out).status == 0
    assert (drawn != pixels(out / "paint" / "my-painted.png")).any()
    (out / "paint" / "my-painted.png").unlink()


def test_help_tells_the_colours_and_what_it_writes(capsys):
    ended = call(small(), "--help")
    assert ended.status == 0
    for name in (*small().CLASSES, "background #000000", "painted.png", "found.png", "map.png"):
        assert name in ended.out
