"""Bugs found in other small engines and in what people build with them: not here.

One test for each, named after what went wrong elsewhere.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import tinydiff as td
from tinydiff import Tensor, backend, ops
from tinydiff.backend import xp
from tinydiff.gradcheck import GradcheckError
from tinydiff.tensor import op


def leaf(values, dtype=np.float64):
    return Tensor(xp.asarray(values, dtype=dtype), requires_grad=True)


def numbers(array):
    return backend.to_numpy(array)


# The walk back through the graph


def test_gradcheck_that_passes_wrong_rules():
    @op
    def wrong(x):
        return x * x, (lambda g: g * x,)

    with pytest.raises(GradcheckError, match="input 0"):
        td.gradcheck(wrong, np.array([1.0, 2.0]))


def test_doubling_takes_exponential_time():
    """Without a topological order, y = y + y repeated n times costs 2ⁿ steps."""
    calls = []

    @op
    def double(a, b):
        return a + b, (lambda g: calls.append(1) or g, lambda g: calls.append(1) or g)

    x = y = leaf([1.0])
    for _ in range(60):
        y = double(y, y)
    y.backward()
    assert numbers(x.grad) == 2.0**60
    assert len(calls) == 120


def test_deep_graphs_recurse():
    x = y = leaf([1.0])
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert numbers(x.grad) == 1


@pytest.mark.parametrize(
    "fn, slope",
    [
        (lambda x: x - x, 0),
        (lambda x: x / x, 0),
        (lambda x: x * x, 6),
        (lambda x: x + x, 2),
        (lambda x: ops.maximum(x, x), 1),
        (lambda x: x**x, 27 * (np.log(3) + 1)),
        (lambda x: ops.where(True, x, x), 1),
        (lambda x: ops.concat([x, x]), 2),
        (lambda x: ops.einsum("i,i->", x, x), 6),
    ],
)
def test_the_same_tensor_twice_is_counted_once(fn, slope):
    x = leaf([3.0])
    fn(x).sum().backward()
    np.testing.assert_allclose(numbers(x.grad), [slope], atol=1e-12)


def test_two_inputs_share_one_gradient_array():
    """(x + y).sum() gives both the same read-only array of stride 0; adding to it must not."""
    x, y = leaf(np.ones((2, 3))), leaf(np.ones((2, 3)))
    (x + y).sum().backward()
    (x * 2 + y).sum().backward()  # adds in place to what the first left
    np.testing.assert_array_equal(numbers(x.grad), np.full((2, 3), 3.0))
    np.testing.assert_array_equal(numbers(y.grad), np.full((2, 3), 2.0))


def test_accumulation_inside_one_walk_corrupts_a_shared_gradient():
    """x's gradient gets three shares, the first of which is also y's whole gradient."""
    x, y = leaf(np.ones(3)), leaf(np.ones(3))
    (x + y + x * 2 + x * 3).sum().backward()
    np.testing.assert_array_equal(numbers(y.grad), np.ones(3))
    np.testing.assert_array_equal(numbers(x.grad), np.full(3, 6.0))


def test_frozen_inputs_pay_for_their_gradient(monkeypatch):
    called = []
    from tinydiff import kernels

    for name in ("conv2d_input_grad", "conv2d_weight_grad", "linear", "matmul", "matmul_t"):
        kernel = getattr(kernels, name)
        spy = lambda *a, k=kernel, n=name: called.append(n) or k(*a)
        for module in (kernels, kernels.chosen):  # whose conv2d_grads calls the others
            monkeypatch.setattr(module, name, spy)
    image, weight = Tensor(np.ones((1, 5, 5, 2))), leaf(np.ones((3, 3, 2, 4)))
    ops.conv2d(image, weight).sum().backward()  # the image in the first layer
    assert called == ["conv2d_weight_grad"]
    called.clear()
    image, weight = leaf(np.ones((1, 5, 5, 2))), Tensor(np.ones((3, 3, 2, 4)))
    ops.conv2d(image, weight).sum().backward()  # frozen weights under attack
    assert called == ["conv2d_input_grad"]
    called.clear()
    ops.linear(Tensor(np.ones((5, 2))), leaf(np.ones((2, 3)))).sum().backward()
    assert called == ["linear", "matmul_t"]  # forward, and the weight's gradient


# Numbers


@pytest.mark.parametrize("softmax", [ops.softmax, ops.log_softmax, ops.logsumexp])
def test_softmax_subtracts_the_global_maximum(softmax):
    """Rows far apart: e^(x − global max) is 0 in all of a row, and 0/0 follows."""
    shifts = np.array([[0.0], [1e4], [-1e4]])
    rows = shifts + np.array([0.0, 1.0])
    x = leaf(rows)
    y = softmax(x).numpy()
    if softmax is ops.logsumexp:
        y = (y - shifts[:, 0])[:, None]
    np.testing.assert_allclose(y, np.repeat(y[:1], 3, axis=0), rtol=1e-11)
    single = leaf(rows, np.float32)
    value = softmax(single)
    assert np.isfinite(value.numpy()).all()
    assert np.isfinite(numbers(td.grad(value.sum(), single))).all()


def test_cross_entropy_is_differentiated_by_the_probabilities():
    z = leaf([[2.0, -1, 0.5]])
    ops.cross_entropy(z, [2]).backward()
    p = np.exp([2.0, -1, 0.5]) / np.exp([2.0, -1, 0.5]).sum()
    np.testing.assert_allclose(numbers(z.grad), [p - [0, 0, 1]], rtol=1e-12)


def test_cross_entropy_overflows():
    z = leaf([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    loss = ops.cross_entropy(z, [0, 0])
    assert loss.item() == 1e4
    np.testing.assert_array_equal(numbers(td.grad(loss, z)), [[0, 0], [-0.5, 0.5]])


def test_a_class_ruled_out_makes_cross_entropy_nan():
    z = leaf([[0.0, -np.inf, 0.0]])
    loss = ops.cross_entropy(z, [0])
    assert loss.item() == pytest.approx(np.log(2))
    np.testing.assert_allclose(numbers(td.grad(loss, z)), [[-0.5, 0, 0.5]], atol=1e-15)


def test_gelu_constants_have_five_digits():
    """Φ(1) to the last digit, and √(2/π) in the tanh form; values from mpmath, 40 digits."""
    x = Tensor(np.array([-3.0, -1, -0.5, 0.5, 1, 2]))
    exact = [
        -0.004049694094890284,
        -0.1586552539314571,
        -0.1542687693629934,
        0.3457312306370066,
        0.8413447460685429,
        1.954499736103642,
    ]
    np.testing.assert_allclose(ops.gelu(x).numpy(), exact, rtol=5e-14)
    tanh = [
        -0.003637392081773019,
        -0.1588080093917233,
        -0.1542859901748561,
        0.3457140098251439,
        0.8411919906082767,
        1.954597694087775,
    ]
    np.testing.assert_allclose(ops.gelu(x, approximate=True).numpy(), tanh, rtol=5e-14)


def test_gelu_of_a_large_negative_number_is_large():
    x = Tensor(np.array([-1e30, -1e5, -50.0], np.float32))
    np.testing.assert_array_equal(ops.gelu(x).numpy(), [0, 0, 0])


def test_sigmoid_and_softplus_overflow():
    x = leaf([-1e4, 0.0, 1e4], np.float32)
    np.testing.assert_array_equal(ops.sigmoid(x).numpy(), [0, 0.5, 1])
    np.testing.assert_allclose(ops.softplus(x).numpy(), [0, np.log(2), 1e4], rtol=1e-6)
    np.testing.assert_allclose(ops.silu(x).numpy(), [0, 0, 1e4])
    targets = np.array([1.0, 0, 0])
    loss = ops.binary_cross_entropy_with_logits(x, targets, reduction="none")
    np.testing.assert_allclose(loss.numpy(), [1e4, np.log(2), 1e4], rtol=1e-6)


def test_variance_is_mean_of_squares_minus_square_of_mean():
    x = leaf(np.array([1e4, 1e4 + 1, 1e4 + 2]), np.float32)
    np.testing.assert_allclose(ops.var(x).item(), 2 / 3, rtol=1e-6)
    image = np.random.default_rng(0).standard_normal((2, 8, 8, 4)) + 1000
    y = ops.group_norm(
        leaf(image, np.float32), leaf(np.ones(4), np.float32), Tensor([0.0] * 4), groups=2
    )
    assert abs(y.numpy().std() - 1) < 1e-3


def test_float64_constants_turn_the_network_into_float64():
    x = leaf([1.0, 2.0], np.float32)
    for y in (
        x * np.float64(2),
        np.float64(2) * x,
        x + np.ones(2),
        np.ones(2) - x,
        x / np.arange(1, 3),
    ):
        assert y.dtype == np.float32
        assert td.grad(y.sum(), x).dtype == np.float32


def test_a_nan_disappears_in_max_pooling():
    x = np.zeros((1, 2, 2, 1), np.float32)
    for i in range(4):
        image = x.copy()
        image.reshape(4)[i] = np.nan
        assert np.isnan(ops.max_pool2d(Tensor(image), kernel=2).item())
        assert np.isnan(ops.max(Tensor(image)).item())


# Shapes


@pytest.mark.parametrize("stride, padding", [(1, 0), (2, 1), (3, 2), ((2, 3), (1, 0)), (2, "same")])
def test_convolution_of_a_picture_that_is_not_square(stride, padding):
    x, w = np.random.default_rng(1).standard_normal((2, 9, 6, 2)), np.ones((3, 2, 2, 1))
    y = ops.conv2d(Tensor(x), Tensor(w), stride=stride, padding=padding)
    s = stride if isinstance(stride, tuple) else (stride, stride)
    if padding == "same":
        pads = [
            max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip((9, 6), (3, 2), s, strict=True)
        ]
        pads = [(p // 2, p - p // 2) for p in pads]
    else:
        pads = [(p, p) for p in (padding if isinstance(padding, tuple) else (padding, padding))]
    padded = np.pad(x, [(0, 0), *pads, (0, 0)])
    h, w_ = (padded.shape[1] - 3) // s[0] + 1, (padded.shape[2] - 2) // s[1] + 1
    assert y.shape == (2, h, w_, 1)
    for i in range(h):
        for j in range(w_):
            window = padded[:, i * s[0] : i * s[0] + 3, j * s[1] : j * s[1] + 2]
            np.testing.assert_allclose(y.numpy()[:, i, j, 0], window.sum(axis=(1, 2, 3)))


@pytest.mark.parametrize("size", range(5, 12))
def test_windows_that_do_not_divide_the_picture_are_rejected(size):
    x = leaf(np.random.default_rng(2).standard_normal((1, size, size + 1, 1)))
    w = leaf(np.ones((3, 3, 1, 1)))
    y = ops.conv2d(x, w, stride=3)
    assert y.shape == (1, size // 3, (size + 1) // 3, 1)
    y.sum().backward()
    seen = np.zeros((size, size + 1))
    seen[: size // 3 * 3, : (size + 1) // 3 * 3] = 1  # what no window reaches gets no gradient
    np.testing.assert_array_equal(numbers(x.grad)[0, ..., 0], seen)


@pytest.mark.parametrize("pool", [ops.avg_pool2d, ops.conv2d])
def test_overlapping_windows_overwrite_each_others_gradient(pool):
    x = leaf(np.ones((1, 5, 5, 1)))
    if pool is ops.conv2d:
        y = pool(x, Tensor(np.ones((3, 3, 1, 1))))
    else:
        y = pool(x, kernel=3, stride=1) * 9
    y.sum().backward()
    counts = np.array([1, 2, 3, 2, 1])
    np.testing.assert_allclose(numbers(x.grad)[0, ..., 0], np.outer(counts, counts))


def test_overlapping_max_pools_overwrite_each_others_gradient():
    image = np.zeros((1, 5, 5, 1))
    image[0, 2, 2] = 1  # the largest in each of the nine windows
    x = leaf(image)
    ops.max_pool2d(x, kernel=3, stride=1).sum().backward()
    np.testing.assert_array_equal(numbers(x.grad), 9 * image)


def test_a_stride_0_gradient_crashes_the_matrix_product():
    x, w = leaf(np.ones((4, 3)), np.float32), leaf(np.ones((3, 2)), np.float32)
    (x @ w).sum().backward()
    np.testing.assert_array_equal(numbers(x.grad), np.full((4, 3), 2))
    np.testing.assert_array_equal(numbers(w.grad), np.full((3, 2), 4))
    y = ops.expand(leaf(np.ones((1, 3)), np.float32), shape=(4, 3)) @ w
    np.testing.assert_array_equal(numbers(td.grad(y.sum(), w)), np.full((3, 2), 4))


def test_repeated_indices_keep_the_last_gradient_only():
    table = leaf(np.zeros((3, 2)))
    ops.embedding(table, [1, 1, 1, 0]).sum().backward()
    np.testing.assert_array_equal(numbers(table.grad), [[1, 1], [3, 3], [0, 0]])
    x = leaf(np.zeros(3))
    x[[0, 0, 2]].sum().backward()
    np.testing.assert_array_equal(numbers(x.grad), [2, 0, 1])


def test_predictions_and_targets_broadcast_in_a_loss():
    with pytest.raises(ValueError, match=r"\(4, 1\) and target \(4,\)"):
        ops.mse_loss(Tensor(np.zeros((4, 1))), np.zeros(4))


def test_negative_axes_transpose_the_wrong_way_back():
    td.gradcheck(lambda x: ops.transpose(x, axes=(0, -1, 1)), np.ones((3, 3, 3)))


# Importing


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.skipif(backend.name == "cupy", reason="then CuPy is imported, on purpose")
def test_the_gpu_module_is_imported_unconditionally():
    code = "import sys, tinydiff; print(*sorted(sys.modules))"
    modules = set(run_python(code, TINYDIFF_BACKEND="numpy").split())
    assert "tinydiff.ops.conv" in modules
    assert not modules & {"cupy", "matplotlib", "torch", "scipy"}


def test_every_module_takes_its_arrays_from_the_one_backend():
    """Switched at run time, a backend does not reach the modules that had imported the other."""
    modules = [m for name, m in sys.modules.items() if name.startswith("tinydiff")]
    assert len({id(m.xp) for m in modules if hasattr(m, "xp")}) == 1


@pytest.mark.skipif(backend.name == "cupy", reason="CuPy takes its own time")
def test_importing_takes_long():
    """Less than 0.3 s on top of NumPy: processor time, the best of many, whatever else runs.

    Where NumPy itself takes more than 0.1 s, the machine is slow, and we may take as much longer.
    """
    code = (
        "import time; start = time.process_time(); import numpy; middle = time.process_time(); "
        "import tinydiff; print(middle - start, time.process_time() - middle)"
    )
    times = []
    for _ in range(20):  # until the machine has had a quiet moment
        times.append([float(t) for t in run_python(code).split()])
        numpy_alone, ours = map(min, zip(*times, strict=True))
        if ours < max(0.3, 3 * numpy_alone):
            return
    raise AssertionError(f"importing tinydiff took {ours:.2f} s, NumPy {numpy_alone:.2f} s")
