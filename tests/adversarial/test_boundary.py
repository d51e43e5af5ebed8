"""Distances to the boundary of an affine network, known in closed form, and of others by search."""

from functools import partial

import numpy as np
import pytest
from attacked_nets import Affine, affine, some_pictures, undecided, untrained

from tinydiff import adversarial, nn
from tinydiff.adversarial import crossing, distance_to_boundary
from tinydiff.backend import asarray, to_numpy

SHAPE = 3, 3, 2


def near_grey(rng, n=40):
    """An affine network, pictures whose boundaries are nearer than black and white, and how near"""
    model, weight, bias = affine(rng)
    x = 0.5 + 0.05 * rng.standard_normal((n, *SHAPE))
    bias = bias - (0.5 * weight.sum(axis=0) + bias)  # middle grey is seen as everything
    model.linear.bias.data[...] = asarray(bias)
    logits = x.reshape(n, -1) @ weight + bias
    first = logits.argmax(axis=1)
    far = np.full(n, np.inf)
    for k in range(weight.shape[1]):
        w = np.linalg.norm(weight[:, k, None] - weight[:, first], axis=0)
        ahead = logits[np.arange(n), first] - logits[:, k]
        far = np.minimum(far, np.divide(ahead, w, out=np.full(n, np.inf), where=first != k))
    return model, asarray(x), first, far


def test_of_an_affine_network_it_is_the_closed_form(rng):
    model, x, y, far = near_grey(rng)
    for tolerance in (1e-2, 1e-5):
        got = distance_to_boundary(model, x, y, tolerance=tolerance)
        assert got.dtype == np.float64 and got.shape == (40,)
        assert (got > far).all() and (got <= far + tolerance + 1e-9).all()
    assert np.ptp(far) > 0.05


def test_who_is_wrong_already_is_at_no_distance_and_who_cannot_be_fooled_at_an_infinite_one(rng):
    model, x, y, far = near_grey(rng)
    wrong = np.where(np.arange(40) < 5, (y + 1) % 5, y)
    got = distance_to_boundary(model, x, wrong)
    assert not got[:5].any() and np.allclose(got[5:], far[5:], atol=2e-4)
    model.linear.bias.data[2] = 1e4
    assert np.isinf(distance_to_boundary(model, x, np.full(40, 2))).all()


def test_it_is_an_upper_bound_and_where_another_class_begins(rng):
    x, _ = some_pictures(rng, 12)
    model, y = undecided(x)
    got = distance_to_boundary(model, x, y, tolerance=1e-5)
    ends = adversarial.deepfool(model, x, y)
    far = to_numpy(adversarial.ball.length(ends - x, 2)).reshape(-1)
    assert (got > 0).all() and (got <= far + 1e-6).all() and (got < far - 5e-5).any()
    way = (ends - x) / asarray(far.astype(np.float32))[:, None, None, None]
    for beyond, fooled in ((1e-5, True), (-3e-5, False)):
        there = x + asarray((got + beyond).astype(np.float32))[:, None, None, None] * way
        seen = adversarial.classes_seen(model, adversarial.moved(x, there - x))
        assert ((seen != y) == fooled).mean() > 0.8  # on the way there may be several boundaries


def half_grey(x):
    """1 from a mean of ½ on"""
    return to_numpy(x.mean(axis=(1, 2, 3)) >= 0.5).astype(int)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bisection_stops_behind_the_boundary(dtype, rng):
    x = rng.uniform(0, 0.4, (30, *SHAPE)).astype(dtype)
    white = np.ones_like(x)
    means = x.astype(np.float64).mean(axis=(1, 2, 3))
    exact = (0.5 - means) / (1 - means) * np.sqrt(((1.0 - x) ** 2).sum(axis=(1, 2, 3)))
    for tolerance in (0.3, 1e-2, 1e-5):
        got = crossing(half_grey, asarray(x), asarray(white), tolerance=tolerance)
        assert (got >= exact - 1e-6).all() and (got <= exact + tolerance + 1e-6).all()
    back = crossing(half_grey, asarray(white), asarray(x), tolerance=1e-5)
    whole = np.sqrt(((1.0 - x) ** 2).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(back, whole - exact, atol=2e-5)


def test_bisection_where_nothing_changes(rng):
    x = asarray(rng.uniform(0, 0.4, (4, *SHAPE)))
    assert np.isinf(crossing(half_grey, x, x)).all()
    ends = asarray(np.concatenate([np.ones((2, *SHAPE)), np.zeros((2, *SHAPE))]))
    np.testing.assert_array_equal(np.isinf(crossing(half_grey, x, ends)), [0, 0, 1, 1])
    asked = []

    def watched(x):
        asked.append(len(x))
        return half_grey(x)

    crossing(watched, x, ends, tolerance=0.1)
    assert asked[:2] == [4, 4] and set(asked[2:]) == {2}, "only of those that change"


def test_a_class_that_changes_by_chance_changes_at_once(rng):
    """As `Smoothed` may say something else of the same picture"""
    x, said = asarray(rng.uniform(0, 1, (3, *SHAPE))), iter(range(9))
    np.testing.assert_array_equal(crossing(lambda x: np.full(len(x), next(said)), x, x), 0)


def test_a_tolerance_that_cannot_be_is_refused_before_the_search(rng, monkeypatch):
    monkeypatch.setitem(distance_to_boundary.__globals__, "carried_out", None)
    with pytest.raises(ValueError, match="tolerance is -1"):
        distance_to_boundary(untrained(), *some_pictures(rng), tolerance=-1)


def test_a_plane_of_two_pixels_is_searched_through(rng):
    """A network of two pixels, and for each picture the nearest of all places of another class."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))
    network[1].weight.data *= 6
    network[1].bias.data[...] = asarray(rng.uniform(-6, 6, 16).astype(np.float32))
    side = np.linspace(0, 1, 201, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 1, 1, 2)
    network[3].bias.data -= network(asarray(grid)).data.mean(axis=0)
    seen = adversarial.classes_seen(network, grid)
    assert len(set(seen)) > 1
    x = asarray(rng.uniform(0.2, 0.8, (25, 1, 1, 2)).astype(np.float32))
    y = adversarial.classes_seen(network, x)
    got = distance_to_boundary(network, x, y)
    off = (to_numpy(x)[:, None] - grid[None]).reshape(25, len(grid), 2)
    far = np.where(seen != y[:, None], np.hypot(off[..., 0], off[..., 1]), np.inf).min(axis=1)
    known = np.isfinite(got)
    assert known.mean() > 0.7
    assert (got[known] >= far[known] - 0.01).all(), "there is none nearer"
    assert np.median(got[known] / far[known]) < 1.1, "and DeepFool's is near"


def test_refuses_what_does_not_fit(rng):
    x, y = some_pictures(rng)
    with pytest.raises(ValueError, match="tolerance is 0, expected a number > 0"):
        distance_to_boundary(untrained(), x, y, tolerance=0)
    with pytest.raises(ValueError, match="tolerance is inf"):
        crossing(partial(adversarial.classes_seen, untrained()), x, x, tolerance=np.inf)
    with pytest.raises(ValueError, match="y has shape"):
        distance_to_boundary(untrained(), x, y[:-1])
    seen = partial(adversarial.classes_seen, Affine(np.ones((72, 2)), np.zeros(2)))
    with pytest.raises(ValueError, match="end has shape"):
        crossing(seen, x, x[:-1])
    with pytest.raises(ValueError, match=r"x: expected pictures in \[0, 1\]"):
        crossing(seen, x - 1, x)
