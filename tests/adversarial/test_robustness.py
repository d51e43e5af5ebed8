"""What a network withstands: each number of the row is that of its attack."""

import math
from functools import partial

import numpy as np
import pytest
from attacked_nets import affine, some_pictures, undecided

from tinydiff import adversarial
from tinydiff.adversarial import Robustness, robustness, robustness_table, under_pgd, usual_eps
from tinydiff.adversarial.ball import drawn_within
from tinydiff.adversarial.boundary import crossing
from tinydiff.backend import asarray, to_numpy

QUERIES = 30  # of the square attack, so that it does not take long
SETTINGS = {"eps": 0.01, "sigma": 0.1, "radius": 0.08, "few": 8, "seed": 5}
FEWER = SETTINGS | {"few": 4}


def a_case():
    """A network, and pictures of which it takes one in ten for something else."""
    x, _ = some_pictures(np.random.default_rng(0), 20)
    model, y = undecided(x)
    return model, x, np.where(np.arange(20) < 2, (y + 1) % 4, y)


@pytest.fixture(autouse=True)
def few_queries(monkeypatch):
    quick = partial(adversarial.square, queries=QUERIES)
    monkeypatch.setitem(robustness.__globals__, "square", quick)


def test_the_row_is_what_the_attacks_achieve():
    model, x, y = a_case()
    row = robustness(model, x, y, **SETTINGS)
    rng = np.random.default_rng(5)
    some = x[:8], y[:8]
    boxed = adversarial.carried_out(
        adversarial.square, model, *some, eps=0.01, queries=QUERIES, rng=rng
    )
    certain = adversarial.Smoothed(model, 0.1).certify(some[0], rng=rng)

    def share(seen):
        return (seen == y[: len(seen)]).mean()

    def pgd(eps, norm):
        rng = np.random.default_rng(5)
        settings = {"eps": eps, "norm": norm, "step": eps / 30, "steps": 40, "rng": rng}
        return share(adversarial.carried_out(adversarial.pgd, model, x, y, **settings).seen)

    assert row.clean == share(adversarial.classes_seen(model, x)) == 0.9
    fgsm = adversarial.carried_out(adversarial.fgsm, model, x, y, eps=0.01)
    assert row.fgsm == share(fgsm.seen)
    assert row.pgd == pgd(0.01, math.inf) and row.pgd_l2 == pgd(0.01 * 20 / 3, 2)
    assert row.square == share(boxed.seen)
    assert row.certified == ((certain.classes == some[1]) & (certain.radii >= 0.08)).mean()
    assert row.certified < (certain.classes == some[1]).mean()
    assert all(0 < value < 0.9 for value in (row.fgsm, row.pgd, row.pgd_l2, row.square))
    assert robustness(model, x, y, **SETTINGS) == row, "the same seed, the same numbers"
    assert type(row.clean) is type(row.distance) is float


def test_forty_steps_of_a_thirtieth_towards_the_worst_corner(rng):
    """Of an affine network of two classes, from a random start: a third more than ε, at most"""
    model, weight, _ = affine(rng, classes=2)
    model.linear.bias.data[...] = asarray([1.0, 0.0])
    x = 0.5 + 0.05 * rng.standard_normal((6, 3, 3, 2))
    w = (weight[:, 1] - weight[:, 0]).reshape(3, 3, 2)
    found = under_pgd(model, x, np.zeros(6, int), 0.1, seed=3)
    start = to_numpy(drawn_within(asarray(x), 0.1, math.inf, np.random.default_rng(3)))
    end = np.clip(start + 40 / 30 * 0.1 * np.sign(w), x - 0.1, x + 0.1)
    np.testing.assert_allclose(found.pictures, end, atol=1e-12)
    found = under_pgd(model, x, np.zeros(6, int), 0.1, norm=2, seed=3)
    cosine = ((found.pictures - x) * w).sum(axis=(1, 2, 3)) / (0.1 * np.linalg.norm(w))
    assert (cosine > 0.8).all()


def test_the_distance_is_that_of_deepfool_or_less():
    """On the way to the nearest picture of another class, sought here one by one"""
    model, x, y = a_case()
    seen = partial(adversarial.classes_seen, model)
    found = []
    for i in range(4):
        others = [k for k in range(20) if y[k] != y[i]]
        end = min(others, key=lambda k: float(((x[k] - x[i]) ** 2).sum()))
        one = x[i : i + 1], y[i : i + 1]
        ways = adversarial.distance_to_boundary(model, *one), crossing(seen, one[0], x[[end]])
        found.append(0 if seen(one[0]) != one[1] else min(map(float, np.concatenate(ways))))
    assert found[:2] == [0, 0] and min(found[2:]) > 0
    assert robustness(model, x, y, **FEWER).distance == pytest.approx(np.mean(found), rel=1e-3)


def test_where_the_gradient_is_useless_the_nearest_other_picture_tells(monkeypatch):
    model, x, y = a_case()
    blind = lambda model, x, y, progress: np.full(len(x), np.inf)
    by_both = robustness(model, x, y, **FEWER).distance
    monkeypatch.setitem(robustness.__globals__, "distance_to_boundary", blind)
    by_one = robustness(model, x, y, **FEWER).distance
    assert by_both < by_one < 3


def test_where_no_other_class_is_found_the_distance_is_infinite(rng):
    model, _, _ = affine(rng, shape=(2, 2, 1))
    model.linear.bias.data[...] = asarray([1e6, 0, 0, 0, 0])
    x = rng.uniform(0.4, 0.6, (3, 2, 2, 1))
    row = robustness(model, x, np.zeros(3, int), eps=0.1)
    assert row == Robustness(1.0, 1.0, 1.0, 1.0, 1.0, math.inf, 1.0)


def test_a_table():
    rows = {"none": Robustness(0.991, 0.1, 0.0, 0.25, 1.0, 1.234, 0.5)}
    head, line = robustness_table(rows).splitlines()
    assert line.split() == ["none", "99.1%", "10.0%", "0.0%", "25.0%", "100.0%", "1.23", "50.0%"]
    assert len(head) == len(line) and head.split()[:3] == ["clean", "FGSM", "PGD-40"]


def test_the_usual_eps():
    assert usual_eps("mnist") == usual_eps("mnist-train") == usual_eps("digits") == 0.3
    assert usual_eps("fashion-mnist-train") == 0.1
    assert usual_eps("cifar10") == usual_eps("pets") == 8 / 255


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eps": 0}, "eps is 0"),
        ({"sigma": -1.0}, "sigma is -1"),
        ({"radius": 0}, "radius is 0"),
        ({"few": 0}, "few is 0"),
    ],
)
def test_refused(wrong, message):
    model, x, y = a_case()
    with pytest.raises(ValueError, match=message):
        robustness(model, x, y, **{"eps": 0.1, **wrong})
    with pytest.raises(ValueError, match=r"y has shape \(21,\)"):
        robustness(model, x, [*y, 0], eps=0.1)
    with pytest.raises(ValueError, match=r"expected pictures in \[0, 1\]"):
        robustness(model, 2 * x, y, eps=0.1)
