"""Tensor and the walk back: what is computed, what is remembered, what is freed."""

import copy
import gc
import pickle
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, backend, ops
from tinydiff.backend import xp
from tinydiff.recording import no_grad
from tinydiff.tensor import op


def leaf(*shape, dtype=np.float32):
    values = np.arange(1, 1 + int(np.prod(shape)), dtype=dtype).reshape(shape)
    return Tensor(values, requires_grad=True)


def assert_equal(array, expected):
    np.testing.assert_array_equal(backend.to_numpy(array), expected)


# What a Tensor is made of


@pytest.mark.parametrize(
    "data, dtype",
    [
        (1.5, np.float32),
        ([1.0, 2.0], np.float32),
        (3, np.int64),
        ([True, False], np.bool_),
        (np.float64(2), np.float64),
        (np.ones(2), np.float64),
        (np.ones(2, np.float16), np.float16),
        (np.zeros(2, np.uint8), np.uint8),
    ],
)
def test_bare_floats_become_float32_arrays_keep_their_dtype(data, dtype):
    x = Tensor(data)
    assert x.dtype == dtype
    assert isinstance(x.data, xp.ndarray)


def test_attributes():
    x = leaf(2, 3)
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 3), 2, 6, 2)
    assert x.grad is None
    assert "requires_grad=True" in repr(x)
    assert Tensor(2.5).item() == 2.5
    assert bool(Tensor(True)) and not bool(Tensor(0.0))
    assert not x.detach().requires_grad
    assert_equal(x.numpy(), [[1, 2, 3], [4, 5, 6]])


def test_iteration_goes_over_the_first_axis():
    x = leaf(3, 2)
    rows = list(x)
    assert [row.shape for row in rows] == [(2,)] * 3
    (rows[0] * rows[2]).sum().backward()
    assert_equal(x.grad, [[5, 6], [0, 0], [1, 2]])


def test_comparisons_are_boolean_and_equality_is_identity():
    x = leaf(3)
    assert_equal((x > 1.5).data, [False, True, True])
    assert_equal((x <= np.array([0, 2, 2])).data, [False, True, False])
    assert_equal((x < x).data, [False] * 3)
    assert not (x >= 2).requires_grad
    assert x == x and x != leaf(3) and len({x, x}) == 1


# One dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "constant",
    [
        2,
        2.0,
        True,
        np.float64(2),
        np.float32(2),
        np.int64(2),
        np.ones(3),
        np.ones(3, np.float32),
        np.arange(3),
        np.ones((2, 3), np.uint8),
        np.ones(3, bool),
        [1.0, 2.0, 3.0],
    ],
    ids=repr,
)
def test_constants_take_the_dtype_of_the_tensor(constant, dtype):
    x = leaf(2, 3, dtype=dtype)
    for y in (
        x + constant,
        constant + x,
        x - constant,
        constant - x,
        x * constant,
        constant * x,
        constant / x,
        ops.maximum(x, constant),
        ops.where(x > 2, constant, x),
        ops.power(x, constant),
    ):
        assert y.dtype == dtype
        assert td.grad(y.sum(), x).dtype == dtype


def test_a_numpy_array_on_the_left_leaves_the_work_to_tensor():
    x = leaf(3)
    for y, expected in (
        (np.ones(3) + x, [2, 3, 4]),
        (np.full(3, 6.0) / x, [6, 3, 2]),
        (np.ones((1, 3)) @ x.reshape(3, 1), [[6]]),
        (np.float64(2) ** x, [2, 4, 8]),
        (np.ones((2, 1), int) - x, [[0, -1, -2]] * 2),
    ):
        assert isinstance(y, Tensor) and y.requires_grad and y.dtype == np.float32
        assert_equal(y.data, expected)


def test_integers_beside_floats_become_floats():
    labels, x = Tensor(np.arange(3)), leaf(3)
    assert (labels * x).dtype == np.float32
    assert (labels * leaf(3, dtype=np.float64)).dtype == np.float64
    assert td.grad((labels * x).sum(), x).dtype == np.float32


def test_integers_alone_stay_integers_where_they_can():
    labels = Tensor(np.array([1, 2, 250], np.uint8))
    assert (labels.reshape(3, 1)[1:]).dtype == np.uint8
    assert (labels / 255).dtype == labels.mean().dtype == np.float32
    # NumPy's square root of uint8 is float16
    np.testing.assert_allclose(ops.sqrt(labels).numpy(), np.sqrt([1.0, 2, 250]), rtol=1e-7)
    assert Tensor([True, False]).mean().item() == 0.5


