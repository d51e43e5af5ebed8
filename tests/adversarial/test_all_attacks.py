"""What holds for every attack: where it ends, and what it leaves alone."""

import inspect

import numpy as np
import pytest
from attacked_nets import (
    CASES,
    affine,
    some_pictures,
    through_purification,
    undecided,
    universal,
    untrained,
)

from tinydiff import adversarial, backend, nn
from tinydiff.adversarial.network import logits_of
from tinydiff.backend import to_numpy
from tinydiff.nn import Parameter

every_attack = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
NO_ATTACKS = {
    *("before_and_after", "carried_out", "classes_seen", "moved", "noisy_copies", "on_pictures"),
    *("first_pictures", "transfer"),
    *("crossing", "distance_to_boundary", "map_of", "probabilities"),
    *("adversarial_loss", "gradient_penalty_loss", "squeezing_loss"),
    *("robustness", "robustness_table", "under_pgd", "usual_eps"),
}


def size(d, norm):
    d = d.reshape(len(d), -1)
    return np.sqrt((d * d).sum(axis=1)) if norm == 2 else np.abs(d).max(axis=1)


def test_no_attack_is_forgotten():
    functions = {n for n in adversarial.__all__ if inspect.isfunction(getattr(adversarial, n))}
    assert functions - NO_ATTACKS == {name.partition(",")[0] for name in CASES}


@every_attack
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stretch", [1, 1e-4, 7], ids=["usual", "tiny", "larger than the cube"])
def test_ends_inside_the_ball_and_the_cube(case, dtype, stretch, rng):
    x, y = some_pictures(rng, dtype=dtype)
    before, eps = to_numpy(x).copy(), case.eps * stretch * rng.uniform(0.5, 1)
    changed = case.attack(untrained(dtype), x, y, eps=eps, **case.settings)
    assert changed.dtype == dtype and changed.shape == x.shape and isinstance(changed, type(x))
    np.testing.assert_array_equal(to_numpy(x), before)
    changed = to_numpy(changed)
    assert changed.min() >= 0 and changed.max() <= 1
    # In float32 exactly; float64 has nothing finer to be measured in.
    farthest = size(changed.astype(np.float64) - before, case.norm).max()
    assert farthest <= eps + (1e-15 if dtype == np.float64 else 0)


@every_attack
def test_leaves_the_model_as_it_was(case, rng):
    model = untrained()
    x, y = some_pictures(rng)
    model.model.body.eval()
    model.model.head.bias.requires_grad = False
    for p in model.parameters():
        p.grad = backend.xp.ones_like(p.data)

    def state():
        return (
            [(p.grad, p.requires_grad) for p in model.parameters()],
            [m.training for m in model.modules()],
            model.state_dict(),
        )

    gradients, modes, weights = state()
    assert True in modes and False in modes
    values = [to_numpy(g).copy() for g, _ in gradients]
    case.attack(model, x, y, eps=case.eps, **case.settings)
    now = state()
    assert [flag for _, flag in now[0]] == [flag for _, flag in gradients]
    assert all(a is b for (a, _), (b, _) in zip(gradients, now[0], strict=True))
    for (g, _), value in zip(now[0], values, strict=True):
        np.testing.assert_array_equal(to_numpy(g), value)
    assert now[1] == modes
    for name, value in weights.items():
        np.testing.assert_array_equal(now[2][name], value)


@every_attack
def test_moves_no_running_statistics(case, rng):
    x, y = some_pictures(rng)
    norm = nn.BatchNorm2d(2)
    model = nn.Sequential(norm, nn.Flatten(), nn.Linear(72, 4))
    case.attack(model, x, y, eps=case.eps, **case.settings)
    assert model.training and norm.training
    np.testing.assert_array_equal(to_numpy(norm.running_mean), [0, 0])
    np.testing.assert_array_equal(to_numpy(norm.running_var), [1, 1])


