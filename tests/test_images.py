"""Pictures on disk are the arrays that were given, and a failed write leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinydiff.images import (
    captioned_grid,
    grid,
    labelled_grid,
    labelled_rows,
    save_gif,
    save_png,
    side_by_side,
    to_float,
    to_uint8,
)

BYTES = np.arange(256, dtype=np.uint8)


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def read_gif(path) -> tuple[list[np.ndarray], list[int]]:
    with Image.open(path) as image:
        frames, durations = [], []
        for i in range(image.n_frames):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
            durations.append(image.info["duration"])
        return frames, durations


# Bytes and floats


@pytest.mark.parametrize("value_range", [(-1, 1), (0, 1), (-0.3, 7.7)])
def test_every_byte_survives_the_way_there_and_back(value_range):
    x = to_float(BYTES, value_range)
    assert x.dtype == np.float32
    assert np.array_equal(to_uint8(x, value_range), BYTES)
    assert np.array_equal(to_uint8(x.astype(np.float64), value_range), BYTES)
    exact = np.linspace(*value_range, 256)
    np.testing.assert_allclose(x, exact, atol=1e-6)


@pytest.mark.parametrize("value_range", [(-1, 1), (0, 1)])
def test_the_ends_are_exact(value_range):
    assert to_float(BYTES, value_range)[[0, 255]].tolist() == list(value_range)


def test_to_uint8_rounds_and_clips():
    x = np.array([-1.5, -1, 0, 0.5019, 1, 1.001, 30], np.float32)
    assert to_uint8(x).tolist() == [0, 0, 128, 191, 255, 255, 255]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_to_uint8_refuses_what_has_no_byte(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        to_uint8(np.array([0.0, bad]))


def test_conversions_refuse_the_wrong_type():
    with pytest.raises(TypeError, match="images must be uint8"):
        to_float(np.zeros(3))
    with pytest.raises(TypeError, match="x must be floats, got uint8"):
        to_uint8(BYTES)
    with pytest.raises(TypeError, match=r"x must be a NumPy array, got list .*to_numpy"):
        to_uint8([0.5])
    with pytest.raises(ValueError, match="value_range must be"):
        to_float(BYTES, (1, 1))


# Grids


def test_grid_puts_pictures_row_by_row():
    pictures = np.arange(1, 6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), "u1")
    table = grid(pictures, 3, pad=1, fill=1)
    assert table.shape == (1 + 2 * (2 + 1), 1 + 3 * (3 + 1), 1)
    for i in range(5):
        row, column = divmod(i, 3)
        cell = table[1 + 3 * row : 3 + 3 * row, 1 + 4 * column : 4 + 4 * column]
        assert (cell == i + 1).all()
    assert (table == 255).sum() == table.size - 5 * 6
    assert table.dtype == np.uint8


def test_grid_of_floats_and_colours():
    pictures = np.random.default_rng(0).random((4, 5, 5, 3)).astype(np.float32)
    table = grid(pictures, pad=0)
    assert table.dtype == np.float32
    assert np.array_equal(table[:5, 5:], pictures[1])
    assert np.array_equal(table[5:, :5], pictures[2])
    assert (grid(pictures, pad=2, fill=0.25)[:2] == 0.25).all()


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_side_by_side_each_is_a_column(shape):
    columns = [np.full((2, *shape), 10 * i, np.uint8) for i in (1, 2, 3)]
    columns[2][1] += 5
    table = side_by_side(columns, pad=1, fill=1)
    assert table.shape == (2 * 5 + 1, 3 * 6 + 1, shape[2] if len(shape) == 3 else 1)
    assert table[1::5, 1::6, 0].tolist()[:2] == [[10, 20, 30], [10, 20, 35]]
    with pytest.raises(ValueError, match="same shape"):
        side_by_side([columns[0], columns[1][:1]])


def test_grid_of_grey_pictures_without_a_channel_axis():
    assert grid(np.zeros((7, 4, 4)), pad=2).shape == (2 + 3 * 6, 2 + 3 * 6, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((4, 4))}, "images must be"),
        ({"images": np.zeros((0, 4, 4))}, "images must be"),
        ({"images": np.zeros((2, 4, 4, 4))}, "images must be"),
        ({"columns": 0}, "columns must be at least 1"),
        ({"pad": -1}, "pad must not be negative"),
        ({"fill": 255}, r"fill must lie in \[0, 1\]"),
    ],
)
def test_grid_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid(**{"images": np.zeros((2, 4, 4)), **arguments})


def test_captions_stand_beside_a_grid():
    pictures = np.random.default_rng(0).integers(0, 256, (6, 20, 30, 1), np.uint8)
    bare = grid(pictures, 3, pad=2).repeat(2, axis=0).repeat(2, axis=1)
    table = labelled_grid(pictures, ["0", "1", "a long caption"], ["w = 1", "w = 4"], corner="w")
    height, width = bare.shape[:2]
    assert table.dtype == np.uint8 and table.shape[2] == 3
    assert np.array_equal(table[-height:, -width:], np.broadcast_to(bare, (height, width, 3)))
    top, left = table.shape[0] - height, table.shape[1] - width
    above = table[:top, left:].max(axis=(0, 2)) > 100
    cell = (width - 4) // 3
    for i in range(3):  # something is written over each column, within it
        written = np.flatnonzero(above[2 + i * cell : 2 + (i + 1) * cell])
        assert 0 < written.min() + written.max() + 1 - cell + 3 < 8, "not in the middle"
    assert not above[[2 + cell, 2 + 2 * cell]].any()
    beside = table[top:, :left].max(axis=(1, 2)) > 100
    assert beside[: height // 2].any() and beside[height // 2 :].any()
    assert table[:top, :left].max() > 100
    one, other = (labelled_grid(pictures[:1], [text]) for text in ("1", "2"))
    assert one.shape == other.shape and not np.array_equal(one, other)
    assert one.shape[1] == 2 * 34 and one.shape[0] == 2 * 24 + top
    assert np.array_equal(labelled_grid(pictures[:1] / np.float32(255), ["1"]), one)


def test_accents_are_left_out_of_captions():
    """Pillow's own font would draw boxes."""
    pictures = np.zeros((1, 30, 90), np.uint8)
    plain = captioned_grid(pictures, ["Kase, Susses"], 1)
    assert np.array_equal(captioned_grid(pictures, ["Käse, Süßes"], 1), plain)
    plain = labelled_grid(pictures, ["elan -1"], ["nino"], corner="uber")
    assert np.array_equal(labelled_grid(pictures, ["élan −1"], ["niño"], corner="über"), plain)


