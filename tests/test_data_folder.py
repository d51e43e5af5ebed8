"""A folder of pictures of every kind becomes bytes of one size; bad files are named, not fatal."""

import numpy as np
import PIL
import pytest
from PIL import Image

from tinydiff.data import image_folder

RED, GREEN, BLUE, GREY, WHITE, BLACK = (
    (220, 30, 40),
    (20, 200, 60),
    (30, 50, 210),
    (119, 119, 119),
    (255, 255, 255),
    (0, 0, 0),
)


def plain(color, size=(40, 40), mode="RGB") -> Image.Image:
    return Image.new("RGB", size, color).convert(mode)


def only(folder, **settings) -> np.ndarray:
    data = image_folder(folder, **settings)
    assert len(data) == 1
    return data.images[0]


def close(picture, color, tolerance=3) -> bool:
    return bool((abs(picture.astype(int) - np.array(color)) <= tolerance).all())


# Pillow before 13 writes these as TIFF, and says that what it wrote is broken.
READ_AGAIN = " YCbCr" if int(PIL.__version__.partition(".")[0]) >= 13 else ""


@pytest.mark.parametrize(
    ("extension", "modes"),
    [
        ("png", "RGB RGBA P"),
        ("jpg", "RGB CMYK YCbCr"),
        ("gif", "RGB RGBA P"),
        ("webp", "RGB RGBA P CMYK YCbCr"),
        ("tiff", "RGB RGBA P CMYK" + READ_AGAIN),
        ("bmp", "RGB RGBA P"),
    ],
)
def test_colour_survives_every_format_and_mode(tmp_path, extension, modes):
    for mode in modes.split():
        image = plain(RED).quantize(8) if mode == "P" else plain(RED, mode=mode)
        image.save(tmp_path / f"{mode}.{extension}", quality=95)
    pictures = image_folder(tmp_path).images
    assert len(pictures) == len(modes.split())
    assert all(close(picture, RED, 8 if extension == "webp" else 4) for picture in pictures)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "I;16", "I", "F"])
def test_grey_modes_of_every_depth(tmp_path, mode):
    values = np.repeat(np.linspace(0, 1, 32)[None], 32, axis=0)
    if mode == "I;16":
        image = Image.fromarray((values * 65535).astype(np.uint16))
    elif mode == "I":
        image = Image.fromarray((values * 65535).astype(np.int32))
    elif mode == "F":
        image = Image.fromarray(values.astype(np.float32))
    else:
        image = Image.fromarray((values * 255).astype(np.uint8))
    if mode == "1":
        image, values = image.point(lambda v: 255 * (v > 127), "1"), values > 0.5
    elif mode.upper() == "LA":
        image = image.convert("LA")
    image.save(tmp_path / "a.tiff")
    assert close(only(tmp_path), 255 * values[..., None].repeat(3, axis=-1), 1)
    assert close(only(tmp_path, grey=True), 255 * values[..., None], 1)


def test_a_png_of_16_bits(tmp_path):
    values = np.full((32, 32), 200 * 257, np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert close(only(tmp_path), (200, 200, 200), 0)


def test_a_dark_picture_of_16_bits_stays_dark(tmp_path):
    Image.fromarray(np.full((32, 32), 250, np.uint16)).save(tmp_path / "a.png")
    assert close(only(tmp_path), (1, 1, 1), 0)


def test_floats_of_bytes(tmp_path):
    Image.fromarray(np.full((32, 32), 200, np.float32)).save(tmp_path / "a.tiff")
    assert close(only(tmp_path), (200, 200, 200), 0)


def test_transparency_lies_on_white(tmp_path):
    image = Image.new("RGBA", (32, 32), (*RED, 255))
    image.paste((0, 0, 0, 0), (0, 0, 16, 32))
    image.save(tmp_path / "a.png")
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([*BLACK, *RED])
    palette.paste(0, (0, 0, 16, 32))
    palette.save(tmp_path / "b.png", transparency=0)
    for picture in image_folder(tmp_path).images:
        assert close(picture[:, :12], WHITE)
        assert close(picture[:, 20:], RED)


def test_rotation_by_exif_is_undone(tmp_path):
    upright = plain(BLUE)
    upright.paste(RED, (0, 0, 40, 20))  # red above, blue below
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise for display
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=exif, quality=95)
    picture = only(tmp_path)
    assert close(picture[:12], RED, 12)
    assert close(picture[20:], BLUE, 12)


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [plain(color) for color in (GREEN, RED, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert all(close(picture, GREEN) for picture in image_folder(tmp_path).images)


@pytest.mark.parametrize("size", [(90, 30), (30, 90)])
def test_the_centre_is_cut_out(tmp_path, size):
    image = plain(RED, size)
    left, top = (size[0] - 30) // 2, (size[1] - 30) // 2
    image.paste(GREEN, (left, top, left + 30, top + 30))
    image.save(tmp_path / "a.png")
    assert close(only(tmp_path, size=10), GREEN, 0)


def test_reduction_averages_instead_of_dropping_pixels(tmp_path):
    checks = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "a.png")
    picture = only(tmp_path, size=16)[3:-3, 3:-3]
    assert close(picture, (127.5, 127.5, 127.5), 3)


def test_a_large_photograph_is_as_exact_as_a_small_one(tmp_path):
    """JPEGs are decoded at a fraction of their size: no colour may shift by it."""
    y, x = np.mgrid[:1200, :1600]
    photo = np.stack([x / 1600 * 255, y / 1200 * 255, 128 + 0 * x], axis=-1).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=95)
    x = (np.arange(32) + 0.5) / 32
    expected_red = (200 + 1200 * x) / 1600 * 255
    picture = only(tmp_path).astype(float)
    assert abs(picture[:, :, 0] - expected_red).max() < 4
    assert abs(picture[:, :, 1] - (255 * x)[:, None]).max() < 4
    assert abs(picture[:, :, 2] - 128).max() < 3


