"""Smoothing against what is known in closed form: an affine network of two classes.

With noise it sees class 1 with probability Φ(m/σ), m the distance to the hyperplane; so smoothing
does not move that, and the distance is the largest radius there is.
"""

from math import comb
from statistics import NormalDist

import numpy as np
import pytest
from attacked_nets import Affine, stripes, trained, untrained

from tinydiff import adversarial, backend, nn
from tinydiff.adversarial import ABSTAIN, Smoothed, smoothing
from tinydiff.adversarial.binomial import lower_bound
from tinydiff.backend import asarray, to_numpy, xp

SHAPE = 3, 3, 2


def half_space(rng):
    """A network whose class 1 begins at a hyperplane through middle grey, and a unit vector."""
    w = rng.standard_normal(int(np.prod(SHAPE)))
    w /= np.linalg.norm(w)
    weight = np.stack([-2.5 * w, 2.5 * w], axis=1).astype(np.float32)  # only their difference acts
    middle = 0.5 * weight.sum(axis=0)
    return Affine(weight, -middle), w.astype(np.float32).reshape(SHAPE)


def at(distances, w):
    """Pictures at these distances from the hyperplane"""
    return (0.5 + np.asarray(distances, np.float32)[:, None, None, None] * w).astype(np.float32)


class Constant(nn.Module):
    """The same logits for every picture"""

    independent_images = True

    def __init__(self, logits):
        self.logits = nn.Parameter(np.asarray(logits, np.float32))

    def forward(self, x):
        return self.logits + 0 * x.sum(axis=(1, 2, 3)).reshape(-1, 1)


def test_counts_are_those_of_the_noise(rng):
    """Of each picture, its own; and as often as the closed form says."""
    model, w = half_space(rng)
    distances = np.array([-0.3, 0.0, 0.1, 0.4])
    found = Smoothed(model, 0.25).counts(at(distances, w), 3001, rng=rng)
    assert found.dtype == np.int64 and (found.sum(axis=1) == 3001).all()
    p = np.array([NormalDist().cdf(d / 0.25) for d in distances])
    assert (np.abs(found[:, 1] / 3001 - p) <= 4.5 * np.sqrt(p * (1 - p) / 3001)).all()


def test_counts_do_not_hang_on_the_batches(rng, monkeypatch):
    model, w = half_space(rng)
    x = at([-0.1, 0.0, 0.2], w)
    results = []
    for batch in (500, 7, 1):
        monkeypatch.setattr(smoothing, "BATCH", batch)
        results.append(Smoothed(model, 0.3).counts(x, 41, rng=np.random.default_rng(1)))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    assert (results[0] > 0).all()


def test_the_noise_is_gaussian_and_not_clipped():
    """On black and on white: what the network is given has the right mean and deviation."""
    seen = []

    class Watch(Constant):
        def forward(self, x):
            seen.append(to_numpy(x))
            return super().forward(adversarial.network.Tensor(x))

    x = np.stack([np.zeros((20, 20, 1), np.float32), np.ones((20, 20, 1), np.float32)])
    Smoothed(Watch([0, 1]), 0.5).counts(x, 50)
    noisy = np.concatenate(seen[1:])
    assert noisy.dtype == np.float32
    for part, mean in ((noisy[:50], 0), (noisy[50:], 1)):
        assert part.mean() == pytest.approx(mean, abs=0.02)
        assert (part - mean).std() == pytest.approx(0.5, abs=0.02)
        assert np.abs(np.mean((part - mean) ** 3)) < 0.02
        assert np.mean((part - mean) ** 4) == pytest.approx(3 * 0.5**4, abs=0.02)
    assert np.std(noisy.mean(axis=0)) < 0.52, "the copies have noise of their own"


