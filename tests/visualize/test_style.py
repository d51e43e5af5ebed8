"""Gram matrices against their sum, and what is painted by them: textures, pictures in a style."""

import numpy as np
import pytest
from visualize.small_nets import Small, pictures

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.images import to_float
from tinydiff.visualize import activation_maps, gram, stylise, texture
from tinydiff.visualize.inversion import Wanted, alike

LAYERS = ["body.0", "body.3"]


def sum_over_places(answer):
    """G_cd of one picture, as it is written: (h, w, C) → (C, C)"""
    height, width, channels = answer.shape
    found = np.zeros((channels, channels))
    for i in range(height):
        for j in range(width):
            for c in range(channels):
                for d in range(channels):
                    found[c, d] += answer[i, j, c] * answer[i, j, d] / (height * width)
    return found


def grams(model, x, layer):
    answers = activation_maps(model, x, layer).astype(np.float64)
    return np.stack([sum_over_places(answer) for answer in answers]).reshape(len(x), -1)


def apart(found, aim):
    return ((found - aim) ** 2).sum(axis=1) / (aim**2).sum(axis=1)


def last(film):
    *_, x = film
    return to_numpy(x)


def test_gram_is_the_sum_and_knows_no_places(rng):
    answer = rng.standard_normal((2, 4, 3, 5))
    expected = np.stack([sum_over_places(a) for a in answer]).reshape(2, 25)
    np.testing.assert_allclose(gram(Tensor(asarray(answer))).numpy(), expected, rtol=1e-12)
    mixed = rng.permutation(answer.reshape(2, 12, 5), axis=1).reshape(2, 3, 4, 5)
    np.testing.assert_allclose(gram(Tensor(asarray(mixed))).numpy(), expected, rtol=1e-12)


def test_gram_has_the_gradient_it_should(rng):
    td.gradcheck(gram, rng.standard_normal((2, 3, 4, 5)))
    td.gradcheck(gram, rng.standard_normal((1, 6)))


def test_content_and_style_are_weighed_as_written():
    model, x, content, style = Small().eval(), pictures(2), pictures(2, seed=1), pictures(1, seed=2)
    said = [activation_maps(model, of, "body.3").reshape(2, -1) for of in (x, content)]
    expected = -apart(*said) - sum(
        3.5 * apart(grams(model, x, layer), grams(model, style, layer)) for layer in LAYERS
    )
    wanted = [Wanted(content, "body.3"), *(Wanted(style, at, gram, 3.5) for at in LAYERS)]
    found = alike(model, wanted)(model, Tensor(asarray(to_float(x)))).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_texture_comes_near_in_all_layers():
    model, style = Small(), pictures(2)
    first, *_ = texture(model, style, LAYERS, steps=1)
    found = last(texture(model, style, LAYERS, steps=150, smooth=1e-6, bounded=1e-6))
    for layer in LAYERS:
        aim = grams(model, style, layer)
        assert (apart(grams(model, found, layer), aim) < 0.02).all(), layer
        assert (apart(grams(model, to_numpy(first), layer), aim) > 0.2).all(), layer
    assert model.training


def test_the_more_style_the_less_content():
    model, content, style = Small().body, pictures(2), pictures(1, 8, 10, seed=5) // 2
    layers = ["0", "3"]
    kept = lambda x: activation_maps(model, x, "3").reshape(2, -1)
    far = {"content": [], "style": []}
    for weight in (0.01, 100.0):
        found = last(
            stylise(model, content, style, kept="3", layers=layers, weight=weight, steps=80)
        )
        assert found.shape == content.shape
        far["content"].append(apart(kept(found), kept(content)).mean())
        far["style"].append(
            np.mean([apart(grams(model, found, at), grams(model, style, at)) for at in layers])
        )
    assert far["content"][0] < 0.1 * far["content"][1]
    assert far["style"][1] < 0.1 * far["style"][0]


def test_painting_begins_with_the_content():
    model, content = Small(), pictures(2)
    first, *_ = stylise(model, content, content[:1], kept="body.3", layers=LAYERS, rate=1e-6)
    np.testing.assert_allclose(to_numpy(first), to_float(content), atol=1e-5)


REFUSED = {
    "layers are empty": {"layers": []},
    "layer: Small has none named 'nose'; it has body": {"layers": ["nose"]},
    "layer: Small has none named 'eyes'": {"kept": "eyes"},
    "weight is 0.0, expected a number > 0": {"weight": 0},
    "steps is 0, expected an int ≥ 1": {"steps": 0},
    "smooth is -1, expected a number > 0": {"smooth": -1},
    "images: expected \\(N, H, W, C\\)": {"style": pictures(1)[0]},
    "images: expected one whose answers of 'body.0' are known, or 2": {
        "content": pictures(2),
        "style": pictures(3),
    },
    "images: expected one whose answers .* or 1 .* got 2": {"style": pictures(2)},
}


@pytest.mark.parametrize(("message", "changed"), REFUSED.items(), ids=list(REFUSED))
def test_refusals(message, changed):
    given = {"content": pictures(1), "style": pictures(1), "kept": "body.3", "layers": LAYERS}
    with pytest.raises(ValueError, match=message):
        stylise(Small(), **(given | changed))
