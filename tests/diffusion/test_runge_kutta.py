"""Dormand–Prince: equations whose solutions are known, order five, and steps that fit the error."""

import itertools
import math

import numpy as np
import pytest

from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion.runge_kutta import A, C, E, dormand_prince


def solve(f, y, start, end, **tolerances):
    """The last y, and how often f was asked."""
    asked = [0]

    def counted(t, y):
        asked[0] += 1
        return f(t, y)

    *_, (t, y) = dormand_prince(
        counted, asarray(np.asarray(y, np.float64)), start, end, **tolerances
    )
    assert t == end
    return to_numpy(y), asked[0]


def spin(t, y):
    """A point that goes round in a circle."""
    return xp.stack([-y[1], y[0]])


KNOWN = {  # f, y at the start, start, end, y at the end
    "decay": (lambda t, y: -3 * y, [1.0, -2.0], 0, 2, np.exp(-6) * np.array([1, -2])),
    "growth, backwards": (lambda t, y: -y, [np.exp(-2)], 2, 0, [1.0]),
    "circle": (spin, [1.0, 0.0], 0, 2 * math.pi, [1.0, 0.0]),
    "of t alone": (lambda t, y: 0 * y + math.cos(t), [0.0], -1, 3, [math.sin(3) + math.sin(1)]),
    "logistic": (lambda t, y: y * (1 - y), [0.01], 0, 9, [1 / (1 + 99 * math.exp(-9))]),
    "at rest": (lambda t, y: 0 * y, [5.0], 0, 1, [5.0]),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-10])
def test_known_solutions(name, tolerance):
    f, y, start, end, expected = KNOWN[name]
    got, _ = solve(f, y, start, end, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(got, expected, rtol=0, atol=30 * tolerance)


def test_the_error_follows_the_tolerance_with_the_fifth_order():
    """A hundred thousand times smaller an error for ten times the steps."""
    errors, asked = [], []
    for tolerance in (1e-5, 1e-10):
        y, n = solve(spin, [1.0, 0.0], 0, 20, rtol=tolerance, atol=tolerance)
        errors.append(np.abs(y - [math.cos(20), math.sin(20)]).max())
        asked.append(n)
    order = math.log(errors[0] / errors[1]) / math.log(asked[1] / asked[0])
    assert errors[1] < 1e-8
    assert 4.7 < order < 5.3, order


def test_the_table_meets_the_conditions_of_its_orders():
    """b integrates t⁰ … t⁴ exactly; b − e, which is of order four, t⁰ … t³ and not t⁴."""
    b, c, e = np.array([*A[-1], 0]), np.array(C), np.array(E)
    for row, place in zip(A, C, strict=True):
        assert sum(row) == pytest.approx(place, abs=1e-14)
    for power in range(5):
        assert b @ c**power == pytest.approx(1 / (power + 1), abs=1e-14)
        assert (abs(e @ c**power) < 1e-14) == (power < 4)
    inner = np.array([sum(a * C[j] ** 3 for j, a in enumerate(row)) for row in A])
    assert b @ inner == pytest.approx(1 / 20, abs=1e-14), "one of the trees of order five"


def test_a_step_costs_six_evaluations():
    steps = list(dormand_prince(spin, asarray([1.0, 0.0], np.float64), 0, 3))
    _, asked = solve(spin, [1.0, 0.0], 0, 3)
    assert asked == 2 + 6 * len(steps), "two for the first step's length, none was refused"
    times = [0, *(t for t, _ in steps)]
    assert all(a < b for a, b in itertools.pairwise(times))


def test_a_jump_is_met_with_short_steps():
    f = lambda t, y: 0 * y + (1.0 if t < 0.3 else -50.0)
    path = list(dormand_prince(f, asarray([0.0], np.float64), 0, 1, rtol=1e-6, atol=1e-6))
    times = np.array([t for t, _ in path])
    assert float(path[-1][1][0]) == pytest.approx(0.3 - 35, abs=1e-3)
    lengths = np.diff(times)
    assert lengths.max() > 1000 * lengths[np.abs(times[1:] - 0.3).argmin()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_path_keeps_dtype_shape_and_what_it_was_given(dtype):
    y = asarray(np.linspace(0, 1, 12).reshape(3, 2, 2).astype(dtype))
    before, frames, copies = to_numpy(y).copy(), [], []
    for _, frame in dormand_prince(lambda t, y: -y, y, 0, 1):
        assert frame.dtype == dtype and frame.shape == y.shape
        frames.append(frame)
        copies.append(to_numpy(frame).copy())
    np.testing.assert_array_equal(np.stack([to_numpy(f) for f in frames]), copies)
    np.testing.assert_array_equal(to_numpy(y), before)


@pytest.mark.parametrize("f", [lambda t, y: y * y, lambda t, y: y * math.nan], ids=["pole", "nan"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_cannot_be_solved_is_said(f):
    """y' = y² has a pole at t = 1."""
    with pytest.raises(ArithmeticError, match=r"t = .*no step is short enough"):
        solve(f, [1.0], 0, 2)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (dict(y=[1]), TypeError, "y: .*int64"),
        (dict(start=1), ValueError, "start, end: .*1 and 1"),
        (dict(end=math.inf), ValueError, "start, end: .*inf"),
        (dict(rtol=-1), ValueError, "rtol, atol: .*-1"),
        (dict(atol=0), ValueError, "rtol, atol: .*0"),
        (dict(atol=math.nan), ValueError, "rtol, atol: .*nan"),
    ],
)
def test_refuses(given, error, message):
    settings = dict(y=[1.0], start=0, end=1) | given
    with pytest.raises(error, match=message):
        next(dormand_prince(lambda t, y: y, **settings | {"y": np.array(settings["y"])}))
