"""Maps as pictures: there and back through a file, other sizes, and colours nobody knows."""

import numpy as np
import pytest
from PIL import Image

from tinydiff import data, images
from tinydiff.data.outlines import OUTLINES
from tinydiff.vision import Palette, draw_mask
from tinydiff.vision.palette import nearest

PALETTE = Palette(tuple(OUTLINES))


def maps(n=3, side=8):
    return np.random.default_rng(0).integers(0, 11, (n, side, side))


def test_there_and_back_through_a_file(tmp_path):
    """All classes, and scenes; whether the file has a palette itself, or an opacity, or neither."""
    scenes = data.shapes("test", 3, side=64)
    real = data.semantic_masks(scenes.labels, scenes.instances)
    for k, each in enumerate([*real, np.arange(16).reshape(4, 4) % 11]):
        painted = PALETTE.paint(each)
        np.testing.assert_array_equal(PALETTE.classes_of(painted), each)
        images.save_png(tmp_path / f"{k}.png", painted)
        Image.fromarray(painted).quantize(16, dither=0).save(tmp_path / f"{k}-p.png")
        Image.fromarray(painted).convert("RGBA").save(tmp_path / f"{k}-a.png")
        for name in (f"{k}.png", f"{k}-p.png", f"{k}-a.png"):
            np.testing.assert_array_equal(PALETTE.read(tmp_path / name, len(each)), each)


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_enlarged_it_is_the_same_map(scale, tmp_path):
    (one, *_) = maps()
    images.save_png(tmp_path / "large.png", PALETTE.paint(one), scale=scale)
    np.testing.assert_array_equal(PALETTE.read(tmp_path / "large.png", 8), one)


@pytest.mark.parametrize(("side", "new"), [(5, 8), (8, 5), (7, 7), (1, 3), (9, 2)])
def test_other_sizes_take_the_pixel_at_each_centre(side, new):
    some = maps(2, side)
    places = [min(side - 1, int((k + 0.5) * side / new)) for k in range(new)]
    expected = [[[m[i, j] for j in places] for i in places] for m in some]
    np.testing.assert_array_equal(nearest(some, new), expected)


def test_the_colours_are_those_of_masks():
    grey = np.zeros((1, 11, 3), np.uint8)
    drawn = draw_mask(grey, np.arange(11)[None])  # three quarters of the colour, on black
    expected = np.rint(0.75 * PALETTE.colours.astype(float))
    np.testing.assert_allclose(drawn[0, 1:], expected[1:], atol=1)
    assert str(PALETTE).startswith("background #000000, circle #")
    assert str(PALETTE).count("#") == 11


def test_a_strange_colour_is_told_with_its_place_and_all_that_are_known(tmp_path):
    painted = PALETTE.paint(maps()[0])
    painted[2, 5] = 1, 2, 254
    with pytest.raises(ValueError, match=r"row 2, column 5 \(it alone\) has #0102fe, .*star #"):
        PALETTE.classes_of(painted)
    painted[7] = 255
    images.save_png(tmp_path / "my.png", painted)
    with pytest.raises(ValueError, match=r"my.png: row 2, column 5 \(and 8 others\) has #0102fe"):
        PALETTE.read(tmp_path / "my.png", 8)


def test_a_soft_brush_is_found_out(tmp_path):
    disc = Image.fromarray(PALETTE.paint(np.eye(8, dtype=int))).resize((32, 32))  # bicubic
    disc.save(tmp_path / "soft.png")
    with pytest.raises(
        ValueError, match=r"the colour of no class; expected .*, without soft edges"
    ):
        PALETTE.read(tmp_path / "soft.png", 8)


def test_what_is_transparent_is_white_paper(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "empty.png")
    with pytest.raises(ValueError, match=r"row 0, column 0 .* has #ffffff"):
        PALETTE.read(tmp_path / "empty.png", 4)


def test_refusals(tmp_path):
    images.save_png(tmp_path / "wide.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"wide.png is 6 × 4 pixels, expected a square map"):
        PALETTE.read(tmp_path / "wide.png", 4)
    with pytest.raises(FileNotFoundError):
        PALETTE.read(tmp_path / "none.png", 4)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match="is not a picture that can be read"):
        PALETTE.read(tmp_path / "text.png", 4)
    with pytest.raises(ValueError, match="expected classes 0 … 10, got 0 … 11"):
        PALETTE.paint(np.array([[0, 11]]))
    with pytest.raises(TypeError, match="expected integers, got float64"):
        PALETTE.paint(np.zeros((2, 2)))
    with pytest.raises(TypeError, match="expected a NumPy array of uint8, got float64"):
        PALETTE.classes_of(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\), got shape \(2, 2\)"):
        PALETTE.classes_of(np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="side is 0"):
        nearest(maps(), 0)