def test_integers_and_constants_alone_are_float32_unless_a_constant_is_float64():
    labels = Tensor([1, 2])
    for y in (labels * 0.5, 0.5 - labels, labels / np.float32(3), ops.exp(1.0), ops.add(1, 0.5)):
        assert y.dtype == np.float32
    assert (labels * np.array([0.5, 1])).dtype == np.float64
    assert ops.add(np.ones(2), 0.5).dtype == np.float64
    assert ops.add(np.ones(2), np.ones(2, np.float32)).dtype == np.float64
    assert ops.where(labels > 1, 0.5, labels).dtype == np.float32


def test_two_floating_dtypes_do_not_mix():
    with pytest.raises(TypeError, match="mul: inputs are float32 and float64"):
        leaf(3) * leaf(3, dtype=np.float64)
    with pytest.raises(TypeError, match="concat: inputs"):  # the public name, not _concat
        ops.concat([leaf(3), leaf(3, dtype=np.float64)])


def test_astype_carries_the_gradient_between_floats_only():
    x = leaf(3)
    y = x.astype(np.float64)
    (y * y).sum().backward()
    assert y.dtype == np.float64 and x.grad.dtype == np.float32
    assert_equal(x.grad, [2, 4, 6])
    assert not x.astype(int).requires_grad
    assert x.astype("int64").dtype == np.int64
    assert Tensor([1, 2]).astype(np.float64).dtype == np.float64


# Arguments


def test_arrays_can_be_given_by_name():
    x, w, b = leaf(1, 4, 4, 2), leaf(3, 3, 2, 5), leaf(5)
    expected = ops.conv2d(x, w, b, stride=2)
    y = ops.conv2d(x, bias=b, weight=w, stride=np.int64(2))
    assert_equal(y.data, expected.numpy())
    y.sum().backward()
    assert_equal(b.grad, [1, 1, 1, 1, 1])
    assert ops.linear(leaf(2, 3), weight=leaf(3, 4)).shape == (2, 4)


def test_optional_arrays_can_be_left_out_or_none():
    x, w = leaf(2, 3), leaf(3, 4)
    assert_equal(ops.linear(x, w).data, ops.linear(x, w, None).numpy())


# Walking back


def test_gradients_add_up_over_uses_and_over_calls():
    x = leaf(3)
    y = x * x + x
    y.sum().backward()
    assert_equal(x.grad, [3, 5, 7])
    (2 * x).sum().backward()
    assert_equal(x.grad, [5, 7, 9])


def test_a_leaf_is_its_own_derivative():
    x = leaf(1)
    x.backward()
    assert_equal(x.grad, [1])


def test_the_gradient_of_the_output_can_be_given_in_any_form():
    for gradient in ([1.0, 2, 3], np.arange(1, 4), Tensor(np.arange(1.0, 4)), leaf(3).data):
        x = leaf(3)
        (x * x).backward(gradient)
        assert_equal(x.grad, [2, 8, 18])
        assert x.grad.dtype == np.float32


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: (x * 2).backward(), "backward: .*shape \\(3,\\)"),
        (lambda x: (x * 2).backward([1.0, 2.0]), "backward: grad has shape"),
        (lambda x: Tensor(1.0).backward(), "backward: .* does not depend"),
        (lambda x: (x.detach() * 2).sum().backward(), "backward: .* does not depend"),
        (lambda x: td.grad(x.sum(), [x, Tensor(1.0)]), r"grad: inputs\[1\]"),
        (lambda x: td.grad(x.sum(), [x.data]), r"grad: inputs\[0\]"),
    ],
)
def test_what_cannot_be_differentiated_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(leaf(3))


def test_a_graph_is_walked_once():
    x = leaf(3)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    assert_equal(x.grad, [2, 4, 6])


def test_a_graph_that_leads_into_a_freed_one_is_refused():
    x = leaf(3)
    h = x * x
    h.sum().backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        (h * 2).sum().backward()


def test_retain_graph_lets_it_be_walked_again():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert_equal(x.grad, [6, 12, 18])
    with pytest.raises(RuntimeError):
        y.backward()


def test_once_sees_each_new_gradient():
    # group_norm's three rules share their work: a second walk must not get the first one's.
    x, w, b = leaf(2, 3, 4), leaf(4), leaf(4)
    y = ops.group_norm(x, w, b, groups=2)
    first = td.grad(y, [x, w, b], grad=np.ones(y.shape), retain_graph=True)
    second = td.grad(y, [x, w, b], grad=np.full(y.shape, 2.0), retain_graph=True)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(2 * backend.to_numpy(a), backend.to_numpy(b), rtol=1e-6)


