"""Gradient ascent where the way is known, jitter that is undone, and no trace on the model."""

import numpy as np
import pytest
from visualize.small_nets import Affine, Small, pictures

import tinydiff as td
from tinydiff import Tensor
from tinydiff.backend import asarray, to_numpy
from tinydiff.visualize import (
    Unit,
    alpha_norm,
    ascend,
    deep_dream,
    energy,
    gradient,
    invert,
    jittered,
    logit,
    noise,
    one_each,
    penalised,
    rolled,
)


def last(generator):
    *_, x = generator
    return to_numpy(x)


def test_of_an_affine_function_goes_along_its_weights(rng):
    weight = rng.standard_normal((5, 4, 3)).astype(np.float32)
    start = noise((2, 5, 4, 3), rng=rng)
    found = last(ascend(Affine(weight), start, logit(0), steps=7, rate=0.01, after=()))
    expected = start + 7 * 0.01 * weight / np.abs(weight).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    ends = last(ascend(Affine(weight), start, logit(0), steps=500, rate=1.0))
    np.testing.assert_array_equal(ends, np.stack([np.sign(weight)] * 2))


def test_a_penalty_moves_the_summit(rng):
    """w·x − λ Σx⁶/pixels is largest at x⁵ = w·pixels/(6λ)."""
    weight = rng.uniform(0.5, 1, (4, 4, 1)).astype(np.float32)
    target = penalised(logit(0), 40.0, alpha_norm)
    found = last(ascend(Affine(weight), noise((1, 4, 4, 1), rng=rng), target, steps=900, rate=2e-3))
    np.testing.assert_allclose(found[0], (16 * weight / 240) ** 0.2, atol=0.01)


def test_what_comes_after_a_step_comes_in_order():
    calls = []
    after = [lambda x, k: calls.append(("a", k)) or x * 0, lambda x, k: calls.append(("b", k)) or x]
    *_, x = ascend(Small(), pictures(2), logit(1), steps=2, after=after)
    assert calls == [("a", 1), ("b", 1), ("a", 2), ("b", 2)] and not to_numpy(x).any()


@pytest.mark.parametrize("shift", [(0, 0), (2, -3), (-1, 0), (17, 4)])
def test_rolled_as_numpy_rolls(shift, rng):
    x = rng.standard_normal((2, 5, 4, 3))
    td.gradcheck(lambda x: rolled(x, *shift), x)
    found = rolled(Tensor(asarray(x)), *shift).numpy()
    np.testing.assert_array_equal(found, np.roll(x, shift, axis=(1, 2)))


def test_jitter_is_undone_exactly(rng):
    weight = rng.standard_normal((5, 4, 3)).astype(np.float32)
    drawn = np.random.default_rng(3).integers(-4, 5, 2)
    target = jittered(logit(0), 4, rng=np.random.default_rng(3))
    (found,) = gradient(Affine(weight), pictures(1, 5, 4), target)
    np.testing.assert_array_equal(found, np.roll(weight, -drawn, axis=(0, 1)))
    assert drawn.any()


def test_jitter_is_drawn_anew_at_each_call():
    target = jittered(logit(0), 5, rng=np.random.default_rng(0))
    weight = np.arange(48, dtype=np.float32).reshape(4, 4, 3)
    some = [gradient(Affine(weight), pictures(1, 4, 4), target) for _ in range(8)]
    assert len({g.tobytes() for g in some}) > 3


@pytest.mark.parametrize("place", [None, (1, 2)])
def test_one_each_is_what_each_alone_would_be(place):
    model, start = Small().astype(np.float64), pictures(3)
    units = [Unit("body.3", c, place) for c in (5, 0, 2)]
    together = last(ascend(model, start, one_each(units), steps=4))
    alone = [last(ascend(model, start[i : i + 1], u, steps=4)) for i, u in enumerate(units)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-12)


def test_one_each_refuses():
    with pytest.raises(ValueError, match=r"units: expected those of one layer, got layers \['', "):
        one_each([logit(0), Unit("body.3", 1)])
    with pytest.raises(ValueError, match=r"expected those of one layer, got layers \[\]"):
        one_each([])
    with pytest.raises(ValueError, match="units: there are 2 for 3 pictures"):
        next(ascend(Small(), pictures(3), one_each([logit(0), logit(1)])))
    with pytest.raises(ValueError, match="layer: Small has none named 'nose'; it has body, "):
        next(ascend(Small(), pictures(1), Unit("nose", 1)))


