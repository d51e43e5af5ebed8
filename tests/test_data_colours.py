"""Colours are those of their names, and textures stay between their two shades."""

import colorsys
import itertools

import numpy as np
import pytest

from tinydiff.data.colours import COLOURS, background, contrast, shades
from tinydiff.data.textures import TEXTURES

HUES = {"red": 0, "orange": 30, "yellow": 52, "green": 130, "blue": 220, "purple": 275, "pink": 330}


def mixtures(name):
    dark, light = np.array(COLOURS[name]) / 255
    return [dark + share * (light - dark) for share in np.linspace(0, 1, 9)]


@pytest.mark.parametrize("name", COLOURS)
def test_every_shade_bears_the_name(name):
    for colour in mixtures(name):
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        if name == "white":
            assert saturation < 0.05 and value > 0.85
        elif name == "black":
            assert value < 0.2
        else:
            away = (360 * hue - HUES[name] + 180) % 360 - 180
            assert abs(away) < 12
            assert saturation > (0.25 if name == "pink" else 0.55)
            assert value > 0.4


def test_no_shade_could_bear_two_names():
    for one, other in itertools.combinations(COLOURS, 2):
        nearest = min(
            np.linalg.norm(a - b) for a, b in itertools.product(mixtures(one), mixtures(other))
        )
        assert nearest > 0.2, (one, other)


def test_shades_are_two_where_they_make_a_pattern(rng):
    for name, (dark, light) in COLOURS.items():
        first, second = shades(rng, name, patterned=True)
        assert (first >= dark).all() and (second <= light).all()
        assert np.linalg.norm(second - first) >= 0.19 * np.linalg.norm(np.subtract(light, dark))
        first, second = shades(rng, name, patterned=False)
        assert np.array_equal(first, second)


def test_backgrounds_are_tinted_greys(rng):
    for _ in range(200):
        fill = background(rng)
        assert fill.dtype == np.float32 and fill.min() >= 0 and fill.max() <= 255
        assert np.ptp(fill, axis=1).max() < 80


def test_contrast_asks_for_all_shades():
    dark, light = np.zeros((2, 3)), np.full((2, 3), 200.0)
    assert contrast(dark, light) and contrast(light, dark)
    assert not contrast(dark, dark)
    assert not contrast(dark, np.array([[200.0] * 3, [40.0] * 3]))


@pytest.mark.parametrize("texture", TEXTURES, ids=lambda texture: texture.__name__)
def test_textures_mix_two_shades_and_are_not_flat(texture, rng):
    x, y = np.meshgrid(np.arange(-60, 60, dtype=np.float32), np.arange(80, dtype=np.float32))
    share = texture(x, y, 7.3, rng)
    assert share.shape == x.shape and share.dtype == np.float32
    assert share.min() >= 0 and share.max() <= 1
    assert (np.ptp(share) > 0.5) == (texture.__name__ != "plain")
    if texture.__name__ in ("stripes", "checks"):  # as much of the one as of the other
        assert share.mean() == pytest.approx(0.5, abs=0.05)