def test_labelled_rows_are_a_labelled_grid():
    pictures = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
    rows = {"one": pictures[:3], "two": list(pictures[3:])}
    table = labelled_rows(rows, scale=3)
    assert np.array_equal(table, labelled_grid(pictures, ["", "", ""], ["one", "two"], scale=3))
    table = labelled_rows(rows, ["a", "b", "c"])
    assert np.array_equal(table, labelled_grid(pictures, ["a", "b", "c"], ["one", "two"]))
    for wrong in ({}, {"one": pictures[:1], "two": pictures[:2]}):
        with pytest.raises(ValueError, match="rows: expected some, with as many pictures in each"):
            labelled_rows(wrong)


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [([], (), "columns must be at least 1"), ("ab", "ab", "rows: expected 3 texts, .*got 2")],
)
def test_captions_refuse(columns, rows, message):
    with pytest.raises(ValueError, match=message):
        labelled_grid(np.zeros((5, 4, 4), np.uint8), columns, rows)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_picture_has_its_caption_below(channels):
    pictures = np.random.default_rng(0).integers(0, 90, (5, 12, 20, channels), np.uint8)
    captions = ["one", "", "a b c unpronounceable", "4", "5"]
    table = captioned_grid(pictures, captions, 3, scale=2)
    height, width = 24 + 2 * 18 + 4, 40 + 4  # picture, a caption of up to two lines, margin
    assert table.shape == (2 * height + 4, 3 * width + 4, 3) and table.dtype == np.uint8
    for i, picture in enumerate(pictures):
        top, left = 4 + i // 3 * height, 4 + i % 3 * width
        shown = table[top : top + 24 : 2, left : left + 40 : 2]
        assert np.array_equal(shown, np.broadcast_to(picture, (12, 20, 3)))
        lines = [table[top + y : top + y + 18, left : left + 40].max() > 120 for y in (24, 42)]
        assert lines == [bool(captions[i]), i == 2]
    margins = np.delete(table, [4 + j * width + x for j in range(3) for x in range(40)], axis=1)
    assert not margins.any(), "a caption is wider than its picture"
    with pytest.raises(ValueError, match="captions: expected 5, one a picture, got 1"):
        captioned_grid(pictures, ["x"], 3)


# PNG


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1), (6, 7, 3)])
def test_png_holds_the_picture(tmp_path, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = picture.reshape(shape[:2]) if shape[-1] == 1 else picture
    save_png(tmp_path / "bytes.png", picture)
    save_png(tmp_path / "floats.png", picture / np.float32(255))
    save_png(str(tmp_path / "large.png"), picture, scale=3)
    assert np.array_equal(read(tmp_path / "bytes.png"), expected)
    assert np.array_equal(read(tmp_path / "floats.png"), expected)
    assert np.array_equal(read(tmp_path / "large.png"), np.kron(expected, ones(expected.ndim)))


def ones(axes: int) -> np.ndarray:
    return np.ones((3, 3, 1)[:axes], np.uint8)


def test_round_off_beyond_the_range_is_forgiven(tmp_path):
    save_png(tmp_path / "a.png", np.array([[-1e-6, 1 + 1e-6]]))
    assert read(tmp_path / "a.png").tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (np.full((4, 4), -0.5), ValueError, r"image must lie in \[0, 1\], .*-0.5 .* use to_uint8"),
        (np.full((4, 4), 200.0), ValueError, "range from 200 to 200"),
        (np.full((4, 4), np.nan), ValueError, "nan"),
        (np.zeros((4, 4), int), TypeError, "image must be uint8 or floats"),
        (np.zeros((4, 4), bool), TypeError, "got bool"),
        (np.zeros(4), ValueError, "image must be"),
        (np.zeros((4, 4, 2)), ValueError, r"got \(4, 4, 2\)"),
        (np.zeros((1, 4, 4, 1)), ValueError, "image must be"),
        (np.zeros((0, 4)), ValueError, "image must be"),
        ([[0.0]], TypeError, "image must be a NumPy array, got list"),
    ],
)
def test_png_refuses_and_leaves_nothing(tmp_path, picture, error, message):
    with pytest.raises(error, match=message):
        save_png(tmp_path / "a.png", picture)
    assert list(tmp_path.iterdir()) == []


