"""checkpoint: the same numbers to the last bit, from a graph that is made twice and kept once."""

import gc
import weakref

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, backend, checkpoint, nn, ops
from tinydiff.backend import asarray, to_numpy
from tinydiff.nn.watch import watching
from tinydiff.recompute import recomputing
from tinydiff.tensor import op


def leaf(*shape, seed=0, dtype=np.float32):
    values = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return Tensor(asarray(values), requires_grad=True)


def direct(fn, *inputs):
    return fn(*inputs)


def assert_same(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def counted(calls):
    """The identity, an op that notes the calls of itself and of its rule."""

    @op
    def identity(x):
        calls.append("forward")
        return x * 1.0, (lambda g: calls.append("backward") or g,)

    return identity


# The same gradients


def both_ways(build, *shapes):
    """Value and gradients of build(call, *leaves), with the block called and checkpointed."""
    results = []
    for call in (direct, checkpoint):
        td.seed(3)
        leaves = [leaf(*shape, seed=i) for i, shape in enumerate(shapes)]
        y = build(call, *leaves)
        y.backward(asarray(np.random.default_rng(9).standard_normal(y.shape)))
        draw = backend.rng.random()  # the stream is where it would have been
        results.append([y.data, *(x.grad for x in leaves), np.float64(draw)])
    assert_same(*results)


def test_inputs_parameters_and_what_fn_closes_over_get_their_gradients():
    def build(call, x, w, b):
        h = ops.tanh(x @ w)
        # h leads to e, and the block uses both: neither way may be counted twice.
        e = ops.exp(h * 0.3)
        y = call(lambda h: ops.silu(h * e @ w + b) * h + e, h)
        return y * h + x

    both_ways(build, (5, 4), (4, 4), (4,))


def test_additions_come_in_the_same_order():
    # Rounding depends on it: a block that added up its own share first would be off by a bit.
    def build(call, x, w):
        for _ in range(4):
            y = call(lambda h: ops.tanh(h @ w) + h * 0.7 + ops.silu(h), x)
            x = y * x + x
        return x

    both_ways(build, (64, 8), (8, 8))


def test_a_block_within_a_block():
    def build(call, x, w):
        inner = lambda h: ops.dropout(ops.tanh(h @ w), p=0.4) + h
        outer = lambda h: call(inner, ops.dropout(call(inner, h * w[0]), p=0.2)) * h
        return call(outer, call(outer, x))

    both_ways(build, (5, 4), (4, 4))


def test_dropout_drops_the_same_twice():
    def build(call, x):
        x = ops.dropout(x, p=0.5)
        for _ in range(3):
            x = call(lambda h: ops.dropout(ops.tanh(h), p=0.5), x)
        return ops.dropout(x, p=0.5)

    both_ways(build, (30, 4))


def test_an_output_used_twice_and_inputs_that_are_no_tensors():
    def build(call, x, w):
        y = call(lambda a, power, twice, b: a**power @ b * (2 if twice else 1), x, 3, True, w)
        return y * y + ops.exp(-y)

    both_ways(build, (5, 4), (4, 4))


def test_random_networks(seed):
    """Blocks within blocks that use whatever there was before them."""
    kinds = [
        lambda a, b: ops.tanh(a) * b,
        lambda a, b: a * 0.5 - b,
        lambda a, b: ops.tanh(a @ b),
        lambda a, b: ops.dropout(a, p=0.3),
        lambda a, b: a.detach() * 0.3,
    ]

    def network(numbers, call, pool, depth=0):
        """Some layers on tensors of the pool, chosen by the numbers; their sum."""
        pool, own = list(pool), []
        for _ in range(numbers.integers(2, 6)):
            a, b = (pool[i] for i in numbers.integers(len(pool), size=2))
            kind = numbers.integers(len(kinds) + 3)
            if kind < len(kinds):
                own.append(kinds[kind](a, b))
            elif depth < 3:
                again = int(numbers.integers(1 << 30))
                block = lambda a, pool=tuple(pool), again=again: network(
                    np.random.default_rng(again), call, [a, *pool], depth + 1
                )
                own.append(call(block, a))
            pool += own[-1:]
        return sum(own, a * 0.1)

    for trial in range(40):
        both_ways(
            lambda call, *leaves, trial=trial: (
                network(np.random.default_rng([seed, trial]), call, leaves) + sum(leaves)
            ),
            *[(3, 3)] * 3,
        )


def test_gradcheck():
    rng = np.random.default_rng(0)
    block = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4, silu=True))
    block.astype(np.float64)
    td.gradcheck(lambda x: checkpoint(block, x), rng.standard_normal((2, 4, 4, 2)))
    e = rng.standard_normal((3, 4))
    td.gradcheck(lambda x, e: checkpoint(lambda x: ops.softmax(x @ x.T) @ e, x) * e, e + 1, e)


