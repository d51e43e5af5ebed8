"""Balls: how far, which way, how to begin, and how to stay inside."""

import math

import numpy as np
import pytest

from tinydiff.adversarial.ball import drawn_within, length, project, projection, steepest
from tinydiff.backend import asarray, to_numpy, xp


def test_projection_is_the_nearest_point_of_the_ball(rng):
    x = asarray(rng.uniform(0.3, 0.7, (50, 4, 4, 1)))
    z = x + asarray(rng.standard_normal(x.shape) * 0.2)
    for norm, eps in ((2, 0.25), (math.inf, 0.1)):
        p = project(z, x, eps, norm)
        for _ in range(20):
            other = drawn_within(x, eps, norm, rng)
            assert (to_numpy(length(z - p, 2)) <= to_numpy(length(z - other, 2))).all()
        inside = x + (z - x) * 1e-3
        np.testing.assert_allclose(to_numpy(project(inside, x, eps, norm)), to_numpy(inside))


def test_projection_rounds_towards_the_picture(rng):
    """0.3 in float32 is more than 0.3, and so are many sums with it."""
    x = asarray(rng.random((20, 9, 9, 1), np.float32))
    for sign in (1, -1):
        p = project(x + np.float32(sign), x, 0.3, math.inf)
        d = to_numpy(p).astype(np.float64) - to_numpy(x)
        assert (np.abs(d) <= 0.3).all()
        reached = (to_numpy(p) > 0) & (to_numpy(p) < 1)
        np.testing.assert_allclose(d[reached], sign * 0.3, atol=1.2e-7)


@pytest.mark.parametrize("norm", [2, math.inf])
def test_many_projections_into_one_ball(norm, rng):
    """The same bits as one by one: inside, outside, and at the ends of [0, 1]."""
    x = asarray(rng.random((20, 9, 9, 1), np.float32).round(1))
    back = projection(x, 0.3, norm)
    for spread in (0.1, 1):
        z = x + asarray(np.float32(spread) * rng.standard_normal(x.shape, np.float32))
        got, wanted = to_numpy(back(z)), to_numpy(project(z, x, 0.3, norm))
        np.testing.assert_array_equal(got, wanted, strict=True)


def test_the_steepest_step_gains_most(rng):
    g = asarray(rng.standard_normal((1, 4, 4, 1)))
    for norm in (2, math.inf):
        best = float((g * steepest(g, norm)).sum())
        assert float(length(steepest(g, norm), norm).max()) == pytest.approx(1)
        for _ in range(100):
            d = asarray(rng.standard_normal(g.shape))
            assert float((g * d / length(d, norm)).sum()) < best
        assert not to_numpy(steepest(xp.zeros_like(g), norm)).any()


def test_starts_fill_the_ball(rng):
    x = xp.full((4000, 2, 2, 1), 0.5)
    far = to_numpy(length(drawn_within(x, 0.2, 2, rng) - x, 2)) / 0.2
    # The share within radius r is r⁴ in four dimensions: its mean is 4/5.
    assert far.mean() == pytest.approx(4 / 5, abs=0.01) and far.max() <= 1
    d = to_numpy(drawn_within(x, 0.2, math.inf, rng) - x) / 0.2
    assert np.abs(d).max() <= 1 and d.var() == pytest.approx(1 / 3, abs=0.01)
