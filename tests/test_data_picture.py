"""A picture in a file as bytes: all of it, resized, or a sentence that says why not."""

import numpy as np
import pytest
from PIL import Image

from tinydiff.data import image_folder, light_on_dark, read_picture, read_pixels, read_square


def halves(width, height) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), (220, 30, 40))
    image.paste((30, 50, 210), (width // 2, 0, width, height))
    return image


@pytest.mark.parametrize(
    ("size", "longest", "multiple", "shape"),
    [
        ((80, 40), 40, 1, (20, 40)),
        ((40, 80), 160, 1, (160, 80)),
        ((400, 300), 208, 16, (160, 208)),  # 156 pixels high would keep the proportions
        ((300, 1), 64, 16, (16, 64)),
        ((50, 50), 50, 1, (50, 50)),
        ((30, 20), 50, 16, (32, 48)),
    ],
)
def test_size(tmp_path, size, longest, multiple, shape):
    halves(*size).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", longest, multiple=multiple)
    assert picture.shape == (*shape, 3) and picture.dtype == np.uint8
    middle = shape[1] // 2
    assert (abs(picture[:, : middle - 4] - np.array((220, 30, 40))) < 4).all()
    assert (abs(picture[:, middle + 4 :] - np.array((30, 50, 210))) < 4).all()


def test_it_is_what_a_folder_has(tmp_path):
    halves(40, 40).convert("RGBA").save(tmp_path / "a.png")
    expected = image_folder(tmp_path, 24).images[0]
    np.testing.assert_array_equal(read_picture(str(tmp_path / "a.png"), 24), expected)


def test_grey_and_transparent_pictures(tmp_path):
    Image.new("L", (8, 8), 77).save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png", 8) == 77).all()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "b.png")
    assert (read_picture(tmp_path / "b.png", 8) == 255).all()


@pytest.mark.parametrize("grey", [False, True])
def test_the_middle_cut_out_square_is_what_a_folder_has(tmp_path, grey):
    halves(90, 40).save(tmp_path / "a.png")
    picture = read_square(tmp_path / "a.png", 20, grey=grey)
    assert picture.shape == (20, 20, 1 if grey else 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, image_folder(tmp_path, 20, grey=grey).images[0])
    assert abs(picture[:, :8].astype(int) - picture[0, 0]).max() < 4
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        read_square(tmp_path / "a.png", 0)


def test_grey_pictures_become_light_on_dark():
    dark = np.zeros((5, 6, 1), np.uint8)
    dark[2, 2] = 250
    assert light_on_dark(dark) is dark
    np.testing.assert_array_equal(light_on_dark(255 - dark), dark)


@pytest.mark.parametrize("read", [read_picture, read_square])
def test_what_cannot_be_read(read, tmp_path):
    halves(80, 80).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:90])
    (tmp_path / "text.png").write_text("hello")
    for name in ("cut", "text"):
        with pytest.raises(ValueError, match=rf"{name}\.png is not a picture that can be read"):
            read(tmp_path / f"{name}.png", 32)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.png", 32)
    with pytest.raises(IsADirectoryError):
        read(tmp_path, 32)


def test_a_picture_so_large_that_it_may_be_an_attack(tmp_path, monkeypatch):
    halves(80, 80).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80 * 79)
    with pytest.raises(ValueError, match=r"a picture that can be read: .* exceeds limit"):
        read_picture(tmp_path / "a.png", 32)


@pytest.mark.parametrize(("longest", "multiple"), [(0, 1), (16, 0), (15, 16)])
def test_refuses(tmp_path, longest, multiple):
    with pytest.raises(ValueError, match=f"multiple ≤ longest, got {multiple} and {longest}"):
        read_picture(tmp_path / "a.png", longest, multiple=multiple)


def test_pixels_as_they_are_in_the_file(tmp_path):
    """Also of a JPEG, which could be decoded smaller, and of what has no three channels."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png"), noise)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    assert read_pixels(tmp_path / "a.jpg").shape == noise.shape
    Image.fromarray(noise[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(
        read_pixels(tmp_path / "grey.png"), noise[..., :1].repeat(3, axis=2)
    )
    with pytest.raises(FileNotFoundError):
        read_pixels(tmp_path / "none.png")
