"""gradcheck passes right rules and catches wrong ones, and says which input, where, how far."""

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, ops
from tinydiff.backend import xp
from tinydiff.gradcheck import GradcheckError
from tinydiff.tensor import op

A, B = np.linspace(0.5, 2, 12).reshape(3, 4), np.linspace(-1, 1, 12).reshape(3, 4)


def with_rules(of_a, of_b=lambda g, a, b: g * 2 * a * b):
    """a·b² with the given rules; the right ones are g·b² and g·2ab."""

    @op
    def product(a, b):
        return a * b * b, (lambda g: of_a(g, a, b), lambda g: of_b(g, a, b))

    return product


def right(g, a, b):
    return g * b * b


def wrong_in_one_place(g, a, b):
    gradient = g * b * b
    gradient[2, 1] *= 1.01
    return gradient


def test_right_rules_pass():
    assert td.gradcheck(with_rules(right), A, B) is True


def infinite_in_one_place(g, a, b):
    gradient = g * b * b
    gradient[0, 0] = xp.inf
    return gradient


@pytest.mark.parametrize(
    "wrong",
    [
        lambda g, a, b: -g * b * b,
        lambda g, a, b: 2 * g * b * b,
        lambda g, a, b: 1.00001 * g * b * b,
        lambda g, a, b: g * b,
        lambda g, a, b: g * a * b * b,
        lambda g, a, b: 0 * g,
        lambda g, a, b: b * b,  # forgets g
        lambda g, a, b: g.sum() * b * b,
        lambda g, a, b: g[::-1] * b * b,
        lambda g, a, b: (g * b * b).reshape(4, 3).T,
        lambda g, a, b: (g * b * b)[:1],  # and is broadcast, or not
        lambda g, a, b: g * xp.nan,
        lambda g, a, b: g * b * b + xp.inf,
        wrong_in_one_place,
        infinite_in_one_place,
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_wrong_rules_are_caught_whatever_their_size(wrong, scale):
    product = with_rules(wrong)
    with pytest.raises((GradcheckError, ValueError), match=r"input 0|input of shape"):
        td.gradcheck(lambda a, b: scale * product(a, b), A, B)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_right_rules_pass_whatever_their_size(scale):
    td.gradcheck(lambda a, b: scale * with_rules(right)(a, b), A, B)
    td.gradcheck(lambda a: ops.log_softmax(a) * scale, A)


def test_the_message_names_the_input_the_place_and_the_error():
    wrong = with_rules(right, lambda g, a, b: wrong_in_one_place(2 * g * a / b, a, b))
    with pytest.raises(GradcheckError) as caught:
        td.gradcheck(wrong, A, B)
    message = str(caught.value)
    assert "input 1 (shape (3, 4))" in message
    assert "at (2, 1)" in message
    assert "off by" in message


def test_a_forgotten_gradient_is_caught():
    with pytest.raises(GradcheckError, match=r"input 1 .* no gradient"):
        td.gradcheck(lambda a, b: a * b.detach(), A, B)


def test_a_path_cut_off_is_caught():
    with pytest.raises(GradcheckError, match="input 0"):
        td.gradcheck(lambda a: a * a.detach(), A)


@pytest.mark.parametrize(
    "fn, message",
    [
        (lambda a: a.data, "must .* return a Tensor"),
        (lambda a: a.astype(np.float32), "must keep float64"),
        (lambda a: ops.log(a - a), "infinite or not a number"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_functions_that_cannot_be_checked(fn, message):
    with pytest.raises(GradcheckError, match=message):
        td.gradcheck(fn, A)


def test_there_must_be_something_to_check():
    with pytest.raises(ValueError, match="gradcheck: none of the inputs"):
        td.gradcheck(lambda i: i, np.arange(3))


def test_integers_and_booleans_are_passed_on():
    seen = []

    def fn(x, i, m):
        seen.append((i.dtype, m.dtype))
        return x[i] * m

    td.gradcheck(fn, A, np.array([0, 2, 2]), np.ones((3, 4), bool))
    assert set(seen) == {(np.dtype(np.int64), np.dtype(bool))}


def test_inputs_are_left_as_they_were_and_float32_is_checked_in_float64():
    a = A.astype(np.float32)
    before = a.copy()
    td.gradcheck(lambda x: ops.exp(x) * 3, a)
    np.testing.assert_array_equal(a, before)


def test_the_cost_does_not_grow_with_the_size():
    calls = []

    def fn(x):
        calls.append(1)
        return ops.sin(x)

    td.gradcheck(fn, np.linspace(0, 1, 100_000))
    assert len(calls) < 10


def test_the_outcome_is_a_failure_to_pytest():
    assert issubclass(GradcheckError, AssertionError)
    with pytest.raises(AssertionError):
        td.gradcheck(with_rules(lambda g, a, b: g), Tensor(A).numpy(), B)