def test_batch_statistics_move_once():
    results = []
    for call in (direct, checkpoint):
        td.seed(0)
        net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm2d(6), nn.Linear(6, 2))
        x = leaf(8, 4)
        call(lambda x, call=call, net=net: call(net, x), x).sum().backward()
        results.append([x.grad, *(p.grad for p in net.parameters()), *net.buffers()])
    assert_same(*results)


# Walking back


def test_backward_runs_the_block_again_once():
    calls = []
    x = leaf(3)
    y = checkpoint(counted(calls), x)
    assert calls == ["forward"]
    (y * y).sum().backward()
    assert calls == ["forward", "forward", "backward"]


def test_a_second_walk_needs_the_graph_retained():
    calls = []
    x = leaf(3)
    y = (ops.dropout(checkpoint(lambda h: ops.dropout(counted(calls)(h)), x)) * x).sum()
    y.backward(retain_graph=True)
    first = to_numpy(x.grad).copy()
    y.backward(retain_graph=True)
    np.testing.assert_allclose(to_numpy(x.grad), 2 * first, rtol=1e-6)
    y.backward()
    np.testing.assert_allclose(to_numpy(x.grad), 3 * first, rtol=1e-6)
    assert calls.count("forward") == 4
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_a_block_that_leads_into_a_freed_graph_is_refused():
    h = leaf(3) * 2
    h.sum().backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        checkpoint(ops.exp, h).sum().backward()


def test_the_graph_before_the_block_is_left_to_itself():
    x = leaf(3)
    h = ops.exp(x)
    y = checkpoint(lambda h: h * h, h)
    by_h = td.grad(y.sum(), h, retain_graph=True)
    np.testing.assert_allclose(to_numpy(by_h), 2 * to_numpy(h.data), rtol=1e-6)
    y.sum().backward()  # through h, whose own rules must still be there
    np.testing.assert_allclose(to_numpy(x.grad), 2 * np.exp(2 * to_numpy(x.data)), rtol=1e-6)


def test_only_what_is_wanted_is_computed():
    by_x, by_w = [], []
    x, w = leaf(3), leaf(3, seed=1)
    y = checkpoint(lambda: counted(by_x)(x) * counted(by_w)(w * 1.0))
    z = y * y
    td.grad(z.sum(), [z, y], retain_graph=True)  # behind the block: it is not run again
    assert by_x == by_w == ["forward"]
    gradient = td.grad(z.sum(), x, retain_graph=True)
    assert_same([gradient], [2 * y.data * w.data])
    assert (by_x.count("backward"), by_w.count("backward")) == (1, 0)
    w.requires_grad = False
    y = checkpoint(lambda: counted(by_x)(x) * counted(by_w)(w))
    y.sum().backward()
    assert (by_x.count("backward"), by_w.count("backward")) == (2, 0)
    assert w.grad is None


def test_no_grad():
    calls = []
    x = leaf(3)
    with td.no_grad():
        assert not checkpoint(counted(calls), x).requires_grad
    y = checkpoint(counted(calls), x).sum()
    with td.no_grad():  # as `backward` itself, the second run is not concerned
        y.backward()
        assert not (x * 2).requires_grad
    assert calls == ["forward", "forward", "forward", "backward"]
    assert_same([x.grad], [np.ones(3)])


