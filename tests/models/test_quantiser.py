"""Vector quantisation: the nearest code by brute force, the gradients by hand, dead codes."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, ops, optim
from tinydiff.backend import asarray, to_numpy
from tinydiff.models import VectorQuantiser

K, C = 7, 3


def quantiser(codes=None, **settings):
    made = VectorQuantiser(K, C, **settings).astype(np.float64)
    rng = np.random.default_rng(0)
    made.codebook.data[...] = asarray(rng.standard_normal((K, C)) if codes is None else codes)
    made.unused[...] = 0
    return made


def latents(*shape):
    return np.random.default_rng(1).standard_normal((*shape, C))


def test_finds_the_nearest_code():
    z, made = latents(4, 5, 6), quantiser()
    e = to_numpy(made.codebook.data)
    expected = ((z[..., None, :] - e) ** 2).sum(axis=-1).argmin(axis=-1)
    np.testing.assert_array_equal(to_numpy(made.nearest(Tensor(asarray(z)))), expected)
    np.testing.assert_array_equal(made.quantised(Tensor(asarray(z))).numpy(), e[expected])
    z_q, cost = made(Tensor(asarray(z)))
    np.testing.assert_allclose(z_q.numpy(), e[expected], atol=1e-12)
    squared = ((z - e[expected]) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(cost.numpy(), 1.25 * squared)


def test_gradients_are_those_of_the_equation():
    """Through z_q as if it were z; of the cost 2β(z − e) to z, and 2(e − z) to the code."""
    made, z = quantiser(beta=0.4), latents(2, 5)
    x = Tensor(asarray(z), requires_grad=True)
    z_q, cost = made(x)
    weights = np.random.default_rng(2).standard_normal(z.shape)
    ((z_q * asarray(weights)).sum() + cost.sum()).backward()
    e, k = to_numpy(made.codebook.data), to_numpy(made.nearest(Tensor(asarray(z))))
    np.testing.assert_allclose(to_numpy(x.grad), weights + 0.8 * (z - e[k]), atol=1e-12)
    expected = np.zeros_like(e)
    np.add.at(expected, k, 2 * (e[k] - z))
    np.testing.assert_allclose(to_numpy(made.codebook.grad), expected, atol=1e-12)


def test_codes_become_the_means_of_their_latents():
    """With latents that stay, two codes learn what k-means would find."""
    td.seed(0)
    rng = np.random.default_rng(3)
    z = np.concatenate([rng.normal(2, 0.1, (50, 1)), rng.normal(-1, 0.1, (50, 1))])
    made = VectorQuantiser(2, 1).astype(np.float64)
    optimiser = optim.SGD(made.parameters(), lr=0.005)
    for _ in range(300):
        optimiser.zero_grad()
        made(Tensor(asarray(z)))[1].sum().backward()
        optimiser.step()
    np.testing.assert_allclose(
        np.sort(to_numpy(made.codebook.data).ravel()), [z[50:].mean(), z[:50].mean()], atol=1e-3
    )


def test_the_first_latents_are_the_first_codes():
    z, made = latents(4, 5), VectorQuantiser(K, C).astype(np.float64)
    made.eval()(Tensor(asarray(z)))
    assert np.abs(to_numpy(made.codebook.data)).max() <= 1 / K
    made.train()(Tensor(asarray(z)))
    rows = {tuple(row) for row in z.reshape(-1, C)}
    assert all(tuple(row) in rows for row in to_numpy(made.codebook.data))


def test_codes_that_nobody_needs_are_put_back_to_work():
    far = np.full((K, C), 100.0)
    far[0] = 0
    made, z = quantiser(far, patience=3), latents(2, 8)
    for step in range(3):
        made(Tensor(asarray(z)))
        np.testing.assert_array_equal(to_numpy(made.unused), [0, *[step + 1] * (K - 1)])
    np.testing.assert_array_equal(to_numpy(made.codebook.data), far)
    made(Tensor(asarray(z)))  # the fourth finds them idle for three
    moved = to_numpy(made.codebook.data)
    np.testing.assert_array_equal(moved[0], far[0])
    rows = {tuple(row) for row in z.reshape(-1, C)}
    assert all(tuple(row) in rows for row in moved[1:])
    assert to_numpy(made.unused).max() <= 1


def test_a_code_put_back_to_work_has_its_time():
    """All go to the one latent there is, which chooses the first of them."""
    made, z = quantiser(np.full((K, C), 100.0), patience=2), latents(1, 1)
    made.unused[...] = 2
    made(Tensor(asarray(z)))
    np.testing.assert_array_equal(to_numpy(made.unused), [0, *[1] * (K - 1)])
    np.testing.assert_array_equal(to_numpy(made.codebook.data), np.tile(z[0], (K, 1)))


def test_evaluation_changes_nothing():
    made = quantiser(np.full((K, C), 100.0), patience=1).eval()
    made.unused[...] = 5
    before = made.state_dict()
    made(Tensor(asarray(latents(2, 8))))
    for name, array in made.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_what_counts_idle_steps_is_in_the_state():
    assert quantiser().state_dict().keys() == {"codebook", "unused"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codes": 0}, "codes is 0"),
        ({"channels": 1.5}, "channels is 1.5"),
        ({"patience": 0}, "patience is 0"),
        ({"beta": -1}, "beta is -1, expected ≥ 0"),
        ({"beta": float("nan")}, "beta is nan"),
    ],
)
def test_refuses_other_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        VectorQuantiser(**{"codes": 4, "channels": 2, **settings})


def test_refuses_other_latents():
    for shape in ((C,), (4, C + 1)):
        with pytest.raises(ValueError, match=r"expected \(N, …, 3\)"):
            quantiser()(Tensor(asarray(np.zeros(shape))))


def test_learns_through_the_choice():
    """What comes before a quantiser learns, though the choice has no derivative."""
    td.seed(0)
    made = quantiser(np.linspace(-1, 1, K)[:, None] * np.ones(C))
    z = Tensor(asarray(np.full((1, C), -0.9)), requires_grad=True)
    optimiser = optim.SGD([z], lr=0.1)
    for _ in range(50):
        optimiser.zero_grad()
        ops.square(made(z)[0] - 1.0).sum().backward()
        optimiser.step()
    np.testing.assert_array_equal(to_numpy(made.nearest(z)), [K - 1])