def test_once_sees_a_gradient_changed_in_place():
    x, w, b = leaf(2, 3, 4), leaf(4), leaf(4)
    y = ops.group_norm(x, w, b, groups=2)
    given = xp.ones(y.shape, np.float32)
    first = td.grad(y, x, grad=given, retain_graph=True)
    given *= 2
    assert_equal(td.grad(y, x, grad=given), 2 * backend.to_numpy(first))


def test_grad_of_intermediates_with_respect_to_intermediates():
    x = leaf(3)
    h = x * x
    y = h * x
    by_h, by_x = td.grad(y.sum(), [h, x])
    assert_equal(by_h, [1, 2, 3])  # ∂(h·x)/∂h = x
    assert_equal(by_x, [3, 12, 27])  # and all ways lead to x
    assert x.grad is h.grad is None


def test_grad_of_one_input_is_one_array_of_what_does_not_matter_zeros():
    x, unused = leaf(2), leaf(2, 2)
    assert_equal(td.grad(x.sum(), x), [1, 1])
    assert_equal(td.grad(x.sum(), [unused])[0], np.zeros((2, 2)))
    y = x * 2
    assert_equal(td.grad(y, y, grad=[3.0, 4.0]), [3, 4])
    assert_equal(td.grad(x.sum(), [x, x])[1], [1, 1])


def test_what_grad_and_backward_return_belongs_to_the_caller():
    # The rule of add hands one array to both, that of sum a read-only one with stride 0.
    x, y = leaf(3), leaf(3)
    gx, gy = td.grad((x + y).sum(), [x, y])
    gx *= 5
    assert_equal(gy, [1, 1, 1])
    (x + y).sum().backward()
    x.grad *= 7
    x.grad += 1
    assert_equal(x.grad, [8, 8, 8])
    assert_equal(y.grad, [1, 1, 1])
    given = xp.ones(3, np.float32)
    z = leaf(3)
    (z + 0).backward(given)
    z.grad *= 3
    assert_equal(given, [1, 1, 1])
    number = Tensor(2.0, requires_grad=True)
    assert isinstance(td.grad(number * 2, number), xp.ndarray)  # no NumPy scalar


def counting(calls):
    """An op of two inputs that notes which of its rules are called."""

    @op
    def counted(a, b):
        return a * b, (
            lambda g: calls.append("a") or g * b,
            lambda g: calls.append("b") or g * a,
        )

    return counted


def test_only_rules_somebody_needs_are_called():
    calls = []
    counted = counting(calls)
    x, frozen = leaf(3), leaf(3).detach()
    counted(x, frozen).sum().backward()
    counted(frozen, x).sum().backward()
    counted(x, 2.0).sum().backward()
    assert calls == ["a", "b", "a"]


def test_only_the_part_of_the_graph_on_the_way_is_walked():
    near, far, aside = [], [], []
    x, w = leaf(3), leaf(3)
    h = counting(far)(x, 1.0)
    y = counting(near)(h, 1.0) * counting(aside)(w, 1.0)
    td.grad(y.sum(), h)
    assert (near, far, aside) == (["a"], [], [])


def test_no_branch_is_left_unfinished():
    # Leaves and intermediates born in an order that has nothing to do with where they stand.
    a, b, c = leaf(2), leaf(2), leaf(2)
    deep = ops.exp(a * 0.1) * b
    shallow = c * 1.0
    y = shallow * deep + a * c
    expected = np.exp(0.1 * np.array([1, 2]))
    y.sum().backward()
    values = np.array([1.0, 2])
    np.testing.assert_allclose(backend.to_numpy(c.grad), values * expected + values, rtol=1e-6)
    np.testing.assert_allclose(
        backend.to_numpy(a.grad), 0.1 * values * values * expected + values, rtol=1e-6
    )


def test_a_rule_with_the_wrong_shape_is_told_so():
    @op
    def transposed_by_mistake(x):
        return x * 1.0, (lambda g: g.T,)

    @op
    def too_flat(x):
        return x * 1.0, (lambda g: g.sum(axis=0),)

    for wrong in (transposed_by_mistake, too_flat):
        with pytest.raises(ValueError, match=r"rule returned shape .* input of shape \(2, 3\)"):
            wrong(leaf(2, 3)).sum().backward()


def test_an_op_with_too_few_rules_is_told_so():
    @op
    def forgotten(a, b):
        return a + b, (lambda g: g,)

    with pytest.raises(ValueError):
        forgotten(leaf(2), leaf(2))


def test_where_nothing_has_a_derivative_there_is_no_graph():
    y = ops.where(leaf(3), 1.0, 2.0)
    assert not y.requires_grad


# Remembering nothing


def test_no_grad_remembers_nothing_and_ends_where_it_ends():
    x = leaf(3)
    with no_grad():
        with no_grad():
            assert not (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_ends_with_an_exception():
    x = leaf(3)
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * 2).requires_grad


