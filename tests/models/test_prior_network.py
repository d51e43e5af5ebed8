"""The prior's network: what it depends on, its gradients, and what it refuses."""

import numpy as np
import pytest
from parameter_gradients import check_parameters

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import randn
from tinydiff.models import PriorNetwork

T = np.array([0, 10, 999])


def small(dtype=np.float64) -> PriorNetwork:
    td.seed(0)
    made = PriorNetwork(5, width=8, depth=1, heads=2).astype(dtype)
    for p in made.parameters():
        p.data += 0.2 * randn(p.shape, dtype=dtype)
    return made


def vectors(seed, n=3, dtype=np.float64):
    return randn((n, 5), rng=np.random.default_rng(seed), dtype=dtype)


def run(model, *inputs):
    with td.no_grad():
        return model(*inputs).numpy()


def test_a_vector_for_each():
    y = run(small(np.float32), vectors(1, dtype=np.float32), T, vectors(2, dtype=np.float32))
    assert y.shape == (3, 5) and y.dtype == np.float32 and np.isfinite(y).all()


def test_gradients():
    model, z, c = small(), vectors(1), vectors(2)
    td.gradcheck(lambda z: model(z, T, c), np.asarray(Tensor(z).numpy()))
    weights = Tensor(vectors(3))
    without = ("blocks.0.attention.key.bias",)
    check_parameters(model, lambda: (model(z, T, c) * weights).sum(), without=without)


def test_it_looks_at_all_that_it_is_told():
    model, z, c = small(), vectors(1), vectors(2)
    y = run(model, z, T, c)
    for other in ((z + 0.5, T, c), (z, T + 100, c), (z, T, c + 0.5), (z, T, 0 * c)):
        assert (abs(run(model, *other) - y).max(axis=1) > 1e-3).all()


def test_each_is_answered_by_itself():
    model, z, c, order = small(), vectors(1), vectors(2), [2, 0, 1]
    y = run(model, z, T, c)
    np.testing.assert_allclose(run(model, z[order], T[order], c[order]), y[order], atol=1e-12)
    np.testing.assert_allclose(run(model, z[:1], T[:1], c[:1]), y[:1], atol=1e-12)
    assert model.independent_images


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((vectors(1)[:, :4], T, vectors(2)), r"z: expected shape \(3, 5\), got \(3, 4\)"),
        ((vectors(1), T, vectors(2)[:2]), r"cond: expected shape \(3, 5\), got \(2, 5\)"),
        ((vectors(1), T[:2], vectors(2)), r"t: expected shape \(3,\), got \(2,\)"),
    ],
)
def test_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        small()(*given)


def test_refuses_sizes():
    with pytest.raises(ValueError, match="PriorNetwork: depth is 0, expected an int ≥ 1"):
        PriorNetwork(5, depth=0)
