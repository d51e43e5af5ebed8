"""Two heads on one backbone: votes counted by hand, boxes that are boxes, gradients, refusals."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import LocaliserNetwork


def tiny(dtype=np.float64):
    """Untrained, but of some opinion in every layer."""
    td.seed(0)
    model = LocaliserNetwork(3, 5, widths=(8, 16), blocks=(1, 1), patch=2).astype(dtype)
    for name, parameter in model.named_parameters():
        if not to_numpy(parameter.data).any():
            values = np.random.default_rng(len(name)).standard_normal(parameter.shape)
            parameter.data[...] = asarray(0.3 * values)
    return model


def pictures(n=2, size=(8, 12), dtype=np.float64):
    return np.random.default_rng(1).standard_normal((n, *size, 3)).astype(dtype)


def test_a_box_and_the_classes_for_each_picture():
    assert tiny(np.float32)(asarray(pictures(dtype=np.float32))).shape == (2, 9)
    assert LocaliserNetwork(3, 10).stride == 16


def test_untrained_it_says_the_middle():
    """Nobody is believed more than others, all say one place to each side."""
    td.seed(0)
    model = LocaliserNetwork(3, 5, widths=(8, 16), blocks=(1, 1), patch=2)
    box = model(asarray(pictures(1, (16, 16), np.float32))).numpy()[0, :4]
    np.testing.assert_allclose(box, [0.25, 0.25, 0.75, 0.75], atol=1e-6)


def test_votes_counted_by_hand():
    said = np.random.default_rng(2).standard_normal((3, 2, 4, 5))
    boxes = tiny().vote(Tensor(said)).numpy()
    for n in range(3):
        sums, believed = np.zeros(4), 0.0
        for i in range(2):
            for j in range(4):
                left, top, right, bottom, belief = np.exp(said[n, i, j])
                x, y = j + 0.5, i + 0.5
                corners = np.array([x - left, y - top, x + right, y + bottom])
                sums, believed = sums + belief * corners, believed + belief
        np.testing.assert_allclose(boxes[n], sums / believed / [4, 2, 4, 2], rtol=1e-12)


def test_one_place_that_is_believed_decides():
    said = np.random.default_rng(3).standard_normal((1, 4, 4, 5))
    said[0, 1, 2] = [0, np.log(0.5), np.log(1.5), 0, 100]
    box = tiny().vote(Tensor(said)).numpy()[0]
    np.testing.assert_allclose(box, np.array([1.5, 1, 4, 2.5]) / 4, atol=1e-12)


def test_corners_are_in_order_whatever_is_said():
    said = 5 * np.random.default_rng(4).standard_normal((200, 3, 3, 5))
    boxes = tiny().vote(Tensor(said)).numpy()
    assert (boxes[:, :2] < boxes[:, 2:]).all()


def test_votes_that_move_by_a_place_move_the_box_by_a_place():
    said = np.random.default_rng(5).standard_normal((1, 4, 4, 5))
    said[:, :, -1, 4] = said[:, 0, :, 4] = -100  # nobody is believed where they would wrap around
    moved = np.roll(said, (-1, 1), axis=(1, 2))
    difference = tiny().vote(Tensor(moved)).numpy() - tiny().vote(Tensor(said)).numpy()
    np.testing.assert_allclose(difference, [[0.25, -0.25, 0.25, -0.25]], atol=1e-12)


def test_gradients():
    model = tiny()
    td.gradcheck(model, pictures())
    td.gradcheck(model.vote, np.random.default_rng(6).standard_normal((2, 3, 2, 5)))
    (model(asarray(pictures())) ** 2).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_each_picture_is_looked_at_by_itself():
    model, x = tiny(), asarray(pictures(3))
    y = model(x).numpy()
    assert np.abs(y[0] - y[1]).max() > 0.01
    np.testing.assert_allclose(model(x[::-1]).numpy(), y[::-1], atol=1e-12)
    np.testing.assert_allclose(model(x[1:2]).numpy(), y[1:2], atol=1e-12)


def test_refusals():
    with pytest.raises(ValueError, match=r"Backbone: x has shape .*divisible by 4"):
        tiny()(asarray(pictures(size=(8, 10))))
    with pytest.raises(ValueError, match="LocaliserNetwork: num_classes is 0"):
        LocaliserNetwork(3, 0)
    with pytest.raises(ValueError, match="norm_groups"):
        LocaliserNetwork(3, 5, widths=(12,), blocks=(1,))