def test_what_a_watcher_keeps_of_the_first_run_is_a_way_of_its_own():
    # A loss on an activation inside the block beside one on the block's output.
    def build(call, x, w):
        seen = []
        y = call(lambda h: seen.append(ops.tanh(h @ w)) or seen[-1] * h, x)
        assert not to_numpy(td.grad(y.sum(), seen[0], retain_graph=True)).any() or call is direct
        return y.sum() + (seen[0] ** 2).sum()

    for call in (direct, checkpoint):
        x, w = leaf(5, 4), leaf(4, 4, seed=1)
        build(call, x, w).backward()
        if call is direct:
            expected = x.grad, w.grad
    for got, wanted in zip((x.grad, w.grad), expected, strict=True):
        np.testing.assert_allclose(to_numpy(got), to_numpy(wanted), rtol=1e-5, atol=1e-6)


def test_a_module_tells_watchers_of_the_tensor_that_it_returns():
    layer, seen = nn.Linear(4, 4), []
    with watching(lambda module, output: seen.append(output)):
        y = checkpoint(layer, leaf(2, 4))
    assert seen == [y]
    assert_same([td.grad((y * y).sum(), seen[0])], [2 * y.data])


# Nothing to compute again


def test_what_fn_was_given_comes_back_as_it_is():
    x = leaf(3)
    h = x * 2
    for fn in (lambda h: h, lambda _: x):
        assert checkpoint(fn, h) is fn(h)
    (checkpoint(lambda h: h, h) * 3).sum().backward()
    assert_same([x.grad], [np.full(3, 6.0)])


def test_a_result_that_needs_no_gradient():
    x = leaf(3)
    for fn in (lambda h: h.detach() * 2, lambda h: h > 0, lambda h: Tensor(1.0)):
        assert not checkpoint(fn, x).requires_grad
    made_inside = checkpoint(lambda _: leaf(3), x)
    (made_inside * 2).sum().backward()
    assert_same([made_inside.grad], [np.full(3, 2.0)])
    assert x.grad is None


# Memory


def test_one_block_is_in_memory_at_a_time():
    alive, counts = [], []

    class Kept:
        """Stands for what a rule keeps of the forward pass."""

    @op
    def layer(x):
        kept = Kept()
        alive.append(weakref.ref(kept))
        counts.append(sum(ref() is not None for ref in alive))
        return x * 1.0, (lambda g, kept=kept: counts.append(living()) or g,)

    def living():
        return sum(ref() is not None for ref in alive)

    def block(x):
        for _ in range(5):
            x = layer(x)
        return x

    gc.disable()  # reference counts alone must do it
    try:
        x = y = leaf(3)
        for _ in range(8):
            y = checkpoint(block, y)
            assert living() == 0
        y.sum().backward(retain_graph=True)
        assert max(counts) == 5 and living() == 0
        seen = weakref.ref(y)
        del y
        assert seen() is None and x.grad is not None
    finally:
        gc.enable()


# Refusals


@pytest.mark.parametrize("result", [None, 1.0, np.ones(3), (Tensor(1.0), Tensor(2.0))])
def test_a_result_that_is_no_tensor_is_refused(result):
    with pytest.raises(TypeError, match=f"checkpoint: fn returned a {type(result).__name__}"):
        checkpoint(lambda x: result, leaf(3))


def test_fn_must_be_a_function():
    with pytest.raises(TypeError, match="checkpoint: fn is a Tensor"):
        checkpoint(leaf(3), leaf(3))


@pytest.mark.parametrize(
    "second",
    [
        lambda x, w: (x * w)[:2],
        lambda x, w: (x * w).astype(np.float64),
        lambda x, w: x * 2,
        lambda x, w: (x * w).detach(),
        lambda x, w: x,
    ],
)
def test_a_second_run_that_does_something_else_is_refused(second):
    x, w, times = leaf(3), leaf(3), []
    y = checkpoint(lambda x: times.append(1) or (x * w if len(times) == 1 else second(x, w)), x)
    with pytest.raises(RuntimeError, match="checkpoint: fn did not do the same"):
        y.sum().backward()


def test_a_second_run_that_fails_leaves_everything_as_it_was():
    x, seen = leaf(3), []

    def fn(x):
        seen.append(recomputing())
        if len(seen) == 2:
            raise ZeroDivisionError
        return ops.dropout(x)

    y = checkpoint(fn, x).sum()
    backend.rng.random()
    state = backend.rng.bit_generator.state
    with td.no_grad(), pytest.raises(ZeroDivisionError):
        y.backward()
    assert seen == [False, True] and not recomputing()
    assert backend.rng.bit_generator.state == state
    assert (x * 2).requires_grad
