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


def test_points_over_a_density():
    """Of points on a line, and a density that grows to the right: dark there, and points on top."""
    figure = plots.new_figure(4, 4)
    axes = figure.subplots()
    points = np.stack([np.linspace(-2, 2, 50), np.ones(50)], axis=1)
    grows = lambda x: (x[:, 0] + 2) ** 2
    plots.draw_points(axes, points, grows, 2.0, colours="#ff0000", size=9.0, cells=31)
    heat = axes.images[0].get_array()
    np.testing.assert_allclose(heat, np.broadcast_to(np.linspace(0, 4, 31), (31, 31)), atol=1e-12)
    assert axes.get_xlim() == axes.get_ylim() == (-2, 2)
    picture = plots.pixels(figure, dpi=100).astype(int)
    rows, _ = np.nonzero((picture == [255, 0, 0]).all(axis=2))
    assert len(rows) > 100 and rows.max() < 200, "in the upper half, where y is 1"


def test_what_was_taken_for_what(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "save_figure", lambda path, figure: drawn.append(figure))
    counts = np.array([[90, 10, 0], [0, 5, 0], [0, 0, 0]])
    plots.save_confusion(tmp_path / "a.png", counts, ["cat", "dog", "none"])
    (axes,) = drawn[0].axes
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares, [[0.9, 0.1, 0], [0, 1, 0], [0, 0, 0]])
    written = {(t.get_position(), t.get_text()) for t in axes.texts}
    assert written == {((0, 0), "90"), ((1, 0), "10"), ((1, 1), "5")}, "x is what was said"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["cat", "dog", "none"]


def test_panels_show_lines_that_agree_and_their_errors(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "save_figure", lambda path, figure: drawn.append(figure))
    lines = {"one": [(0.1, 0.01), (0.5, 0.02)], "same": [(0.1, 0.01), (0.5, 0.02)]}
    panels = {"agreement": lines, "recall": {"one": lines["one"]}}
    plots.save_panels(tmp_path / "a.png", (1.0, 9.0), panels, xlabel="w")
    left, right = drawn[0].axes
    assert [left.get_title(), right.get_title()] == list(panels)
    one, same = (bars.lines[0].get_xydata() for bars in left.containers)
    assert np.array_equal(one[:, 1], [0.1, 0.5]) and np.array_equal(one[:, 1], same[:, 1])
    assert np.all(one[:, 0] < same[:, 0]) and np.abs(one[:, 0] - [1, 9]).max() < 0.2
    (bars,) = left.containers[0].lines[2]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[0.09, 0.11], [0.48, 0.52]])


def test_curves(tmp_path):
    plots.save_curves(tmp_path / "loss.png", {"loss": [3, 2, 1.5]}, title="a title")
    with Image.open(tmp_path / "loss.png") as image:
        assert image.size == (840, 480)


def test_a_map_of_a_plane():
    """Its rows go upwards, the line is where the sign changes, and what is veiled is paler."""
    u, v = np.linspace(0, 1, 41), np.linspace(0, 2, 81)
    picture = np.ones((81, 41, 3))
    picture[:40] = [1, 0, 0]  # the lower half is red
    ahead = np.broadcast_to(u - 0.625, (81, 41))
    veiled = np.broadcast_to(u > 0.9, (81, 41))

    def drawn(*veiled):
        figure = plots.new_figure(2, 4)
        figure.set_layout_engine("none")
        axes = figure.add_axes([0, 0, 1, 1])
        plots.draw_map(axes, u, v, picture, [ahead, np.ones((81, 41))], *veiled)
        axes.set_axis_off()
        return plots.pixels(figure, dpi=100).astype(int)

    shown = drawn()
    assert (shown[-50, 40] == [255, 0, 0]).all() and (shown[50, 40] == 255).all()
    dark = np.flatnonzero(shown[100].sum(axis=1) < 300)
    assert len(dark) and abs(dark.mean() - 0.625 * 200) < 3
    (pale,) = {tuple(pixel) for pixel in drawn(veiled)[-50:-40, -8:].reshape(-1, 3)}
    assert pale[0] == 255 and 120 < pale[1] < 180


@pytest.mark.parametrize("channels", [1, 3])
def test_an_inset_lies_at_its_place_upright_and_framed(channels):
    figure = plots.new_figure(2, 2)
    figure.set_layout_engine("none")
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set(xlim=(0, 10), ylim=(0, 10))
    picture = np.full((4, 4, channels), 0.6)
    picture[:2] = 0.2  # the upper half is darker
    plots.draw_inset(axes, (7, 2), 2, picture, [1.0, 0, 0])
    axes.set_axis_off()
    shown = plots.pixels(figure, dpi=100).astype(int)
    assert (shown[155, 140] == 51).all() and (shown[165, 140] == 153).all()
    assert (shown[160, 121] == [255, 0, 0]).all() and (shown[100, 140] == 255).all()