MAKERS = {
    "ascend": lambda model, x: ascend(model, x, jittered(logit(1), 2), steps=3),
    "deep_dream": lambda model, x: deep_dream(
        model, x, energy("body.3"), octaves=1, steps=3, jitter=2
    ),
    "invert": lambda model, x: invert(model, x, "body.3", steps=3),
}
every_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@every_maker
@pytest.mark.parametrize("channels", [1, 3])
def test_leaves_no_trace_and_stays_in_range(make, channels):
    model, x = Small(channels), pictures(2, channels=channels)
    model.head.weight.requires_grad = False
    before = {name: to_numpy(p.data).copy() for name, p in model.named_parameters()}
    copy = x.copy()
    for film in make(model.train(), x):
        assert film.shape == x.shape and to_numpy(film).dtype == np.float32
        assert np.abs(to_numpy(film)).max() <= 1
        assert model.training and model.dropout.training
        for name, p in model.named_parameters():
            assert p.grad is None and np.array_equal(to_numpy(p.data), before[name])
            assert p.requires_grad == (name != "head.weight")
    assert np.array_equal(x, copy)


@every_maker
def test_the_same_seed_the_same_pictures_and_each_of_its_own(make):
    model, films = Small(), []
    for seed in (0, 0, 1):
        td.seed(seed)
        films.append([to_numpy(x) for x in make(model, pictures(1))])
    assert len(films[0]) == 3
    assert all(np.array_equal(a, b) for a, b in zip(*films[:2], strict=True))
    assert not np.array_equal(films[0][-1], films[2][-1])
    assert not np.array_equal(films[0][0], films[0][1]), "one array, overwritten"


def test_the_target_grows():
    model, start = Small(), pictures(4)
    values = lambda x: logit(2)(model.eval(), Tensor(asarray(x))).numpy()
    film = [values(x) for x in ascend(model, start, logit(2), steps=20)]
    assert (film[-1] > film[0] + 0.1).all()


def test_a_gradient_of_zeros_changes_nothing():
    found = last(ascend(Affine(np.zeros((4, 4, 1), np.float32)), pictures(1, 4, 4, 1), logit(0)))
    assert np.isfinite(found).all() and np.array_equal(
        found, pictures(1, 4, 4, 1) / np.float32(127.5) - 1
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: ascend(m, pictures(1), logit(0), steps=0), "steps is 0, expected an int ≥ 1"),
        (lambda m: ascend(m, pictures(1), logit(0), rate=-1), "rate is -1, expected a number > 0"),
        (lambda m: ascend(m, pictures(1) * 3.0, logit(0)), r"images: expected floats in \[−1, 1\]"),
        (lambda m: jittered(logit(0), 0), "pixels is 0, expected an int ≥ 1"),
        (lambda m: noise((1, 2, 2, 1), ground=2), "ground is 2, expected −1 ≤ ground ≤ 1"),
        (lambda m: noise((1, 2, 2, 1), size=0), "size is 0, expected a number > 0"),
        (lambda m: penalised(logit(0), 0, alpha_norm), "weight is 0, expected a number > 0"),
    ],
)
def test_refuses_at_the_door(call, message):
    with pytest.raises(ValueError, match=message):
        call(Small())


def test_noise():
    found = noise((2, 40, 40, 3), ground=0.25, size=0.2, rng=np.random.default_rng(0))
    assert found.dtype == np.float32 and found.shape == (2, 40, 40, 3)
    assert found.mean() == pytest.approx(0.25, abs=0.01) and found.std() == pytest.approx(0.2, 0.05)
    dark = noise((1, 8, 8, 1), ground=-1)
    assert dark.min() == -1 and np.mean(dark == -1) > 0.2


def test_another_dtype():
    model = Small().astype(np.float64)
    assert last(ascend(model, pictures(1), logit(0), steps=1)).dtype == np.float64
