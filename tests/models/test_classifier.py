"""The small classifier: shapes, learning; and the one of noisy pictures."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import Classifier, NoisyClassifier


def tiny(**settings):
    td.seed(0)
    return Classifier(2, 5, **{"widths": (8, 16), "dropout": 0.0, **settings})


def pictures(n=3, size=(6, 9), dtype=np.float32):
    return asarray(np.random.default_rng(1).standard_normal((n, *size, 2)).astype(dtype))


@pytest.mark.parametrize("widths", [(8,), (8, 16), (16, 8, 24)])
@pytest.mark.parametrize("size", [(1, 1), (6, 9), (28, 28)])
def test_one_logit_per_class_and_picture(widths, size):
    model, x = tiny(widths=widths), pictures(size=size)
    assert model(x).shape == (3, 5)
    assert model.features(x).shape == (3, widths[-1])
    np.testing.assert_array_equal(
        model(x).numpy(), model.eval().head(model.features(Tensor(x))).numpy()
    )


def test_it_learns():
    """A few steps down its own gradient lower the loss on a batch."""
    model, x, labels = tiny(), pictures(8), asarray([0, 1, 2, 3, 4, 0, 1, 2])
    losses = []
    for _ in range(30):
        loss = td.ops.cross_entropy(model(x), labels)
        loss.backward()
        for parameter in model.parameters():
            parameter.data -= np.float32(0.2) * parameter.grad
        model.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


# Of noisy pictures


def tiny_noisy():
    td.seed(0)
    return NoisyClassifier(2, 5, widths=(8, 16), dropout=0.0)


def test_the_step_is_seen():
    model, x = tiny_noisy(), pictures()
    early, late, mixed = (model(x, np.array(t)).numpy() for t in ([3] * 3, [900] * 3, [3, 900, 3]))
    assert early.shape == (3, 5)
    assert np.abs(early - late).max(axis=1).min() > 1e-3
    np.testing.assert_allclose(mixed[[0, 2]], early[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(mixed[1], late[1], atol=1e-6)


def test_without_a_step_pictures_are_clean():
    model, x = tiny_noisy(), pictures()
    np.testing.assert_array_equal(model(x).numpy(), model(x, np.zeros(3, int)).numpy())


def test_gradients_through_noise():
    model, t = tiny_noisy().astype(np.float64), np.array([0, 400.5, 999])
    td.gradcheck(lambda x: model(x, t), to_numpy(pictures(dtype=np.float64)))
    model(pictures(dtype=np.float64), t).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("t", [3, [3], [3, 4], [[3, 4, 5]]])
def test_refused_steps(t):
    with pytest.raises(ValueError, match=r"NoisyClassifier: t has shape .*one per image \(3,\)"):
        tiny_noisy()(pictures(), np.array(t))