def test_a_look_is_what_is_counted(rng):
    model, w = half_space(rng)
    smoothed, x = Smoothed(model, 0.3), at([-0.1, 0.0, 0.2], w)
    noisy, seen = smoothed.look(x, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(seen, ((noisy - 0.5) * w).sum(axis=(1, 2, 3)) > 0)
    assert seen.dtype == np.int64 and 0.2 < (noisy - x).std() < 0.4
    found = smoothed.counts(x, 1, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(found.argmax(axis=1), seen)


def test_the_radius_tends_to_the_distance(rng):
    model, w = half_space(rng)
    distances = np.array([-0.5, -0.2, 0.1, 0.3, 0.7])
    smoothed, gaps = Smoothed(model, 0.4), []
    for draws in (100, 2000, 40_000):
        found = smoothed.certify(at(distances, w), select=1000, draws=draws, alpha=1e-6, rng=rng)
        sure = found.classes != ABSTAIN
        assert sure.sum() > 1
        np.testing.assert_array_equal(found.classes[sure], distances[sure] > 0)
        assert (found.radii <= np.abs(distances)).all()
        gaps.append((np.abs(distances) - found.radii).max())
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] and gaps[2] < 0.03


def test_the_radius_by_its_formula(rng, monkeypatch):
    """What 100 draws chose, and what others, the next, then said of it."""
    asked = []

    def given(self, x, draws, **_):
        asked.append(draws)
        return np.array([[60, 40], [10, 90]] if draws == 100 else [[300, 700], [20, 980]])

    monkeypatch.setattr(Smoothed, "counts", given)
    found = Smoothed(Constant([0, 1]), 0.5).certify(np.zeros((2, *SHAPE), np.float32))
    assert asked == [100, 1000]
    np.testing.assert_array_equal(found.classes, [ABSTAIN, 1])
    expected = 0.5 * NormalDist().inv_cdf(lower_bound(980, 1000, 0.001))
    np.testing.assert_allclose(found.radii, [0, expected], rtol=1e-15)


def test_the_guarantee_is_wrong_as_rarely_as_it_says(rng):
    """2,000 certificates at 95 %: above the distance in 5 % at most, and not much more rarely."""
    model, w = half_space(rng)
    x = np.repeat(at([0.2], w), 2000, axis=0)
    found = Smoothed(model, 0.25).certify(x, select=20, draws=150, alpha=0.05, rng=rng)
    wrong = (found.radii > 0.2) | (found.classes == 0)
    p, k = NormalDist().cdf(0.2 / 0.25), np.arange(151)
    bounds = np.array([lower_bound(int(j), 150, 0.05) for j in k])
    least = int(k[bounds > p][0])
    exact = sum(comb(150, j) * p**j * (1 - p) ** (150 - j) for j in range(least, 151))
    assert exact <= 0.05
    assert wrong.mean() == pytest.approx(exact, abs=4 * np.sqrt(exact / 2000))


def test_a_constant_network_has_the_largest_radius():
    """All draws agree: σ Φ⁻¹(α^(1/n)), which for 100,000 is 3.8115 σ (facts of the paper)."""
    x = np.full((3, *SHAPE), 0.5, np.float32)
    smoothed = Smoothed(Constant([0, 3, 1]), 0.25)
    found = smoothed.certify(x, draws=200)
    np.testing.assert_array_equal(found.classes, [1, 1, 1])
    expected = 0.25 * NormalDist().inv_cdf(0.001 ** (1 / 200))
    np.testing.assert_allclose(found.radii, [expected] * 3, rtol=1e-12)
    np.testing.assert_array_equal(smoothed.predict(x), [1, 1, 1])
    ceiling = smoothed.certify(x[:1, :1, :1], draws=100_000).radii[0] / 0.25
    assert ceiling == pytest.approx(3.8115, abs=5e-5)


def test_abstains_where_two_classes_are_as_likely(rng):
    model, w = half_space(rng)
    x = np.repeat(at([0.0], w), 400, axis=0)
    smoothed = Smoothed(model, 0.25)
    said = smoothed.predict(x, draws=100, alpha=0.05, rng=rng)
    # Chance alone is as uneven as 60 of 100 in 5.7 %, as 61 in 3.5 %: so often it must not abstain.
    assert (said != ABSTAIN).mean() == pytest.approx(0.035, abs=4 * np.sqrt(0.035 / 400))
    found = smoothed.certify(x, draws=200, rng=rng)
    assert (found.classes == ABSTAIN).mean() > 0.98
    assert not found.radii[found.classes == ABSTAIN].any()


def test_predicts_what_is_more_likely(rng):
    model, w = half_space(rng)
    distances = np.array([-0.2, 0.2, 0.1, -0.4])
    said = Smoothed(model, 0.25).predict(at(distances, w), draws=500, rng=rng)
    np.testing.assert_array_equal(said, distances > 0)


def test_compares_the_two_most_frequent_classes(monkeypatch):
    """Not with all others together: 40 of 100 beat 10, 25 and 25."""
    table = np.array([[10, 55, 10, 25], [25, 25, 25, 25], [0, 0, 100, 0], [50, 0, 0, 50]])
    monkeypatch.setattr(Smoothed, "counts", lambda self, x, draws, **_: table)
    smoothed = Smoothed(Constant([0, 1]), 0.5)
    x = np.zeros((4, *SHAPE), np.float32)
    np.testing.assert_array_equal(smoothed.predict(x), [ABSTAIN, ABSTAIN, 2, ABSTAIN])
    np.testing.assert_array_equal(smoothed.predict(x, alpha=0.01), [1, ABSTAIN, 2, ABSTAIN])


def test_no_attack_contradicts_a_certificate(rng):
    """PGD in L2, on the network itself, to the rim of each picture's own ball, and beyond."""
    model, (x, y) = trained(), stripes(6, 1)
    smoothed = Smoothed(model, 0.3)
    found = smoothed.certify(x, draws=500, rng=rng)
    assert found.accuracy(y, 0.3) > 0.8

    def said_after(times):
        attacked = [
            adversarial.pgd(model, one[None], y[None], eps=times * r, norm=2, steps=10, rng=rng)
            for one, y, r in zip(x, found.classes, found.radii, strict=True)
        ]
        moved = np.concatenate([to_numpy(z) for z in attacked]) - x
        far = np.linalg.norm(moved.reshape(len(x), -1), axis=1)
        assert (far > 0.7 * times * found.radii).all()
        return smoothed.predict(x + moved, draws=500, rng=rng)

    within = said_after(1)
    assert ((within == found.classes) | (within == ABSTAIN)).all()
    beyond = said_after(5)
    assert (beyond == 1 - found.classes).mean() > 0.5, "the attack is one"


def test_certified_accuracy_wants_the_right_class_and_the_radius():
    found = adversarial.Certificates(np.array([1, 2, ABSTAIN, 3]), np.array([0.5, 0.9, 0, 0.1]))
    y = np.array([1, 1, 0, 3])
    assert [found.accuracy(y, r) for r in (0, 0.1, 0.2, 0.5, 0.6)] == [0.5, 0.5, 0.25, 0.25, 0]


@pytest.mark.parametrize("method", ["counts", "predict", "certify"])
def test_chance_is_seeded_and_the_model_stays_as_it_was(method, rng):
    model = untrained()
    x = rng.random((3, 6, 6, 2), np.float32)
    before = [to_numpy(p.data).copy() for p in model.parameters()]

    def result(seed=None):
        chance = None if seed is None else np.random.default_rng(seed)
        return np.array(getattr(Smoothed(model, 2.0), method)(asarray(x), draws=60, rng=chance))

    np.testing.assert_array_equal(result(1), result(1))
    state = backend.rng.bit_generator.state
    result(1)
    assert backend.rng.bit_generator.state == state
    first = result()
    assert backend.rng.bit_generator.state != state
    backend.rng.bit_generator.state = state
    np.testing.assert_array_equal(result(), first)
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    for p, value in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(to_numpy(p.data), value)


@pytest.mark.skipif(not hasattr(xp, "transfers"), reason="only the stand-in counts transfers")
def test_nothing_is_read_back_between_the_draws(rng, monkeypatch):
    monkeypatch.setattr(smoothing, "BATCH", 10)
    smoothed, x = Smoothed(Constant([0, 1]), 0.5), asarray(rng.random((2, *SHAPE), np.float32))

    def read(draws):
        before = xp.transfers["to host"]
        smoothed.counts(x, draws)
        return xp.transfers["to host"] - before

    assert read(10) == read(100)


def test_the_sheet_shows_copies_as_the_network_sees_them(rng):
    """Cells of 96 pixels: the picture, and five copies with noise; below each a caption."""
    x = rng.random((2, 6, 6, 1), np.float32)
    smoothed = Smoothed(Constant([0, 1]), 0.3)
    its = adversarial.Certificates(np.array([1, ABSTAIN]), np.array([0.5, 0.0]))

    def drawn(seed, its=its):
        chance = np.random.default_rng(seed)
        return adversarial.noisy_copies(smoothed, x, its, ("cat", "dog"), rng=chance)

    table = drawn(2)
    assert table.shape == (2 * (96 + 18 + 32) + 32, 6 * (96 + 32) + 32, 3)
    np.testing.assert_array_equal(table, drawn(2))
    cells = [table[32:128:16, 32 + 128 * k : 128 + 128 * k : 16, 0] for k in range(6)]
    np.testing.assert_allclose(cells[0] / 255, x[0, ..., 0], atol=0.5 / 255 + 1e-6)
    copies, _ = smoothed.look(np.stack([x[0]] * 5), rng=np.random.default_rng(2))
    for cell, copy in zip(cells[1:], copies, strict=True):
        np.testing.assert_allclose(cell / 255, np.clip(copy[..., 0], 0, 1), atol=0.5 / 255 + 1e-6)
    sure = adversarial.Certificates(np.array([1, 1]), np.array([0.5, 0.2]))
    differs = (drawn(2, sure) != table).any(axis=(1, 2))
    assert differs.any() and not differs[: 146 + 96].any(), "the other verdict, and only that"
    one = adversarial.Certificates(sure.classes[:1], sure.radii[:1])
    with pytest.raises(ValueError, match="certificates: expected 2, one for each picture, got 1"):
        drawn(2, one)


def test_a_radius_is_rounded_down():
    its = adversarial.Certificates(np.array([1, 1]), np.array([0.6157, 0.375]))
    assert [its.within(i) for i in range(2)] == ["within 0.615", "within 0.375"]


def test_progress_counts_the_draws(capsys):
    Smoothed(Constant([0, 1]), 0.5).counts(np.zeros((2, *SHAPE), np.float32), 40, progress="asking")
    err = capsys.readouterr().err
    assert "asking" in err and "/80" in err


X = np.full((2, *SHAPE), 0.5, np.float32)
REFUSED = {
    "no module": (lambda s: Smoothed(lambda x: x, 0.5), TypeError, "model: expected a Module"),
    "no noise": (lambda s: Smoothed(s.model, 0), ValueError, "sigma is 0, expected a number > 0"),
    "a text": (lambda s: Smoothed(s.model, "0.5"), TypeError, "sigma: expected a number"),
    "[-1, 1]": (lambda s: s.certify(2 * X - 2), ValueError, r"x: expected pictures in \[0, 1\]"),
    "one picture": (lambda s: s.counts(X[0], 10), ValueError, "x has shape"),
    "bytes": (lambda s: s.predict(X.astype(np.uint8)), TypeError, "x: expected floats"),
    "no draws": (lambda s: s.counts(X, 0), ValueError, "draws is 0"),
    "half a draw": (lambda s: s.certify(X, draws=1.5), TypeError, "draws: expected an int"),
    "nothing to select": (lambda s: s.certify(X, select=0), ValueError, "select is 0"),
    "alpha": (lambda s: s.certify(X, alpha=0), ValueError, "alpha is 0"),
    "alpha of 1": (lambda s: s.predict(X, alpha=1.0), ValueError, "alpha is 1.0"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_refuses_what_does_not_fit(wrong):
    call, error, message = REFUSED[wrong]
    with pytest.raises(error, match=rf"^{message}"):
        call(Smoothed(Constant([0, 1]), 0.5))