def test_one_pixel(tmp_path):
    plain(RED, (1, 1)).save(tmp_path / "a.png")
    assert only(tmp_path, size=5).shape == (5, 5, 3)
    assert close(only(tmp_path, size=5), RED, 0)


def test_sub_folders_are_classes(tmp_path):
    for name, color in (("zebra", RED), ("ant/deep/er", GREEN), ("ant", BLUE)):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        plain(color).save(tmp_path / name / "1.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    plain(RED).save(tmp_path / ".hidden" / "1.png")
    plain(RED).save(tmp_path / "ant" / "._1.png")
    data = image_folder(tmp_path)
    assert data.classes == ("ant", "zebra")
    assert data.labels.tolist() == [0, 0, 1]
    colors = [BLUE, GREEN, RED]  # ant/1.png comes before ant/deep/er/1.png
    assert all(close(*pair) for pair in zip(data.images, colors, strict=True))
    assert data.name == tmp_path.name


def test_without_sub_folders_there_are_no_labels_and_names_give_the_order(tmp_path):
    for name, color in (("c", RED), ("a", GREEN), ("b", BLUE)):
        plain(color).save(tmp_path / f"{name}.png")
    data = image_folder(tmp_path)
    assert data.labels is None
    assert data.classes == ()
    assert all(close(*pair) for pair in zip(data.images, (GREEN, BLUE, RED), strict=True))


def test_unreadable_files_are_named_and_skipped(tmp_path):
    plain(RED).save(tmp_path / "good.png")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    noise.save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "whole.png").unlink()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "crooked.png").write_bytes(content[:60] + b"\xff" * 40 + content[100:])
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped 4 files") as caught:
        assert close(only(tmp_path), RED)
    (message,) = [str(warning.message) for warning in caught]
    for name in ("cut.png", "crooked.png", "notes.txt (no picture)", "empty.jpg (no picture)"):
        assert name in message
    assert caught[0].filename == __file__


def test_many_unreadable_files_are_counted(tmp_path):
    plain(RED).save(tmp_path / "good.png")
    for i in range(30):
        (tmp_path / f"bad{i:02}.png").write_text("")
    with pytest.warns(UserWarning, match=r"skipped 30 files: bad00.* bad19.png .* and 10 more"):
        image_folder(tmp_path)


def test_a_class_without_a_readable_picture_is_no_class(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        plain(RED).save(tmp_path / name / "1.png")
    (tmp_path / "b" / "1.png").write_text("")
    with pytest.warns(UserWarning, match=r"b/1.png"):
        data = image_folder(tmp_path)
    assert data.classes == ("a", "c")
    assert data.labels.tolist() == [0, 1]


def test_files_beside_the_classes_are_named_and_skipped(tmp_path):
    (tmp_path / "a").mkdir()
    plain(RED).save(tmp_path / "a" / "1.png")
    plain(GREEN).save(tmp_path / "stray.png")
    with pytest.warns(UserWarning, match=r"stray.png \(beside the folders of the classes\)"):
        assert close(only(tmp_path), RED)


@pytest.mark.parametrize("limit", [1000, 2500])  # Pillow refuses at twice its limit, else warns
def test_decompression_bombs_are_named_and_skipped(tmp_path, monkeypatch, limit):
    plain(RED, (10, 10)).save(tmp_path / "good.png")
    plain(RED, (60, 60)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.warns(UserWarning, match=r"skipped 1 files: bomb.png \(.*decompression bomb"):
        assert close(only(tmp_path), RED)


def test_refuses(tmp_path):
    with pytest.raises(ValueError, match="holds no picture"):
        image_folder(tmp_path)
    with pytest.raises(NotADirectoryError, match="path must be a folder"):
        image_folder(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no picture")
    with (
        pytest.warns(UserWarning, match=r"notes.txt \(no picture\)"),
        pytest.raises(ValueError, match="holds no picture"),
    ):
        image_folder(tmp_path)
    plain(RED).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        image_folder(tmp_path, 0)
    with pytest.raises(NotADirectoryError):
        image_folder(tmp_path / "a.png")