def test_scale_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="scale must be at least 1, got 0"):
        save_png(tmp_path / "a.png", np.zeros((2, 2)), scale=0)


# GIF


def ramp(count: int, shape=(8, 8, 1)) -> list[np.ndarray]:
    return [np.full(shape, i / count, np.float32) for i in range(count)]


def test_gif_holds_its_frames_and_its_last_one_longer(tmp_path):
    frames = ramp(5)
    save_gif(tmp_path / "a.gif", frames, fps=25, hold=1.5, scale=2)
    seen, durations = read_gif(tmp_path / "a.gif")
    assert durations == [40, 40, 40, 40, 1500]
    for frame, picture in zip(frames, seen, strict=True):
        assert picture.shape == (16, 16, 3)
        assert abs(picture / 255 - frame.mean()).max() <= 0.5 / 15 + 0.01  # 16 greys
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0


def test_gif_of_an_array_of_bytes(tmp_path):
    frames = np.zeros((4, 6, 5), np.uint8)
    frames[np.arange(4), np.arange(4)] = 255
    save_gif(tmp_path / "a.gif", frames)
    seen, _ = read_gif(tmp_path / "a.gif")
    assert np.array_equal(np.stack(seen)[..., 0], frames)


def test_gif_in_colour_without_flicker(tmp_path):
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[:, :, :4] = 250, 10, 60
    frames[np.arange(3), np.arange(3), 6] = 20, 180, 90
    save_gif(tmp_path / "a.gif", frames)
    seen, _ = read_gif(tmp_path / "a.gif")
    assert abs(np.stack(seen).astype(int) - frames).max() <= 2
    assert (np.stack(seen)[:, :, :4] == seen[0][0, 0]).all()


def test_gif_of_a_single_frame(tmp_path):
    save_gif(tmp_path / "a.gif", ramp(1), hold=0)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (8, 8)


def test_gif_of_noise_is_small(tmp_path):
    """Four bits a pixel and what LZW adds to noise, instead of eight and that."""
    noise = np.random.default_rng(0).random((20, 64, 64))
    save_gif(tmp_path / "a.gif", noise)
    assert (tmp_path / "a.gif").stat().st_size < 0.75 * noise.size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": []}, "frames is empty"),
        ({"frames": [np.zeros((4, 4)), np.zeros((4, 5))]}, r"frames\[1\] is \(4, 5\)"),
        ({"frames": [np.zeros((4, 4)), np.full((4, 4), 2.0)]}, r"frames\[1\] must lie in"),
        ({"fps": 0}, "fps must lie"),
        ({"fps": 60}, "fps must lie"),
        ({"hold": -1}, "hold must not be negative"),
        ({"scale": 0}, "scale must be at least 1"),
    ],
)
def test_gif_refuses_and_leaves_nothing(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        save_gif(tmp_path / "a.gif", **{"frames": ramp(2), **arguments})
    assert list(tmp_path.iterdir()) == []


# Writing


def test_missing_folders_are_made(tmp_path):
    save_png(tmp_path / "runs" / "first" / "a.png", np.zeros((2, 2)))
    assert (tmp_path / "runs" / "first" / "a.png").is_file()


def test_importing_pictures_and_data_is_cheap():
    """Pillow, tqdm and urllib wait until a function needs them (whatever tinydiff itself does)."""
    code = """if True:
        import sys, types
        package = types.ModuleType("tinydiff")
        package.__path__ = [sys.argv[1]]
        sys.modules["tinydiff"] = package
        import tinydiff.images, tinydiff.data
        print({"PIL", "tqdm", "urllib.request", "http.client"} & set(sys.modules))
    """
    package = Path(__file__).parents[1] / "tinydiff"
    command = [sys.executable, "-c", code, str(package)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("side", [96, 128, 192])
def test_no_caption_is_wider_than_its_picture(side):
    """Not a letter touches the sides, which is where it would be cut off."""
    captions = [
        "a blue square above a red cross",
        "a green triangle right of a yellow heart",
        "a yellow cross left of a white circle",
    ]
    for caption in captions:
        table = captioned_grid(np.zeros((1, side, side, 3), np.uint8), [caption], 1, scale=1)
        below = table[2 + side :, 2:-2]
        assert below.shape[1] == side and below.any()
        assert not below[:, 0].any() and not below[:, -1].any(), caption
