"""Figures: what is drawn on them arrives in files and arrays."""

import numpy as np
import pytest
from PIL import Image

from tinydiff import plots

pytest.importorskip("matplotlib", reason="the extra 'plots'")


def diagonal():
    figure = plots.new_figure(3, 2)
    figure.subplots().plot([0, 1], [0, 1], color="red", linewidth=5)
    return figure


def test_a_figure_as_a_file(tmp_path):
    plots.save_figure(tmp_path / "new" / "line.png", diagonal(), dpi=50)
    with Image.open(tmp_path / "new" / "line.png") as image:
        assert image.format == "PNG" and image.size == (150, 100)


def test_a_figure_as_an_array():
    picture = plots.pixels(diagonal(), dpi=100)
    assert picture.shape == (200, 300, 3) and picture.dtype == np.uint8
    red = (picture == [255, 0, 0]).all(axis=2)
    assert red.sum() > 500
    rows, columns = np.nonzero(red)
    assert np.corrcoef(rows, columns)[0, 1] < -0.9, "upwards to the right"
    np.testing.assert_array_equal(picture, plots.pixels(diagonal(), dpi=100))
    assert picture.flags.writeable


def test_curves(tmp_path):
    plots.save_curves(tmp_path / "loss.png", {"loss": [3, 2, 1.5]}, title="a title")
    with Image.open(tmp_path / "loss.png") as image:
        assert image.size == (840, 480)
