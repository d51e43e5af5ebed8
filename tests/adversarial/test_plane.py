"""Planes: geometry that is known, and what an affine network says on them."""

import numpy as np
import pytest
from attacked_nets import affine

from tinydiff import adversarial
from tinydiff.adversarial import Map, Plane, map_of
from tinydiff.adversarial.network import logits_of
from tinydiff.backend import asarray, to_numpy

SHAPE = 4, 3, 2
COLOURS = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])


def three(rng):
    return rng.random((3, *SHAPE))


def through(a, b, c):
    return Plane(a, b - a, c - a)


def test_three_pictures_lie_at_their_coordinates(rng):
    x = three(rng)
    plane = through(*x)
    at = plane.coordinates(x)
    np.testing.assert_allclose(plane.pictures(at, np.float64), x, atol=1e-14)
    np.testing.assert_allclose(at[0], 0, atol=1e-15)
    assert at[1, 0] > 0 == round(at[1, 1], 14) and at[2, 1] > 0
    assert plane.holds(at).all()
    assert plane.pictures(at).dtype == np.float32


def test_distances_in_the_plane_are_those_of_pictures(rng):
    plane = through(*three(rng))
    points = rng.standard_normal((20, 2))
    x = plane._at(points)
    for i in range(19):
        between = np.linalg.norm(x[i] - x[i + 1])
        assert between == pytest.approx(np.linalg.norm(points[i] - points[i + 1]))
    np.testing.assert_allclose(plane.coordinates(x), points, atol=1e-13)


def test_the_first_direction_is_kept_and_almost_parallel_ones_come_apart(rng):
    x = three(rng)
    way = rng.standard_normal(SHAPE)
    plane = Plane(x[0], way, way + 1e-5 * rng.standard_normal(SHAPE))
    np.testing.assert_allclose(plane.axes[0], way.ravel() / np.linalg.norm(way), atol=1e-14)
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(2), atol=1e-14)


def test_a_picture_beside_the_plane_has_the_nearest_place(rng):
    plane, x = through(*three(rng)), rng.random((1, *SHAPE))
    at = plane.coordinates(x)
    for step in 0.01 * rng.standard_normal((20, 2)):
        assert np.linalg.norm(plane._at(at) - x) < np.linalg.norm(plane._at(at + step) - x)


def test_what_leaves_the_cube_is_clipped_and_known(rng):
    grey = np.full(SHAPE, 0.5)
    ways = np.zeros((2, *SHAPE))
    ways[0, 0, 0, 0] = ways[1, 2, 1, 1] = 3.0
    plane = Plane(grey, *ways)
    points = np.array([[0.4, 0], [0.6, 0], [0, -0.6], [-0.5, 0.5]])
    np.testing.assert_array_equal(plane.holds(points), [True, False, False, True])
    x = plane.pictures(points, np.float64)
    np.testing.assert_allclose(x[:, 0, 0, 0], [0.9, 1, 0.5, 0])
    np.testing.assert_allclose(x[:, 2, 1, 1], [0.5, 0.5, 0, 1])
    triangle = through(*three(rng))
    corners = triangle.coordinates(triangle._at(np.array([[0.0, 0.0]])))
    assert triangle.holds(corners + 1e-9).all(), "rounding is no reason"


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (lambda d: (d, 2 * d), "expected two directions"),
        (lambda d: (d, 0 * d), "expected two directions"),
        (lambda d: (0 * d, d), "expected two directions"),
        (lambda d: (d, d * np.nan), "expected two directions"),
        (lambda d: (d, d[:2]), "expected one shape"),
        (lambda d: (d.ravel(), d.ravel()), "expected one shape"),
    ],
)
def test_refuses_what_spans_no_plane(directions, message, rng):
    with pytest.raises(ValueError, match=message):
        Plane(rng.random(SHAPE), *directions(rng.standard_normal(SHAPE)))