@every_attack
def test_sees_no_dropout_and_works_without_a_graph(case, rng):
    x, y = some_pictures(rng)
    model = untrained()
    results = []
    for mode in (True, False):
        settings = dict(case.settings)
        if case.random:
            settings["rng"] = np.random.default_rng(5)
        before = backend.rng.bit_generator.state
        with nn.frozen(model) if mode else adversarial.network.no_grad():
            model.train(mode)
            results.append(to_numpy(case.attack(model, x, y, eps=case.eps, **settings)))
        assert backend.rng.bit_generator.state == before
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.random])
def test_chance_is_seeded(name, rng):
    case, model = CASES[name], untrained()
    x, y = some_pictures(rng)

    def result(seed=None):
        settings = {} if seed is None else {"rng": np.random.default_rng(seed)}
        return to_numpy(case.attack(model, x, y, eps=case.eps, **case.settings, **settings))

    np.testing.assert_array_equal(result(1), result(1))
    if name.partition(",")[0] != "universal_perturbation":  # of which chance is the order only
        assert not np.array_equal(result(1), result(2))
    backend.seed(7)
    first = result()
    backend.seed(7)
    np.testing.assert_array_equal(result(), first)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if not c.random])
def test_pictures_do_not_depend_on_each_other(name, rng):
    case, model = CASES[name], untrained(np.float64)
    x, y = some_pictures(rng, dtype=np.float64)
    together = case.attack(model, x, y, eps=case.eps, **case.settings)
    for i in range(len(x)):
        alone = case.attack(model, x[i : i + 1], y[i : i + 1], eps=case.eps, **case.settings)
        np.testing.assert_allclose(to_numpy(alone)[0], to_numpy(together)[i], atol=1e-9)


@every_attack
def test_fools_a_network(case, rng):
    if case.eps < 0.05:
        pytest.skip("a ball too small for that")
    x, _ = some_pictures(rng, 24)
    model, seen = undecided(x)
    assert len(set(seen)) > 1
    targeted = "targeted" in case.settings or case.attack is adversarial.gradient_ascent
    y = np.argsort(to_numpy(logits_of(model, x)), axis=1)[:, -2] if targeted else seen
    changed = case.attack(model, x, y, eps=3 * case.eps, **case.settings)
    assert ((adversarial.classes_seen(model, changed) == y) == targeted).mean() > 0.4


class Broken(nn.Module):
    def forward(self, x):
        raise RuntimeError("broken")


def test_an_error_inside_leaves_the_model_as_it_was_too(rng):
    model = untrained()
    x, y = some_pictures(rng)
    model.model.head = Broken()
    with pytest.raises(RuntimeError, match="broken"):
        adversarial.pgd(model, x, y, eps=0.1)
    assert model.training and all(p.requires_grad for p in model.parameters())


REFUSED = {
    "a function": (lambda m, x, y: (m.forward, x, y), TypeError, "model: expected a Module"),
    "bytes": (
        lambda m, x, y: (m, (x * 255).astype(np.uint8), y),
        TypeError,
        "x: expected floats in",
    ),
    "one picture": (lambda m, x, y: (m, x[0], y[:1]), ValueError, "x has shape"),
    "no picture": (lambda m, x, y: (m, x[:0], y[:0]), ValueError, "x has shape"),
    "[-1, 1]": (lambda m, x, y: (m, 2 * x - 1, y), ValueError, r"pictures in \[0, 1\], got -1"),
    "[0, 255]": (lambda m, x, y: (m, 255 * x, y), ValueError, r"pictures in \[0, 1\], got 0"),
    "NaN": (lambda m, x, y: (m, x * np.nan, y), ValueError, "got nan"),
    "unknown class": (lambda m, x, y: (m, x, y + 4), ValueError, r"y: classes run .* knows 0 … 3"),
    "negative class": (lambda m, x, y: (m, x, y - 4), ValueError, "y: classes run from -"),
    "too few classes": (lambda m, x, y: (m, x, y[:-1]), ValueError, "y has shape"),
    "logits as classes": (lambda m, x, y: (m, x, y * 1.0), TypeError, "y: expected classes"),
    "another dtype": (
        lambda m, x, y: (m, x.astype(np.float32 if x.dtype == np.float64 else np.float64), y),
        TypeError,
        "x: pictures are float.., the model's parameters float..$",
    ),
}


