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
