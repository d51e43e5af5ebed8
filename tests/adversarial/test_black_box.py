"""Attacks that see nothing but answers."""

import numpy as np
import pytest
from attacked_nets import affine, stripes, trained

import tinydiff as td
from tinydiff import adversarial
from tinydiff.adversarial import black_box
from tinydiff.adversarial.network import margin
from tinydiff.backend import asarray, to_numpy

GREY = 0.5  # around it there is room for every ε below


def test_nes_finds_the_gradient(rng):
    model, _, _ = affine(rng)
    x, y = GREY + 0.05 * rng.standard_normal((3, 3, 3, 2)), rng.integers(0, 5, 3)
    z = td.Tensor(asarray(x), requires_grad=True)
    expected = to_numpy(td.grad(margin(model(z), y).sum(), z)).reshape(3, -1)
    g = to_numpy(black_box._estimated_gradient(model, asarray(x), y, 4000, 1e-3, rng))
    g = g.reshape(3, -1)
    cosine = (g * expected).sum(1) / np.linalg.norm(g, axis=1) / np.linalg.norm(expected, axis=1)
    assert (cosine > 0.98).all()


def test_square_attack_of_two_classes_ends_at_the_best_corner(rng):
    """Of an affine network every square can be put right by itself."""
    model, weight, _ = affine(rng, classes=2, shape=(4, 4, 1))
    model.linear.bias.data[...] = asarray([100.0, 0.0])  # never fooled: it goes on to the end
    x = GREY + 0.05 * rng.standard_normal((3, 4, 4, 1))
    w = (weight[:, 1] - weight[:, 0]).reshape(4, 4, 1)
    z = adversarial.square(model, asarray(x), np.zeros(3, int), eps=0.1, queries=3000, rng=rng)
    np.testing.assert_allclose(to_numpy(z), x + 0.1 * np.sign(w), atol=1e-12)


def test_squares_are_squares(rng):
    inside = to_numpy(black_box._squares(rng, 400, 6, 9, 3))[..., 0]
    assert (inside.sum(axis=(1, 2)) == 9).all()
    assert inside.any(axis=0).all(), "they come everywhere"
    assert ((inside.any(axis=1).sum(axis=1) == 3) & (inside.any(axis=2).sum(axis=1) == 3)).all()
    sides = [black_box._side(0.8, q / 100, 28, 28) for q in range(100)]
    assert sides[0] == 25 and sides == sorted(sides, reverse=True) and 1 <= sides[-1] <= 2


@pytest.mark.parametrize("name", ["nes", "square"])
def test_black_boxes_ask_for_no_gradient_and_leave_off_when_fooled(name, rng, monkeypatch):
    model, (x, y) = trained(), stripes(40, 1)
    wrong = np.where(np.arange(40) < 10, 1 - y, y)
    monkeypatch.setattr(td.graph, "walk_back", lambda *a: pytest.fail("a gradient"))
    asked = []
    forward = model.forward
    monkeypatch.setattr(
        type(model), "forward", lambda self, x: (asked.append(len(x)), forward(x))[1]
    )
    settings = {"nes": {"steps": 30, "samples": 10}, "square": {"queries": 100}}[name]
    z = getattr(adversarial, name)(model, asarray(x), wrong, eps=0.3, rng=rng, **settings)
    if name == "nes":
        np.testing.assert_array_equal(to_numpy(z)[:10], x[:10])
    assert asked[1] == 40 and asked[-1] < 30