@every_attack
@pytest.mark.parametrize("wrong", REFUSED)
def test_refuses_what_does_not_fit(case, wrong, rng):
    change, error, message = REFUSED[wrong]
    model, x, y = change(untrained(), *some_pictures(rng))
    with pytest.raises(error, match=message):
        case.attack(model, x, y, eps=case.eps, **case.settings)


WRONG_SETTINGS = {
    "eps": [0, -0.1, np.nan, "0.3", True],
    "step": [0, -1.0, np.inf],
    "steps": [0, 1.5],
    "norm": [1, "inf"],
    "momentum": [-1.0, np.inf],
    "restarts": [0],
    "draws": [0, 1.5],
    "lr": [0],
    "c": [-1.0],
    "search_steps": [0],
    "confidence": [-1.0, np.inf],
    "overshoot": [-0.1, np.inf],
    "candidates": [1],
    "delta": [1.0, -0.1],
    "rounds": [0],
    "samples": [0],
    "sigma": [0, np.inf],
    "queries": [0],
    "area": [0, 1.5],
}


@every_attack
def test_refuses_settings_that_make_no_sense(case, rng):
    model, (x, y) = untrained(), some_pictures(rng)
    wrapped = {through_purification: adversarial.pgd, universal: adversarial.universal_perturbation}
    attack = wrapped.get(case.attack, case.attack)
    known = inspect.signature(attack).parameters
    fixed = {"model", "x", "y", "targeted", "random_start", "rng", "progress"}
    assert set(known) - fixed <= WRONG_SETTINGS.keys()
    for name in known.keys() & WRONG_SETTINGS.keys():
        values = WRONG_SETTINGS[name]
        if name == "eps" and known[name].default is inspect.Parameter.empty:
            values = [*values, np.inf]  # by steps that are a share of it, or from a point within
        for value in values:
            with pytest.raises((ValueError, TypeError), match=rf"^{name}\b"):
                attack(model, x, y, **{"eps": case.eps, **case.settings, name: value})


def test_one_class_is_none_to_be_taken_for(rng):
    x, y = some_pictures(rng)
    one, _, _ = affine(rng, classes=1, shape=x.shape[1:])
    with pytest.raises(ValueError, match=r"model: answers .* \(1, 1\), expected logits .* K ≥ 2"):
        adversarial.pgd(one, x.astype(np.float64), 0 * y, eps=0.1)


def test_restarts_of_the_same_start_are_refused(rng):
    x, y = some_pictures(rng)
    with pytest.raises(ValueError, match="restarts=2 of the same start"):
        adversarial.pgd(untrained(), x, y, eps=0.1, restarts=2, random_start=False)


def test_a_model_must_answer_with_logits(rng):
    class Flat(nn.Module):
        def __init__(self):
            self.w = Parameter(np.ones(2, np.float32))

        def forward(self, x):
            return (x * self.w).sum(axis=(1, 2, 3))

    with pytest.raises(ValueError, match=r"expected logits \(1, K\)"):
        adversarial.fgsm(Flat(), *some_pictures(rng), eps=0.1)


def test_a_models_own_type_error_is_left_alone(rng):
    class Wrong(nn.Module):
        def __init__(self):
            self.w = Parameter(np.ones(2, np.float32))

        def forward(self, x):
            raise TypeError("mine")

    x, y = some_pictures(rng)
    with pytest.raises(TypeError, match=r"^mine$"):
        adversarial.fgsm(Wrong(), x.astype(np.float32), y, eps=0.1)
