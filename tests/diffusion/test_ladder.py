"""The ladder: closed forms on Gaussian data, its loss, its marginals, and what it refuses.

Every layer is linear, so it is a matrix, found by feeding it the basis, and the chains on the way
down and up have covariances that are computed, not sampled.
"""

import itertools

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, optim
from tinydiff.backend import asarray, to_numpy, xp
from tinydiff.diffusion import Ladder, ladder_decoder, sample_ladder
from tinydiff.models import LadderDecoders
from tinydiff.training import Trainer

SIZE = 8
LADDERS = pytest.mark.parametrize("rungs", [1, 2, 5])


def matrix(linear, size: int) -> np.ndarray:
    """The matrix of a linear function of one-channel pictures (N, size, size, 1)"""
    basis = asarray(np.eye(size * size).reshape(-1, size, size, 1))
    return to_numpy(linear(basis)).reshape(size * size, -1).T


def layers(ladder: Ladder, t: int, n: int) -> np.ndarray:
    return np.full(n, t)


def picture_matrix(ladder: Ladder, t: int) -> np.ndarray:
    return matrix(lambda x: ladder.picture(x, t), ladder.sizes[-1])


def step(ladder: Ladder, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """μ_t = A x_t + B z_{t−1} and the covariance Σ_t, of what the code computes"""
    here, below = int(ladder.sizes[t]), int(ladder.sizes[t - 1])

    def mean(z, x):
        return ladder.mean(z, layers(ladder, t, len(z)), x)

    A = matrix(lambda x: mean(xp.zeros((len(x), below, below, 1)), x), here)
    B = matrix(lambda z: mean(z, xp.zeros((len(z), here, here, 1))), below)
    S = matrix(lambda e: ladder.fresh_noise(layers(ladder, t, len(e)), e), here)
    return A, B, S @ S.T


def lower(ladder: Ladder, t: int) -> tuple[np.ndarray, np.ndarray]:
    """z_{t−1} = D z_t + N, and the covariance of N"""
    here, below = int(ladder.sizes[t]), int(ladder.sizes[t - 1])
    D = matrix(lambda z: ladder.down(z, t, xp.zeros((len(z), below, below, 1))), here)
    N = matrix(lambda e: ladder.down(xp.zeros((len(e), here, here, 1)), t, e), below)
    return D, N @ N.T


def smooth_covariance(size: int = SIZE) -> np.ndarray:
    """Of pictures whose pixels go with their neighbours: 0.3·exp(−distance²/8)"""
    place = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(-1, 2)
    squared = ((place[:, None] - place[None]) ** 2).sum(-1)
    return 0.3 * np.exp(-squared / 8) + 1e-4 * np.eye(size * size)


def exact_decoder(ladder: Ladder, t: int, C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For x ~ N(0, C): G with E[z_t | z_{t−1}] = G z_{t−1}, and Cov[z_t | z_{t−1}], by conditioning
    the joint Gaussian of the two"""
    P, D = picture_matrix(ladder, t), lower(ladder, t)
    signal = ladder.alphas_cumprod[t]
    above = signal * P @ C @ P.T + (1 - signal) * np.eye(len(P))
    below = D[0] @ above @ D[0].T + D[1]
    G = np.linalg.solve(below, D[0] @ above).T
    return G, above - G @ D[0] @ above


# Down


@LADDERS
@pytest.mark.parametrize("size", [8, 12])
def test_sizes_and_ends(rungs, size):
    ladder = Ladder(size, 2, rungs)
    assert list(ladder.sizes) == [size // 4] + [size // 2] * rungs + [size] * rungs
    assert ladder.doubles.sum() == 2 and ladder.doubles[1] and ladder.doubles[1 + rungs]
    assert ladder.alphas_cumprod[0] == 0 and ladder.alphas_cumprod[-1] == 1
    assert ladder.rho[1] == 1 and ladder.rho[-1] == 1
    assert np.all((ladder.rho > 0) & (ladder.rho <= 1))
    # Seen at full size the noise falls from layer to layer, all the way up.
    level = np.sqrt(1 / ladder.alphas_cumprod[1:] - 1) * size / ladder.sizes[1:]
    assert np.all(np.diff(level) < 0)
    middle = Ladder(8, 2, 4, noise=1.5)
    assert np.sqrt(1 / middle.alphas_cumprod[4] - 1) * 8 / middle.sizes[4] == pytest.approx(1.5)


@LADDERS
def test_the_layers_make_the_marginals_of_the_jump(rungs):
    """z_T, one layer after the other: mean √ᾱ_t x_t, covariance (1−ᾱ_t) I, white at every level."""
    ladder = Ladder(SIZE, 2, rungs, noise=1.3)
    mean, covariance = np.eye(SIZE**2), np.zeros((SIZE**2, SIZE**2))
    for t in range(ladder.T, 0, -1):
        D, N = lower(ladder, t)
        mean, covariance = D @ mean, D @ covariance @ D.T + N
        signal = ladder.alphas_cumprod[t - 1]
        np.testing.assert_allclose(
            mean, np.sqrt(signal) * picture_matrix(ladder, t - 1), atol=1e-12
        )
        np.testing.assert_allclose(covariance, (1 - signal) * np.eye(len(covariance)), atol=1e-12)
    np.testing.assert_array_equal(mean, 0)  # z_0 knows nothing of the picture


@LADDERS
def test_q_sample_is_that_jump(rungs):
    ladder = Ladder(SIZE, 2, rungs)
    for t in range(ladder.T + 1):
        side, signal = int(ladder.sizes[t]), ladder.alphas_cumprod[t]
        zeros = xp.zeros((SIZE**2, side, side, 1))
        M = matrix(lambda x, t=t, zeros=zeros: ladder.q_sample(x, t, zeros), SIZE)
        np.testing.assert_allclose(M, np.sqrt(signal) * picture_matrix(ladder, t), atol=1e-14)
        black = xp.zeros((side**2, SIZE, SIZE, 1))
        N = matrix(lambda e, t=t, black=black: ladder.q_sample(black, t, e), side)
        np.testing.assert_allclose(N, np.sqrt(1 - signal) * np.eye(side**2), atol=1e-14)


# Up


@LADDERS
def test_mean_and_fresh_noise_are_bayes_rule(rungs):
    """Precisions add up: Σ_t⁻¹ = 1/(1−ᾱ_t) + Dᵀ N⁻¹ D, Σ_t⁻¹ μ_t = √ᾱ_t x_t/(1−ᾱ_t) + Dᵀ N⁻¹ z"""
    ladder = Ladder(SIZE, 2, rungs)
    for t in range(1, ladder.T):  # at T there is no noise
        (A, B, S), (D, N) = step(ladder, t), lower(ladder, t)
        signal, side = ladder.alphas_cumprod[t], len(A)
        precision = np.eye(side) / (1 - signal) + D.T @ np.linalg.solve(N, D)
        np.testing.assert_allclose(S @ precision, np.eye(side), atol=1e-9)
        np.testing.assert_allclose(A, S * np.sqrt(signal) / (1 - signal), atol=1e-9)
        np.testing.assert_allclose(B, S @ np.linalg.solve(N, D).T, atol=1e-9)
    A, B, S = step(ladder, ladder.T)
    np.testing.assert_allclose(A, np.eye(SIZE**2), atol=1e-12)
    np.testing.assert_allclose(B, 0, atol=1e-12)
    np.testing.assert_array_equal(S, 0)


@LADDERS
def test_the_exact_decoder_is_the_mean_of_the_picture_put_into_mu(rungs):
    """For Gaussian data, by conditioning: Dec_t z = A E[x_t | z] + B z, and what the chain does not
    draw is A Cov[x_t | z] Aᵀ, no more and no less."""
    ladder, C = Ladder(SIZE, 2, rungs), smooth_covariance()
    for t in range(1, ladder.T + 1):
        A, B, S = step(ladder, t)
        G, conditional = exact_decoder(ladder, t, C)
        P, Q = picture_matrix(ladder, t), picture_matrix(ladder, t - 1)
        signal = ladder.alphas_cumprod[t - 1]
        below = signal * Q @ C @ Q.T + (1 - signal) * np.eye(len(Q))
        E = np.sqrt(signal) * P @ C @ Q.T @ np.linalg.inv(below)  # E[x_t | z_{t−1}] = E z_{t−1}
        np.testing.assert_allclose(G, A @ E + B, atol=1e-8)
        left = P @ C @ P.T - E @ below @ E.T
        np.testing.assert_allclose(conditional, S + A @ left @ A.T, atol=1e-8)


def generated_covariance(ladder: Ladder, C: np.ndarray) -> np.ndarray:
    """Of z_T, with the exact decoder and the noise that the code draws"""
    covariance = np.eye(ladder.sizes[0] ** 2)
    for t in range(1, ladder.T + 1):
        G, _ = exact_decoder(ladder, t, C)
        covariance = G @ covariance @ G.T + step(ladder, t)[2]
    return covariance


def test_marginals_of_gaussian_data_come_with_the_number_of_layers():
    """The spread of what is drawn falls short of the data's, half as much with twice the layers."""
    C = smooth_covariance()
    short = []
    for rungs in (1, 8, 16, 32, 64):
        drawn = generated_covariance(Ladder(SIZE, 2, rungs), C)
        assert np.linalg.eigvalsh(C - drawn).min() > -1e-9, "never too much"
        short.append(1 - np.trace(drawn) / np.trace(C))
    # As the module says: one layer a size, the lecture's picture as it stands, is far too smooth.
    np.testing.assert_allclose([short[0], short[1], short[-1]], [0.82, 0.24, 0.04], atol=5e-3)
    ratios = [a / b for a, b in itertools.pairwise(short[1:])]
    assert all(1.7 < ratio < 2.3 for ratio in ratios), short


@LADDERS
def test_marginals_are_exact_for_a_picture_that_is_known(rungs):
    """Where x is one picture there is nothing to guess: N(√ᾱ_t x_t, (1−ᾱ_t) I) at every level."""
    ladder = Ladder(SIZE, 2, rungs)
    mean, covariance = np.zeros((ladder.sizes[0] ** 2, SIZE**2)), np.eye(ladder.sizes[0] ** 2)
    for t in range(1, ladder.T + 1):
        A, B, S = step(ladder, t)
        mean, covariance = A @ picture_matrix(ladder, t) + B @ mean, B @ covariance @ B.T + S
        signal = ladder.alphas_cumprod[t]
        np.testing.assert_allclose(mean, np.sqrt(signal) * picture_matrix(ladder, t), atol=1e-10)
        np.testing.assert_allclose(covariance, (1 - signal) * np.eye(len(S)), atol=1e-10)


@LADDERS
def test_a_point_mass_comes_back_exactly(rungs):
    """And every level on the way has the noise that it should have."""
    ladder, rng, n = Ladder(SIZE, 2, rungs), np.random.default_rng(0), 2000
    x = asarray(rng.uniform(-1, 1, (1, SIZE, SIZE, 3)).repeat(n, axis=0))
    z_0 = rng.standard_normal((n, 2, 2, 3))
    levels = sample_ladder(
        lambda z, t: ladder.mean(z, t, ladder.picture(x, t[0])), z_0, ladder, rng=rng
    )
    for t, z in enumerate(levels, start=1):
        side, signal = ladder.sizes[t], ladder.alphas_cumprod[t]
        assert z.shape == (n, side, side, 3)
        noise = to_numpy(z - float(np.sqrt(signal)) * ladder.picture(x, t))
        assert noise.std() == pytest.approx(np.sqrt(1 - signal), rel=0.03, abs=1e-12)
    assert t == ladder.T
    np.testing.assert_allclose(to_numpy(z), to_numpy(x), atol=1e-12)


# The loss


class Knows:
    """A model that answers v for the picture it knows, off by white noise of size ``error``."""

    num_classes = None

    def __init__(self, ladder, x, error=0.0):
        self.ladder, self.x, self.error, self.calls = ladder, x, error, []

    def __call__(self, z, t, cond):
        self.calls.append((z.shape, t, cond))
        below = self.ladder.alphas_cumprod[t - 1].reshape(-1, 1, 1, 1)
        x = to_numpy(self.ladder.picture(self.x, t[0]))
        v = (np.sqrt(below) * to_numpy(z.data) - x) / np.sqrt(1 - below)
        v += self.error * np.random.default_rng(1).standard_normal(v.shape)
        return Tensor(asarray(v))


@LADDERS
def test_loss_is_zero_for_a_model_that_knows_the_picture(rungs):
    ladder = Ladder(SIZE, 2, rungs)
    x = asarray(np.random.default_rng(0).uniform(-1, 1, (20, SIZE, SIZE, 1)))
    model = Knows(ladder, x)
    assert ladder.training_loss(model, x).item() < 1e-20
    assert [shape for shape, _, _ in model.calls] == [(20, 4, 4, 1), (20, 8, 8, 1)]
    assert set(np.concatenate([t for _, t, _ in model.calls])) == set(range(1, ladder.T + 1))


@LADDERS
def test_loss_is_the_mean_square_of_errors_of_v(rungs):
    ladder, x = Ladder(SIZE, 2, rungs), xp.zeros((2000, SIZE, SIZE, 1))
    assert ladder.training_loss(Knows(ladder, x, error=0.3), x).item() == pytest.approx(
        0.09, rel=0.03
    )


@LADDERS
def test_the_network_is_shown_z_as_the_layers_make_it(rungs):
    """Picture and noise have their shares; a z that is to be doubled comes doubled."""
    ladder, rng, n = Ladder(SIZE, 2, rungs), np.random.default_rng(0), 4000
    x = rng.uniform(-1, 1, (1, SIZE, SIZE, 1)).repeat(n, axis=0)
    shown = []

    def model(z, t, cond):
        shown.append((to_numpy(z.data), t))
        return z

    ladder.training_loss(model, x, rng=rng)
    for z, t in shown:
        for layer in np.unique(t):
            some, below = z[t == layer], ladder.alphas_cumprod[layer - 1]
            picture = to_numpy(ladder.picture(asarray(x[: len(some)]), int(layer) - 1))
            if ladder.doubles[layer]:
                np.testing.assert_array_equal(
                    some, np.kron(some[:, ::2, ::2], np.ones((1, 2, 2, 1)))
                )
                some = some[:, ::2, ::2]
            noise = some - np.sqrt(below) * picture
            spread = np.sqrt((1 - below) / len(some))
            assert np.abs(noise.mean(axis=0)).max() < 5 * spread
            error = 5 / np.sqrt(2 * noise.size)
            assert noise.std() == pytest.approx(np.sqrt(1 - below), rel=error)


@pytest.mark.parametrize("rungs", [1, 3])
def test_the_lectures_loss_is_ours_and_a_constant(rungs):
    """w_t E‖Dec_t(z_{t−1}) − z_t‖², sampled down the layers, less the trace of Σ_t, is ours."""
    ladder, rng = Ladder(SIZE, 1, rungs), np.random.default_rng(0)
    n, weights = 4000, ladder.weights()
    x = asarray(np.broadcast_to(rng.uniform(-1, 1, (1, SIZE, SIZE, 1)), (n, SIZE, SIZE, 1)).copy())
    for t in range(1, ladder.T):
        here, below = int(ladder.sizes[t]), int(ladder.sizes[t - 1])
        z_t = ladder.q_sample(x, t, asarray(rng.standard_normal((n, here, here, 1))))
        z = ladder.down(z_t, t, asarray(rng.standard_normal((n, below, below, 1))))
        x_t = ladder.picture(x, t)
        guess = 0.3 * x_t + 0.2  # any function of z_{t−1} and the label would do
        answer = ladder.mean(z, np.full(n, t), guess)
        lecture = weights[t] * to_numpy((answer - z_t) ** 2).mean()
        ours = weights[t] * to_numpy((answer - ladder.mean(z, np.full(n, t), x_t)) ** 2).mean()
        constant = weights[t] * np.trace(step(ladder, t)[2]) / here**2
        assert lecture == pytest.approx(ours + constant, rel=0.02)


def test_weights_make_every_error_of_v_count_alike():
    ladder = Ladder(SIZE, 2, 3)
    rng = np.random.default_rng(0)
    for t in range(1, ladder.T + 1):
        side = int(ladder.sizes[t])
        v = asarray(rng.standard_normal((500, side, side, 1)))
        z, many = xp.zeros_like(v), np.full(500, t)
        moved = ladder.mean(z, many, ladder.to_x(z, many, v))
        assert ladder.weights()[t] * to_numpy(moved**2).mean() == pytest.approx(1, rel=0.05)


def test_a_tenth_of_the_labels_is_dropped_alike_for_all_layers():
    ladder, rng = Ladder(4, 1, 2), np.random.default_rng(0)
    x = xp.zeros((5000, 4, 4, 1))
    model = Knows(ladder, x)
    model.num_classes = 3
    labels = np.arange(5000) % 3
    ladder.training_loss(model, x, cond=labels, rng=rng)
    shown = model.calls[0][2]
    assert abs((shown == 3).sum() - 500) < 4 * np.sqrt(5000 * 0.09)
    np.testing.assert_array_equal(shown[shown < 3], labels[shown < 3])
    ladder.training_loss(model, x, cond=labels, drop=0.0)
    np.testing.assert_array_equal(model.calls[-1][2], labels)


# With networks


def tiny(**settings):
    td.seed(0)
    ladder = Ladder(4, 1, 2)
    return ladder, LadderDecoders(
        1, ladder.sizes, base_channels=8, norm_groups=4, num_classes=2, **settings
    )


def test_training_lowers_the_loss():
    """Bright and dark pictures, which the label tells apart"""
    ladder, model = tiny()
    labels = np.arange(16) % 2
    x = np.where(labels == 1, 0.9, -0.9).astype(np.float32).reshape(-1, 1, 1, 1)
    trainer = Trainer(
        model,
        lambda x, y: ladder.training_loss(model, x, cond=y),
        [(x.repeat(4, axis=1).repeat(4, axis=2), labels)] * 20,
        optim.Adam(model.parameters(), lr=2e-2),
    )
    losses = [record.loss for record in trainer.run(20)]
    assert np.mean(losses[-5:]) < 0.5 * losses[0], losses
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_same_seed_same_pictures_and_labels_matter():
    ladder, model = tiny()
    for parameter in model.parameters():  # heads begin at zero
        parameter.data += 0.1 * asarray(
            np.random.default_rng(1).standard_normal(parameter.shape), parameter.dtype
        )
    model.eval()

    def draw(seed, labels, scale=1.0):
        rng = np.random.default_rng(seed)
        decode = ladder_decoder(model, ladder, labels, scale=scale)
        z_0 = asarray(rng.standard_normal((2, 2, 2, 1)).astype(np.float32))
        *_, z = sample_ladder(decode, z_0, ladder, rng=rng)
        assert z.dtype == np.float32 and z.shape == (2, 4, 4, 1)
        assert to_numpy(xp.abs(z)).max() <= 1 + 1e-6, "z_T is the clamped guess"
        return to_numpy(z)

    zeros, ones = np.zeros(2, int), np.ones(2, int)
    np.testing.assert_array_equal(draw(0, zeros), draw(0, zeros))
    assert np.abs(draw(0, zeros) - draw(1, zeros)).max() > 1e-3
    assert np.abs(draw(0, zeros) - draw(0, ones)).max() > 1e-3
    np.testing.assert_array_equal(draw(0, zeros, scale=0.0), draw(0, None))
    assert np.abs(draw(0, zeros, scale=3.0) - draw(0, zeros)).max() > 1e-3


# What is refused

L = Ladder(8, 2, 2)
Z = np.zeros((2, 2, 2, 1), np.float32)
X = np.zeros((2, 8, 8, 1), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Ladder(20, 3), ValueError, "size: 20 cannot be halved 3 times"),
        (lambda: Ladder(32, 0), ValueError, "halvings: .*got 0"),
        (lambda: Ladder(32, 2, 1.5), ValueError, "rungs: .*got 1.5"),
        (lambda: Ladder(32, noise=0), ValueError, "noise: .*got 0"),
        (lambda: Ladder(32, noise=np.nan), ValueError, "noise: .*got nan"),
        (lambda: L.q_sample(X, 1, X), ValueError, r"noise: .*\(2, 4, 4, 1\)"),
        (lambda: L.picture(Z, 1), ValueError, r"x: .*\(N, 8, 8, C\).*\(2, 2, 2, 1\)"),
        (lambda: L.q_sample(X, 5, X), ValueError, "t: .*0 … 4, got 5"),
        (lambda: L.down(X, 4, X[:1]), ValueError, r"noise: .*\(1, 8, 8, 1\)"),
        (lambda: L.down(X, 0, X), ValueError, "t: .*1 … 4, got 0"),
        (lambda: L.down(Z, 4, X), ValueError, r"z: .*\(N, 8, 8, C\).*\(2, 2, 2, 1\)"),
        (lambda: L.mean(Z, np.array([0, 1]), X), ValueError, r"t: .*1 … 4, got \[0 1\]"),
        (lambda: L.mean(Z, np.array([1.0, 1]), X), ValueError, "t: .*"),
        (lambda: L.mean(Z, np.array([1, 3]), X), ValueError, "t: .*one size"),
        (lambda: L.mean(Z, np.array([3, 3]), X), ValueError, r"z: .*side 8, or half of it"),
        (lambda: L.fresh_noise(np.array([1, 1]), X), ValueError, r"eps: .*\(N, 4, 4, C\)"),
        (lambda: L.training_loss(Knows(L, X), Z), ValueError, r"x: .*\(N, 8, 8, C\)"),
        (lambda: L.training_loss(Knows(L, X), X.astype(int)), TypeError, "int64"),
        (lambda: L.training_loss(lambda z, t, c: z[:1], X), ValueError, "model: .*"),
        (lambda: L.training_loss(tiny()[1], X), ValueError, "cond: the model is conditional"),
        (lambda: ladder_decoder(tiny()[1], L, scale=2.0), ValueError, "scale: .*no labels"),
        (lambda: next(sample_ladder(None, X, L)), ValueError, r"z_0: .*\(N, 2, 2, C\)"),
        (lambda: ladder_decoder(tiny()[1], L, np.array([0, 3])), ValueError, "cond: .*got 0 … 3"),
        (
            lambda: ladder_decoder(tiny()[1], L, Z[0, 0, 0].astype(int), scale=np.inf),
            ValueError,
            "scale",
        ),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()
