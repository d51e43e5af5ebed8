"""The three ways back through ReLU, number by number, and when which is taken."""

import threading

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, ops
from tinydiff.backend import to_numpy, xp
from tinydiff.ops.relu import relu_rule

X = np.array([-1.0, -1.0, 2.0, 2.0, 0.0])
G = np.array([-3.0, 3.0, -3.0, 3.0, 3.0])
EXPECTED = {
    "plain": [0, 0, -3, 3, 0],
    "deconvnet": [0, 3, 0, 3, 3],
    "guided": [0, 0, 0, 3, 0],
}


def back(y, x):
    return to_numpy(td.grad(y, x, grad=xp.asarray(G), retain_graph=True)).tolist()


def leaf():
    return Tensor(xp.asarray(X), requires_grad=True)


@pytest.mark.parametrize("rule", EXPECTED)
def test_rules(rule):
    x = leaf()
    y = ops.relu(x)
    with relu_rule(rule) as way:
        assert back(y, x) == EXPECTED[rule]
    assert way.passed == 1
    assert back(y, x) == EXPECTED["plain"]
    assert way.passed == 1


def picture(rng, *shape):
    """Small integers, among which there are ties and windows without a positive number, and NaN"""
    x = rng.integers(-2, 2, shape).astype(np.float32)
    x[x == 0] = rng.choice([0.0, -0.0], (x == 0).sum())
    x[0, 1, 1, 0] = np.nan
    return x


@pytest.mark.parametrize("rule", EXPECTED)
@pytest.mark.parametrize("settings", [{"kernel": 2}, {"kernel": (1, 2), "stride": 3}])
def test_relu_and_max_pooling_in_one_are_one_after_the_other(rule, settings, rng):
    x = Tensor(xp.asarray(picture(rng, 3, 7, 8, 5)), requires_grad=True)
    ours = ops.relu_max_pool2d(x, **settings)
    theirs = ops.max_pool2d(ops.relu(x), **settings)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    g = xp.asarray(rng.standard_normal(ours.shape, dtype=np.float32))
    with relu_rule(rule) as way:
        got, wanted = (to_numpy(td.grad(y, x, grad=g)) for y in (ours, theirs))
    np.testing.assert_array_equal(got, wanted)
    assert way.passed == 2


def test_relu_in_place():
    x = Tensor(xp.asarray(X))
    y = ops.relu(x, in_place=True)
    assert y.data is x.data and to_numpy(y.data).tolist() == [0, 0, 2, 2, 0]
    x = leaf()
    assert back(ops.relu(x * 1, in_place=True), x) == EXPECTED["plain"]


def test_what_counts_is_the_rule_at_the_time_of_backward():
    x = leaf()
    with relu_rule("guided"):
        y = ops.relu(x)
    assert back(y, x) == EXPECTED["plain"]


def test_rules_nest_and_end_with_an_error():
    x = leaf()
    y = ops.relu(x)
    with relu_rule("guided") as outer:
        with pytest.raises(KeyError), relu_rule("deconvnet"):
            raise KeyError
        assert back(y, x) == EXPECTED["guided"]
        with relu_rule("plain"):
            assert back(y, x) == EXPECTED["plain"]
    assert outer.passed == 1
    assert back(y, x) == EXPECTED["plain"]


def test_another_thread_has_its_own():
    x, found = leaf(), []
    y = ops.relu(x)
    with relu_rule("guided"):
        thread = threading.Thread(target=lambda: found.append(back(y, x)))
        thread.start()
        thread.join()
    assert found == [EXPECTED["plain"]]


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="rule: 'gided' is none of ReLU's: plain, deconvnet, gui"):
        relu_rule("gided")