def test_refuses_what_lies_in_no_plane(rng):
    plane = through(*three(rng))
    with pytest.raises(ValueError, match=r"points: expected shape \(N, 2\), got \(2,\)"):
        plane.pictures(np.zeros(2))
    with pytest.raises(ValueError, match=r"pictures: expected shape \(N, \*\(4, 3, 2\)\)"):
        plane.coordinates(plane.origin)
    found = Map(np.arange(3.0), np.arange(2.0), np.zeros((2, 3, 2)), np.ones((2, 3), bool))
    with pytest.raises(ValueError, match=r"points: expected shape \(1, 2\), got \(2, 2\)"):
        found.nearest_other(np.zeros((2, 2)), np.zeros(1, int))
    with pytest.raises(ValueError, match=r"colours: expected shape \(2, 3\), got \(1, 3\)"):
        found.coloured(COLOURS[:1])
    for u in (np.zeros(1), np.zeros((2, 2)), np.zeros(0)):
        with pytest.raises(ValueError, match="u, v: expected two places or more each"):
            map_of(plane, lambda x: x, u, np.arange(3.0))


def test_the_map_of_an_affine_network_is_bounded_by_a_line(rng):
    model, weight, _ = affine(rng, classes=2, shape=SHAPE)
    plane = through(*(0.5 + 0.1 * rng.standard_normal((3, *SHAPE))))
    first, second = to_numpy(logits_of(model, asarray(plane.origin[None])))[0]
    model.linear.bias.data[0] += second - first  # a tie
    u, v = np.linspace(-0.2, 0.2, 9), np.linspace(-0.1, 0.1, 5)
    found = map_of(plane, lambda x: adversarial.probabilities(model, x.astype(float)), u, v)
    assert found.shares.shape == (5, 9, 2) and found.inside.all()
    np.testing.assert_allclose(found.shares.sum(axis=-1), 1, atol=1e-6)
    slope = plane.axes @ (weight[:, 0] - weight[:, 1])
    logit = u[None] * slope[0] + v[:, None] * slope[1]
    np.testing.assert_allclose(found.shares[..., 0], 1 / (1 + np.exp(-logit)), atol=1e-5)
    np.testing.assert_allclose(found.ahead(0), -found.ahead(1))
    off = np.abs(logit) > 1e-6
    assert ((found.ahead(0) > 0) == (logit > 0))[off].all()


def test_the_nearest_place_of_another_class():
    u, v = np.linspace(0, 1, 101), np.linspace(0, 2, 201)
    shares = np.zeros((201, 101, 3))
    shares[..., 1] = 1
    shares[:, :50, 0] = 2  # class 0 up to u = 0.49
    shares[150:, :50, 2] = 3  # class 2 there, from v = 1.5 on
    found = Map(u, v, shares, np.ones((201, 101), bool))
    points = np.array([[0.1, 0.3], [0.4, 1.45], [0.9, 1.7], [0.9, 1.7], [0.494, 0], [1.5, 0.3]])
    got = found.nearest_other(points, np.array([0, 0, 1, 2, 0, 1]))
    wanted = [[0.5, 0.3], [0.4, 1.5], [0.49, 1.7], [0.9, 1.7], [0.5, 0], [0.49, 0.3]]
    np.testing.assert_allclose(got, wanted, atol=1e-12)
    inside = np.array([[0.496, 0.3]])  # of the first place of class 1
    np.testing.assert_array_equal(found.nearest_other(inside, np.array([0])), inside)
    shares[..., 0] = 9
    assert np.isnan(found.nearest_other(points[:1], np.array([0]))).all()


def test_colours_are_those_of_classes_and_darker_where_it_is_sure():
    shares = np.array([[[1 / 3, 1 / 3, 1 / 3], [1.0, 0, 0]], [[0.1, 0.8, 0.1], [0, 1.0, 0]]])
    found = Map(np.arange(2), np.arange(2), shares, np.ones((2, 2), bool))
    picture = found.coloured(COLOURS)
    assert picture.shape == (2, 2, 3) and picture.min() >= 0 and picture.max() <= 1
    np.testing.assert_allclose(picture[0, 0], [1, 0.9, 0.9])
    np.testing.assert_allclose(picture[0, 1], [1, 0.4, 0.4])
    np.testing.assert_allclose(picture[1, 1], [0.4, 0.4, 1])
    assert 0.4 < picture[1, 0, 0] < 0.9
    np.testing.assert_allclose(found.ahead(1), [[0, -1], [0.7, 1]])