def test_one_no_grad_can_be_entered_twice():
    x, quiet = leaf(3), no_grad()
    with quiet:
        with quiet:
            pass
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_is_for_one_thread():
    x, inside, left = leaf(3), threading.Event(), threading.Event()

    def other():
        with no_grad():
            inside.set()
            left.wait(timeout=10)

    thread = threading.Thread(target=other)
    with no_grad():
        thread.start()
        inside.wait(timeout=10)
    assert (x * 2).requires_grad
    left.set()
    thread.join()
    assert (x * 2).requires_grad


def test_no_grad_as_a_decorator():
    @no_grad()
    def twice(x, *, by=2):
        """Doc."""
        return x if by == 1 else twice(x * 2, by=1)

    assert not twice(leaf(3)).requires_grad
    assert twice.__doc__ == "Doc."
    assert (leaf(3) * 2).requires_grad
    with pytest.raises(TypeError, match=r"no_grad: .* generator"):

        @no_grad()
        def steps(x):
            yield x * 2


# Memory


class Witness:
    """Lives as long as the rule that refers to it."""


def test_memory_is_freed_while_walking_back():
    alive = []

    @op
    def watched(x):
        witness = Witness()
        alive.append(weakref.ref(witness))
        held = x * 1.0  # stands for what a rule keeps of the forward pass

        def rule(g, witness=witness, held=held):
            counts.append(sum(ref() is not None for ref in alive))
            return g

        return x * 1.0, (rule,)

    gc.disable()  # reference counts alone must do it
    try:
        counts = []
        y = leaf(3)
        for _ in range(25):
            y = watched(watched(y) + y)  # y is used twice: its gradient is added up
        y.sum().backward()
        assert counts[0] == 50
        assert counts[-1] <= 2
        assert not any(ref() for ref in alive)
    finally:
        gc.enable()


def test_values_that_no_rule_needs_are_not_kept():
    x = leaf(3)
    h = x + 1.0  # neither the sum nor the next one needs its value
    seen = weakref.ref(h)
    y = h * 2.0 + x
    del h
    assert seen() is None
    y.sum().backward()
    assert_equal(x.grad, [3, 3, 3])


@pytest.mark.parametrize("learned", [False, True])
def test_a_convolution_keeps_its_picture_only_for_the_gradient_of_its_weight(learned):
    x, weight = leaf(1, 6, 5, 3), Tensor(np.ones((3, 3, 3, 2), np.float32), learned)
    h = x * 1.0
    seen = weakref.ref(h.data)
    y = ops.conv2d(h, weight, padding=1)
    del h
    assert (seen() is not None) == learned
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_a_leaf_that_changes_its_shape_before_backward_is_refused():
    x = leaf(3)
    y = (x * 2).sum()
    x.data = x.data[:2]
    with pytest.raises(ValueError, match=r"leaf had shape \(3,\) .* has \(2,\) now"):
        y.backward()


def test_a_leaf_may_get_data_of_another_shape_and_need_not_live_as_long_as_its_uses():
    x = leaf(3)
    (x * 2).sum().backward()
    x.data, x.grad = x.data[:2], None
    y = (x * 2).sum() + (leaf(3) * 3).sum()
    y.backward()
    assert_equal(x.grad, [2, 2])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_a_leaf_are_leaves_of_their_own(copied):
    x = leaf(3)
    (x * x).sum().backward()
    twin = copied(x)
    assert_equal(twin.grad, [2, 4, 6])
    (x * twin).sum().backward()
    assert_equal(twin.grad, [3, 6, 9])
    twin.data += 1
    assert_equal(x.data, [1, 2, 3])


def test_a_leaf_from_another_process_learns():
    # It must come before its uses here, whatever had been made before it there.
    code = (
        "import pickle, sys, tinydiff as td\n"
        "for _ in range(10**5): x = td.Tensor([1.0, 2.0], requires_grad=True)\n"
        "sys.stdout.buffer.write(pickle.dumps(x))"
    )
    x = pickle.loads(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout)
    (x * x).sum().backward()
    assert_equal(x.grad, [2, 4])


def test_nothing_is_kept_of_a_graph_that_goes_out_of_scope():
    gc.disable()
    try:
        x = leaf(3)
        h = x * x
        seen = weakref.ref(h)
        loss = (h * 2).sum()
        del h, loss
        assert seen() is None
        h = x * x
        seen = weakref.ref(h)
        loss = (h * 2).sum()
        loss.backward()
        del h
        assert seen() is None  # though loss is still there
    finally:
        gc.enable()


def test_a_long_graph_never_walked_is_dropped_without_recursion():
    y = leaf(1)
    for _ in range(100_000):
        y = y + 1.0
    del y
