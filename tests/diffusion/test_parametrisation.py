"""Five predictions of one thing: each says the same of x0 and ε, for any α and σ."""

import numpy as np
import pytest

from tinydiff import gradcheck, ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.diffusion.parametrisation import TARGET, TO_EPS, TO_X0, factors, target, to_eps, to_x0

ALL = pytest.mark.parametrize("prediction", TARGET)


def draw(rng, n=64):
    x0, eps = rng.uniform(-1, 1, (n, 3)), rng.standard_normal((n, 3))
    return x0, eps


def mixed(x0, eps, alpha, sigma):
    alpha, sigma = (np.reshape(a, (-1, 1)) for a in (alpha, sigma))
    return alpha * x0 + sigma * eps


def there_and_back(prediction, x0, eps, alpha, sigma):
    x_t = asarray(mixed(x0, eps, alpha, sigma))
    y = target(prediction, asarray(x0), asarray(eps), alpha, sigma)
    return (to_numpy(f(prediction, x_t, y, alpha, sigma)) for f in (to_x0, to_eps))


@ALL
def test_there_and_back_for_any_alpha_and_sigma(prediction, rng):
    """Neither variance-preserving nor anything else: α and σ are independent."""
    x0, eps = draw(rng)
    alpha, sigma = np.exp(rng.uniform(-2, 2, (2, 64)))
    again = there_and_back(prediction, x0, eps, alpha, sigma)
    for got, wanted in zip(again, (x0, eps), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-13)


def test_targets_are_what_their_papers_say():
    x0, eps = draw(np.random.default_rng(0), 1)
    alpha, sigma = 0.6, 0.8
    x_t = mixed(x0, eps, alpha, sigma)
    expected = {
        "eps": eps,
        "x0": x0,
        "v": alpha * eps - sigma * x0,
        "score": -(x_t - alpha * x0) / sigma**2,  # ∇ log N(x_t; α x0, σ² I)
        "flow": eps - x0,
    }
    assert set(expected) == set(TARGET)
    for prediction, wanted in expected.items():
        got = target(prediction, asarray(x0), asarray(eps), alpha, sigma)
        np.testing.assert_allclose(to_numpy(got), wanted, rtol=1e-14)


def test_flow_is_the_velocity_of_rectified_flow():
    """d/ds of (1 − s) x0 + s ε, by differences."""
    x0, eps = draw(np.random.default_rng(0), 1)
    s, h = 0.3, 1e-3
    slope = (mixed(x0, eps, 1 - s - h, s + h) - mixed(x0, eps, 1 - s + h, s - h)) / (2 * h)
    u = target("flow", asarray(x0), asarray(eps), 1 - s, s)
    np.testing.assert_allclose(to_numpy(u), slope, rtol=1e-10)


@pytest.mark.parametrize("small", [1e-3, 1e-8, 1e-14])
@ALL
def test_little_noise_or_little_signal_costs_no_needless_digits(prediction, small, rng):
    """What the output says outright keeps all its digits; what it says only by x_t's difference
    from it loses as many as x_t has lost, and no more."""
    x0, eps = draw(rng)
    for alpha, sigma in ((1.0, small), (small, 1.0)):
        x0_again, eps_again = there_and_back(prediction, x0, eps, alpha, sigma)
        outright_x0 = sigma == small or prediction in ("x0", "v", "flow")
        outright_eps = alpha == small or prediction in ("eps", "v", "score", "flow")
        np.testing.assert_allclose(
            x0_again, x0, rtol=0, atol=4e-15 if outright_x0 else 4e-15 / small
        )
        np.testing.assert_allclose(
            eps_again, eps, rtol=0, atol=8e-15 if outright_eps else 8e-15 / small
        )


def test_at_the_very_ends():
    """σ = 0: x_t is x0, and eps, v, flow and score still say what they do; α = 0 alike."""
    x0, eps = draw(np.random.default_rng(0))
    for prediction in ("eps", "v", "flow"):
        for alpha, sigma in ((1.0, 0.0), (0.0, 1.0)):
            if (prediction, alpha) == ("eps", 0):
                continue
            again = there_and_back(prediction, x0, eps, alpha, sigma)
            for got, wanted in zip(again, (x0, eps), strict=True):
                np.testing.assert_allclose(got, wanted, atol=1e-15)
    x = asarray(x0)
    np.testing.assert_array_equal(to_numpy(to_eps("score", x, x, 1.0, 0.0)), 0)


@ALL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keeps_the_dtype_and_a_number_for_each_picture(prediction, dtype):
    x, y = (asarray(a.astype(dtype)) for a in draw(np.random.default_rng(0), 5))
    alpha, sigma = np.linspace(0.1, 0.9, 5), np.linspace(0.8, 0.3, 5)
    for f in (target, to_x0, to_eps):
        together = f(prediction, x, y, alpha, sigma)
        assert together.dtype == dtype
        for i in range(5):
            alone = f(prediction, x[i : i + 1], y[i : i + 1], float(alpha[i]), float(sigma[i]))
            np.testing.assert_array_equal(to_numpy(together[i : i + 1]), to_numpy(alone))


@ALL
def test_gradients_pass(prediction):
    x, y = np.random.default_rng(0).standard_normal((2, 2, 3))
    both = lambda x, y: [f(prediction, x, y, [0.6, 0.3], [0.8, 2.0]) for f in (to_x0, to_eps)]
    gradcheck(lambda x, y: ops.concat(both(x, y)), x, y)
    gradcheck(lambda y: ops.concat(both(asarray(x), y)), y)


@ALL
def test_an_error_of_the_output_moves_x0_and_eps_by_the_second_factor(prediction):
    x, y = (asarray(a) for a in draw(np.random.default_rng(0), 3))
    alpha, sigma = np.array([0.9, 0.5, 0.1]), np.array([0.2, 0.7, 3.0])
    for table, f in ((TO_X0, to_x0), (TO_EPS, to_eps)):
        _, moves = factors(table, prediction, alpha, sigma)
        moved = f(prediction, x, y + 1, alpha, sigma) - f(prediction, x, y, alpha, sigma)
        expected = np.broadcast_to(np.reshape(moves, (-1, 1)), (3, 3))
        np.testing.assert_allclose(to_numpy(moved), expected, atol=1e-13)


X = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: to_x0("u", X, X, 1, 1), ValueError, "'eps', 'x0', 'v', 'score', 'flow', got 'u'"),
        (lambda: to_x0("eps", X, X, [1, 0], [0, 1]), ValueError, "'eps' says nothing .*alpha is 0"),
        (lambda: to_eps("x0", X, X, 1, 0), ValueError, "'x0' says nothing"),
        (lambda: target("score", X, X, 1, 0), ValueError, "'score' says nothing"),
        (lambda: to_x0("flow", X, X, 1, float("nan")), ValueError, "says nothing"),
        (lambda: to_x0("v", X, X[:1], 1, 0), ValueError, "output: "),
        (lambda: to_x0("v", X, X.astype(float), 1, 0), ValueError, "output: .*float64"),
        (lambda: to_x0("v", X.astype(int), X, 1, 0), TypeError, "int64"),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()
