"""Cascades: held to a Gaussian of large and small pictures, whose posterior is known exactly."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, data, nn
from tinydiff.backend import asarray, randn, to_numpy
from tinydiff.diffusion import (
    Pipeline,
    SuperResolution,
    classifier_free,
    denoiser,
    draw_cascade,
    dynamic_threshold,
    sample_ddim,
)
from tinydiff.diffusion.cascade import Beside, enlarged, shrunk
from tinydiff.images import to_float, to_uint8
from tinydiff.training import CheckpointError, load, one_cycle_trainer, train

UNET = dict(
    base_channels=8,
    channel_mults=(1,),
    num_res_blocks=1,
    attention_levels=(),
    norm_groups=4,
)
WIDE = {"classes": [], "unet": UNET, "schedule": ["cosine", 1000], "prediction": "v", "steps": 3}
SMALL = {**WIDE, "image": [2, 2, 1]}
LARGE = {**WIDE, "image": [4, 4, 1], "factor": 2, "augmentation": 0.5}
TEXT = {
    "words": ["a", "red", "circle"],
    "unet": {**UNET, "text": {"length": 4, "width": 4, "depth": 1, "heads": 1}},
}
CAPTIONS = ["a red circle", "a circle", "red"]
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 1), dtype=np.uint8)


def stage(settings, **changed):
    """One whose last layers say something: as they begin, they are zeros."""
    td.seed(0)
    made = (SuperResolution if "factor" in settings else Pipeline)(settings | changed)
    for p in made.model.parameters():
        p.data[...] = 0.2 * randn(p.shape)
    return made


# ---- A Gaussian: large pictures x ~ N(MEAN, COV), 4×4, and their means of 2×2 pixels

MANY = 8000
PLACES = np.indices((4, 4)).reshape(2, 16).T
MEAN = 0.1 * np.sin(PLACES @ [1.0, 0.7])
COV = 0.15**2 * np.exp(-((PLACES[:, None] - PLACES) ** 2).sum(axis=2) / 3) + 0.03**2 * np.eye(16)
SHRINK = np.kron(np.kron(np.eye(2), [[0.5, 0.5]]), np.kron(np.eye(2), [[0.5, 0.5]]))
ALONG = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])  # bilinear, two pixels to four
ENLARGE = np.kron(ALONG, ALONG)


class Ideal(nn.Module):
    """The best a network can say, v = α E[ε | y] − σ E[x_0 | y], of x_0 ~ N(mean, cov).

    y is x_t, and, if ``seen`` is a matrix M, z = a M x_0 + b ε' behind it, a and b of the level.
    """

    num_classes = text = None

    def __init__(self, schedule, mean, cov, seen=None):
        self.schedule, self.mean, self.cov, self.seen = schedule, mean, cov, seen

    def forward(self, x, t, cond=None):
        channels = to_numpy(x.data).astype(np.float64).reshape(len(x), len(self.mean), -1)
        times = np.asarray(t).reshape(len(x), -1)
        assert channels.shape[2] == times.shape[1] == (1 if self.seen is None else 2)
        assert (times == times[0]).all()
        alpha, sigma = self.schedule.signal_and_sigma(times[0])
        ways = [np.eye(len(self.mean)), self.seen][: len(alpha)]
        H = np.concatenate([a * way for a, way in zip(alpha, ways, strict=True)])
        noise = np.repeat(sigma**2, len(self.mean))
        y = channels.transpose(0, 2, 1).reshape(len(x), -1)
        gain = self.cov @ H.T @ np.linalg.inv(H @ self.cov @ H.T + np.diag(noise))
        x0 = self.mean + (y - H @ self.mean) @ gain.T
        eps = (channels[:, :, 0] - alpha[0] * x0) / sigma[0]
        v = (alpha[0] * eps - sigma[0] * x0).astype(np.float32)
        return Tensor(asarray(v.reshape(*x.shape[:3], 1)))


def ideal_stages():
    small, large = Pipeline(SMALL), SuperResolution({**LARGE, "augmentation": 1.0})
    schedule = small.diffusion.schedule
    small.model = Ideal(schedule, SHRINK @ MEAN, SHRINK @ COV @ SHRINK.T)
    large.model = Ideal(schedule, MEAN, COV, ENLARGE @ SHRINK)
    return small, large


def posterior(level):
    """gain and C: given small, and noise of the level on it, x has the covariance C and the mean
    MEAN + gain (small − SHRINK MEAN)"""
    ideal = ideal_stages()[1]
    a, b = ideal.diffusion.schedule.signal_and_sigma(np.array([level * 999]))
    M = a * ENLARGE @ SHRINK
    K = COV @ M.T @ np.linalg.inv(M @ COV @ M.T + b**2 * np.eye(16))
    return K @ (a * ENLARGE), COV - K @ M @ COV + b**2 * K @ K.T


def close(sample, exact, errors=5.0):
    """Covariances agree within so many standard errors of MANY draws."""
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    worst = (np.abs(sample - exact) / scale).max()
    assert worst < errors * np.sqrt(2 / MANY), worst


SETTINGS = {"sampler": "dpm-solver", "steps": 60}


@pytest.mark.parametrize("level", [0.02, 0.4])
def test_a_small_picture_becomes_what_large_ones_are_given_it(level):
    _, large = ideal_stages()
    small = np.array([[0.2, -0.1], [0.05, 0.3]], np.float32).reshape(1, 2, 2, 1)
    many = np.repeat(small, MANY, axis=0)
    settings = {**SETTINGS, "rng": np.random.default_rng(0)}
    *_, x = large.denoising(many, level=level, **settings)
    x = to_numpy(x).reshape(MANY, 16)
    gain, cov = posterior(level)
    expected = MEAN + gain @ (small.ravel() - SHRINK @ MEAN)
    assert np.abs(x.mean(axis=0) - expected).max() < 5 * np.sqrt(cov.max() / MANY)
    close(np.cov(x.T), cov)


@pytest.mark.parametrize("level", [0.0, 0.4])
def test_a_cascade_of_ideal_networks_draws_what_there_is(level):
    """Whatever the level: the noise is known to the network, and so the pictures are right."""
    stages = ideal_stages()
    settings = [{**SETTINGS, "batch": MANY}, {**SETTINGS, "batch": MANY, "level": level}]
    drawn = draw_cascade(stages, MANY, settings=settings, rng=np.random.default_rng(1))
    small, large = (to_float(d).reshape(MANY, -1).astype(np.float64) for d in drawn)
    gain, _ = posterior(level)
    of_small = SHRINK @ COV @ SHRINK.T
    both = gain @ of_small
    joint = np.block([[of_small, both.T], [both, COV]])
    close(np.cov(np.concatenate([small, large], axis=1).T), joint)
    for pictures, mean in ((small, SHRINK @ MEAN), (large, MEAN)):
        assert np.abs(pictures.mean(axis=0) - mean).max() < 5 * np.sqrt(COV.max() / MANY)
    agree = np.corrcoef((large @ SHRINK.T).ravel(), small.ravel())[0, 1]
    assert agree > 0.999 if level == 0 else agree < 0.8


# ---- What the network is shown


class Watching(nn.Module):
    """Keeps what it is shown, and says nothing."""

    num_classes = text = None

    def __init__(self):
        self.seen = []

    def forward(self, x, t, cond=None):
        self.seen.append((to_numpy(x.data), t, cond))
        return Tensor(x.data[..., :1] * 0)


def test_what_it_learns_from_is_small_enlarged_and_noised_as_it_is_told():
    made = stage(LARGE)
    made.model = Watching()
    x0 = asarray(np.random.default_rng(1).uniform(-1, 1, (4000, 4, 4, 1)))
    made.training_loss(x0, rng=np.random.default_rng(2))
    ((x, times, cond),) = made.model.seen
    assert x.shape == (4000, 4, 4, 2) and times.shape == (4000, 2) and cond is None
    t, s = times.T
    assert 0 <= s.min() < 2 and 497 < s.max() <= 0.5 * 999
    assert abs(s.mean() - 0.25 * 999) < 5 * 0.5 * 999 / np.sqrt(12 * 4000)
    x0 = to_numpy(x0).reshape(4000, 16)
    noises = []
    for k, (clean, steps) in enumerate(((x0, t), (x0 @ (ENLARGE @ SHRINK).T, s))):
        a, b = made.diffusion.schedule.signal_and_sigma(steps)
        noises.append((x[..., k].reshape(4000, 16) - a[:, None] * clean) / b[:, None])
    flat = np.concatenate(noises, axis=1)
    assert np.abs(flat.mean(axis=0)).max() < 5 / np.sqrt(4000)
    assert np.abs(flat.T @ flat / 4000 - np.eye(32)).max() < 6 * np.sqrt(2 / 4000)
    early, late = (flat[(s < 100)][:, 16:], flat[(s > 400)][:, 16:])
    assert np.allclose([early.std(), late.std()], 1, atol=0.05)


def test_without_augmentation_it_sees_the_small_picture_itself():
    made = stage({**LARGE, "augmentation": 0.0})
    made.model = Watching()
    x0 = asarray(np.random.default_rng(1).uniform(-1, 1, (50, 4, 4, 1)))
    made.training_loss(x0, rng=np.random.default_rng(2))
    ((x, times, _),) = made.model.seen
    assert not times[:, 1].any()
    seen = to_numpy(x0).reshape(50, 16) @ (ENLARGE @ SHRINK).T
    assert np.abs(x[..., 1].reshape(50, 16) - seen).max() < 0.05  # step 0 has a little noise


def test_shrinking_and_enlarging():
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 3))
    small = to_numpy(shrunk(asarray(x), 2))
    flat = x.transpose(0, 3, 1, 2).reshape(6, 16) @ SHRINK.T
    np.testing.assert_allclose(small.transpose(0, 3, 1, 2).reshape(6, 4), flat, atol=1e-12)
    large = to_numpy(enlarged(asarray(small), 2)).transpose(0, 3, 1, 2).reshape(6, 16)
    np.testing.assert_allclose(large, flat @ ENLARGE.T, atol=1e-12)
    assert shrunk(asarray(x[:, :3, :3]), 3).shape == (2, 1, 1, 3)


def test_shrinks_as_it_learns_from():
    large = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), dtype=np.uint8)
    expected = np.rint(large.reshape(3, 16) @ SHRINK.T).astype(int)
    small = stage(LARGE).shrink(large)
    assert small.dtype == np.uint8 and small.shape == (3, 2, 2, 1)
    np.testing.assert_allclose(small.reshape(3, 4).astype(int), expected, atol=1)
    flat = np.full((1, 4, 4, 1), 77, np.uint8)
    np.testing.assert_array_equal(stage(LARGE).shrink(flat), flat[:, :2, :2])


def test_a_network_beside_pictures_is_guided_as_any_other():
    made = stage(LARGE, **TEXT)
    z = randn((3, 4, 4, 1), rng=np.random.default_rng(1))
    s = np.array([3.0, 50.0, 7.5])
    tokens = made.tokenizer.encode(CAPTIONS)
    guided = classifier_free(Beside(made.model, z, s), made.diffusion, tokens, scale=3.0)
    x, t = randn((3, 4, 4, 1), rng=np.random.default_rng(2)), np.array([10, 500, 900])
    eps = []
    for told in (tokens, None):
        each = [
            denoiser(
                Beside(made.model, z[i : i + 1], s[i : i + 1]),
                made.diffusion,
                None if told is None else told[i : i + 1],
            )(x[i : i + 1], t[i : i + 1])
            for i in range(3)
        ]
        eps.append(np.concatenate([to_numpy(e) for e in each]))
    with_cond, without = eps
    assert np.abs(with_cond - without).max() > 1e-3
    expected = without + 3 * (with_cond - without)
    np.testing.assert_allclose(to_numpy(guided(x, t)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "cond"),
    [
        ({"embedding": 2}, np.ones((3, 2), np.float32)),
        ({"map_classes": 2}, np.ones((3, 4, 4), np.int64)),
    ],
)
def test_beside_pictures_it_is_told_what_its_network_is(kind, cond):
    made = stage(LARGE, unet={**UNET, **kind})
    z = randn((3, 4, 4, 1), rng=np.random.default_rng(1))
    model, x = Beside(made.model, z, np.arange(3.0)), z[::-1].copy()
    eps = [denoiser(model, made.diffusion, told)(x, np.full(3, 500)) for told in (cond, None)]
    assert all(e.shape == x.shape for e in eps)
    assert np.abs(to_numpy(eps[0] - eps[1])).max() > 1e-3


# ---- Drawing


def by_hand(made, small, level, seed, **settings):
    """Of one batch: augment, then sample."""
    rng = np.random.default_rng(seed)
    u = to_numpy(enlarged(asarray(to_float(small)), 2))
    a, b = made.diffusion.schedule.signal_and_sigma(np.array([level * 999]))
    z = asarray(float(a[0]) * u + float(b[0]) * to_numpy(randn(u.shape, rng=rng)))
    model = Beside(made.model.eval(), z.astype(np.float32), np.full(len(u), level * 999))
    noise = randn(u.shape, rng=rng)
    *_, x = sample_ddim(denoiser(model, made.diffusion), noise, made.diffusion.schedule, steps=4)
    return to_uint8(to_numpy(x))


def test_draws_what_its_parts_would():
    made = stage(LARGE)
    settings = {"sampler": "ddim", "steps": 4}
    drawn = made.draw(PICTURES, level=0.3, rng=np.random.default_rng(3), **settings)
    np.testing.assert_array_equal(drawn, by_hand(made, PICTURES, 0.3, seed=3))
    assert not np.array_equal(drawn, made.draw(PICTURES, rng=np.random.default_rng(3), **settings))
    floats = made.draw(to_float(PICTURES), level=0.3, rng=np.random.default_rng(3), **settings)
    np.testing.assert_array_equal(floats, drawn)
    rng = np.random.default_rng(4)
    batches = made.draw(PICTURES, level=0.3, rng=rng, batch=2, **settings)
    rng = np.random.default_rng(4)
    for part in (PICTURES[:2], PICTURES[2:]):
        first, batches = batches[: len(part)], batches[len(part) :]
        again = made.draw(part, level=0.3, rng=rng, **settings)
        np.testing.assert_array_equal(first, again)


def test_a_cascade_goes_on_from_what_the_stage_before_has_drawn():
    base, middle = stage(SMALL, **TEXT), stage(LARGE)  # the second is told nothing
    last = stage({**LARGE, **TEXT, "image": [8, 8, 1]})
    settings = [
        {"sampler": "ddim", "steps": 3, "guidance": 2.0, "threshold": 0.9},
        {"sampler": "ddim", "steps": 2, "level": 0.1},
        {"steps": 2, "level": 0.2, "guidance": 1.5},
    ]
    stages, rng = (base, middle, last), np.random.default_rng(5)
    drawn = draw_cascade(stages, 3, CAPTIONS, settings=settings, rng=rng)
    assert [d.shape for d in drawn] == [(3, 2, 2, 1), (3, 4, 4, 1), (3, 8, 8, 1)]
    rng = np.random.default_rng(5)
    one = base.draw(3, CAPTIONS, rng=rng, **settings[0])
    two = middle.draw(one, rng=rng, **settings[1])
    three = last.draw(two, CAPTIONS, rng=rng, **settings[2])
    for got, expected in zip(drawn, (one, two, three), strict=True):
        np.testing.assert_array_equal(got, expected)
    for s in settings:
        s.pop("guidance", None)
    free = draw_cascade(stages, 2, settings=settings, rng=np.random.default_rng(5))
    assert [len(d) for d in free] == [2, 2, 2], "of nothing at all"


def test_a_cascade_of_vectors_and_one_that_would_not_listen():
    base = stage({**SMALL, "unet": {**UNET, "embedding": 2}})
    settings = [{"steps": 2, "guidance": 2.0}, {"steps": 2}]
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    drawn = [
        draw_cascade(
            [base, stage(LARGE)], 2, cond, settings=settings, rng=np.random.default_rng(5)
        )[0]
        for cond in (vectors, vectors[::-1])
    ]
    rng = np.random.default_rng(5)
    np.testing.assert_array_equal(drawn[0], base.draw(2, vectors, rng=rng, **settings[0]))
    assert not np.array_equal(*drawn)
    with pytest.raises(ValueError, match="cond: got one, but no stage has learned to be told any"):
        draw_cascade([stage(SMALL)], 3, CAPTIONS, settings=[{}])


def test_a_pipeline_thresholds():
    made = stage({**SMALL, **TEXT, "image": [4, 4, 1]})
    made.model.head.weight.data[...] *= 20
    tokens = made.tokenizer.encode(CAPTIONS)
    clamped = classifier_free(made.model.eval(), made.diffusion, tokens, scale=2.0)
    thresholded = dynamic_threshold(clamped, made.diffusion, quantile=0.7)
    films = []
    for denoise, quantile in ((clamped, None), (thresholded, 0.7)):
        settings = {"steps": 3, "sampler": "ddim", "guidance": 2.0, "threshold": quantile}
        film = made.denoising(3, CAPTIONS, **settings, rng=np.random.default_rng(0))
        noise = randn((3, 4, 4, 1), rng=np.random.default_rng(0))
        expected = sample_ddim(denoise, noise, made.diffusion.schedule, steps=3)
        films.append(np.stack([to_numpy(x) for x in film]))
        np.testing.assert_array_equal(films[-1], np.stack([to_numpy(x) for x in expected]))
    assert np.abs(films[0] - films[1]).max() > 0.01


def test_its_training_goes_into_a_checkpoint_and_comes_back(tmp_path):
    made = stage(LARGE, **TEXT)
    tokens = made.tokenizer.encode(CAPTIONS)
    large = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), dtype=np.uint8)
    batches = data.Batches(data.Dataset("noise", large, np.arange(3), tuple("abc")), 2)
    trainer = one_cycle_trainer(
        made.model, lambda x, y: made.training_loss(x, cond=tokens[y]), batches, lr=0.01, steps=3
    )
    list(train(trainer, 3, tmp_path, settings=made.settings))
    again = SuperResolution.load(tmp_path / "checkpoint.npz", finished=True)
    settings = {"level": 0.1, "steps": 3, "guidance": 2.0}
    expected = None
    with trainer.ema.swapped():
        expected = made.draw(PICTURES, CAPTIONS, rng=np.random.default_rng(0), **settings)
    drawn = again.draw(PICTURES, CAPTIONS, rng=np.random.default_rng(0), **settings)
    np.testing.assert_array_equal(drawn, expected)
    before = stage(LARGE, **TEXT).model.state_dict()
    state = load(tmp_path / "checkpoint.npz")["model"]
    unchanged = [n for n, a in state.items() if np.array_equal(a, to_numpy(before[n]))]
    assert not unchanged, "learns all of it"
    with pytest.raises(CheckpointError, match="not a diffusion model's"):
        Pipeline.load(tmp_path / "checkpoint.npz")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"factor": 1}, "factor: expected a whole number ≥ 2 that divides 4 and 4, got 1"),
        ({"factor": 3}, "factor: .*got 3"),
        ({"factor": 2.0}, "factor: .*got 2.0"),
        ({"image": [4, 5, 1]}, "factor: .*divides 4 and 5, got 2"),
        ({"augmentation": 1.5}, r"augmentation: expected a number in \[0, 1.0\], got 1.5"),
        ({"augmentation": None}, "augmentation: .*got None"),
        ({"schedule": ["square", 40]}, "schedule: expected one of"),
    ],
)
def test_refuses_settings(changed, message):
    with pytest.raises(ValueError, match=message):
        SuperResolution(LARGE | changed)
    lacking = {name: value for name, value in LARGE.items() if name != "augmentation"}
    with pytest.raises(ValueError, match="they lack augmentation"):
        SuperResolution(lacking)


def test_refuses_what_does_not_fit():
    made = stage(LARGE)
    with pytest.raises(ValueError, match=r"level: expected a number in \[0, 0.5\], got 0.6"):
        made.draw(PICTURES, level=0.6)
    with pytest.raises(ValueError, match=r"small: expected pictures \(2, 2, 1\), got shape \(3, 4"):
        made.draw(np.zeros((3, 4, 4, 1), np.uint8))
    with pytest.raises(TypeError, match="images: expected a NumPy array"):
        made.draw(3)
    with pytest.raises(ValueError, match="cond: got one, but the model is unconditional"):
        made.draw(PICTURES, [0, 0, 0])
    with pytest.raises(ValueError, match="cond: expected 3, one for each picture, got 2"):
        stage(LARGE, **TEXT).draw(PICTURES, CAPTIONS[:2])
    base = stage(SMALL)
    with pytest.raises(ValueError, match="settings: expected one for each of 2 stages"):
        draw_cascade([base, made], 2, settings=[{}])
    wider = stage({**LARGE, "image": [8, 8, 1]})
    with pytest.raises(ValueError, match=r"draws pictures \(2, 2, 1\), the next takes \(4, 4, 1\)"):
        draw_cascade([base, wider], 2, settings=[{}, {}])
    with pytest.raises(ValueError, match=r"draws pictures \(2, 2, 1\), the next takes None"):
        draw_cascade([base, base], 2, settings=[{}, {}])
