"""CUDA kernels on the CPU: the stand-in for CuPy's RawModule computes as a GPU does, and refuses
what a GPU would do silently wrong."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinydiff

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="no g++ to compile CUDA kernels for the CPU with"
)
COMMON = (Path(tinydiff.__file__).parent / "kernels" / "cuda" / "common.cuh").read_text("utf-8")
THREADS = [32, 64, 96, 256, 1024]


@pytest.fixture(params=["forwards", "backwards"])
def order(request, monkeypatch):
    """In which order the threads of a block run"""
    monkeypatch.setenv("CUDA_ON_CPU_BACKWARDS", str(int(request.param == "backwards")))


def kernel(cp, parameters, body, *, before="", real="float"):
    code = f'{COMMON}{before}\nextern "C" __global__ void kernel({parameters}) {{ {body} }}'
    return cp.RawModule(code=code, options=(f"-DREAL={real}",)).get_function("kernel")


@pytest.fixture
def fill(standin):
    """y[i] = value for i < n"""
    return kernel(standin, "real* y, real value, int n, size m", "FOR_EACH(i, n) y[i] = value;")


def arguments(cp, **other):
    given = dict(y=cp.zeros(8, np.float32), value=np.float32(3), n=np.int32(8), m=np.int64(0))
    return tuple((given | other).values())


# Arguments


def test_fills(standin, fill):
    y = standin.zeros((2, 4), np.float32)
    fill((1,), (32,), arguments(standin, y=y))
    np.testing.assert_array_equal(y.get(), np.full((2, 4), 3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 8},  # CuPy passes 64 bits where the kernel has 32
        {"n": np.int64(8)},
        {"n": np.uint32(8)},
        {"m": np.int32(0)},
        {"value": 3.0},  # CuPy passes a double
        {"value": np.float64(3)},
        {"value": 3},
        {"value": np.zeros(8, np.float32)},
        {"y": np.zeros(8, np.float32)},
        {"y": None},
        {"y": 8},
        {"y": "x"},
        {"more": np.int32(0)},
    ],
    ids=repr,
)
def test_wrong_arguments(standin, fill, wrong):
    with pytest.raises((TypeError, ValueError)):
        fill((1,), (32,), arguments(standin, **wrong))


@pytest.mark.parametrize(
    "y",
    [
        lambda cp: cp.zeros(8, np.float64),
        lambda cp: cp.zeros(8, np.int32),
        lambda cp: cp.zeros(16, np.float32)[::2],
        lambda cp: cp.zeros((2, 4), np.float32).T,
        lambda cp: cp.broadcast_to(cp.zeros(1, np.float32), (8,)),
    ],
    ids=["double", "int", "every other", "transposed", "broadcast"],
)
def test_wrong_arrays(standin, fill, y):
    with pytest.raises((TypeError, ValueError)):
        fill((1,), (32,), arguments(standin, y=y(standin)))


def test_arguments_that_are_no_tuple(standin, fill):
    with pytest.raises(TypeError, match="tuple"):
        fill((1,), (32,), list(arguments(standin)))
    with pytest.raises(TypeError, match="takes 4 arguments"):
        fill((1,), (32,), arguments(standin)[:3])


def test_python_numbers_are_64_bits(standin):
    wide = kernel(standin, "double* y, size n, double value", "y[n] = value;", real="double")
    y = standin.zeros(3)
    wide((1,), (1,), (y, 2, 0.5))
    assert y.get()[2] == 0.5


def test_a_null_pointer(standin):
    asks = kernel(standin, "const real* x, int* y", "y[0] = x == nullptr;")
    y = standin.zeros(1, np.int32)
    asks((1,), (1,), (np.uintp(0), y))
    assert int(y[0]) == 1


@pytest.mark.parametrize(
    ("grid", "block"),
    [
        ((0,), (32,)),
        ((1, 0), (32,)),
        ((1,), (0,)),
        ((1,), (1025,)),
        ((1,), (32, 33)),
        ((1,), (1, 1, 65)),
        ((1, 65536), (1,)),
        ((1, 1, 65536), (1,)),
        ((2**31,), (1,)),
    ],
)
def test_wrong_numbers_of_blocks_and_threads(standin, fill, grid, block):
    with pytest.raises(ValueError, match="InvalidConfiguration"):
        fill(grid, block, arguments(standin))


def test_what_does_not_compile(standin):
    with pytest.raises(RuntimeError, match="unknown"):
        kernel(standin, "real* y", "y[0] = unknown;")
    with pytest.raises(RuntimeError, match="INFINITY"):  # NVRTC has none of C's headers
        kernel(standin, "real* y", "y[0] = INFINITY;")
    with pytest.raises(KeyError):
        standin.RawModule(code=COMMON, options=("-DREAL=float",)).get_function("no_such")


# Memory


@pytest.mark.parametrize("where", [-1000, -1, 8, 1000])
def test_reading_beyond_an_array_gives_nan(standin, where):
    read = kernel(standin, "const real* x, real* y, int i", "y[0] = x[i];")
    y = standin.zeros(1, np.float32)
    read((1,), (1,), (standin.zeros(8, np.float32), y, np.int32(where)))
    assert np.isnan(y.get()).all()


@pytest.mark.parametrize("where", [-1000, -1, 8, 1000])
def test_writing_beyond_an_array_is_found(standin, where):
    write = kernel(standin, "real* y, int i", "y[i] = 1;")
    with pytest.raises(RuntimeError, match="wrote beyond"):
        write((1,), (1,), (standin.zeros(8, np.float32), np.int32(where)))


def test_writing_to_const_is_found(standin):
    write = kernel(standin, "const real* x", "((real*)x)[0] = 1;")
    with pytest.raises(RuntimeError, match="const"):
        write((1,), (1,), (standin.zeros(8, np.float32),))


def test_arrays_given_twice(standin):
    x = standin.zeros(8, np.float32)
    inside = kernel(standin, "const real* x, real* y", "y[threadIdx.x] = x[threadIdx.x] + 1;")
    inside((1,), (8,), (x, x))
    np.testing.assert_array_equal(x.get(), np.ones(8))
    with pytest.raises(ValueError, match="overlaps"):
        inside((1,), (7,), (x[:7], x[1:]))
    parameters = "const real* __restrict__ x, real* __restrict__ y"
    apart = kernel(standin, parameters, "y[threadIdx.x] = x[threadIdx.x] + 1;")
    with pytest.raises(ValueError, match="__restrict__"):
        apart((1,), (8,), (x, x))


def test_a_block_finds_nothing_in_its_shared_memory(standin, order):
    body = "__shared__ real s[4]; y[blockIdx.x] = s[1]; __syncthreads(); s[1] = 1;"
    blocks = kernel(standin, "real* y", body)
    y = standin.zeros(3, np.float32)
    blocks((3,), (1,), (y,))
    assert np.isnan(y.get()).all()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 is asked to flush them")
@pytest.mark.parametrize(
    ("real", "dtype", "kept"), [("float", np.float32, False), ("double", np.float64, True)]
)
def test_small_floats_are_flushed_as_by_cupy(standin, real, dtype, kept):
    halve = kernel(standin, "real* y", "y[0] /= 2;", real=real)
    y = standin.asarray(np.full(1, np.finfo(dtype).smallest_normal))
    halve((1,), (1,), (y,))
    assert (y.get()[0] > 0) == kept
    assert np.full(1, np.finfo(np.float32).smallest_normal) / 2 > 0, "only while a kernel runs"


# Threads


MIRROR = "real* y", "__shared__ real s[64]; int i = threadIdx.x; s[i] = i; {} y[i] = s[63 - i];"


def test_a_missing_barrier_shows_in_one_of_the_two_orders(standin, monkeypatch):
    expected = np.arange(64)[::-1]
    for barrier, right in (("__syncthreads();", True), ("", False)):
        mirror = kernel(standin, MIRROR[0], MIRROR[1].format(barrier))
        found = []
        for backwards in "01":
            monkeypatch.setenv("CUDA_ON_CPU_BACKWARDS", backwards)
            y = standin.zeros(64, np.float32)
            mirror((1,), (64,), (y,))
            found.append(y.get())
        assert all(np.array_equal(y, expected) for y in found) == right
        assert np.array_equal(*found) == right


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("if (threadIdx.x < 40) __syncthreads(); y[0] = 1;", "not all of a block"),
        ("if (threadIdx.x == 3) return; __syncthreads(); y[0] = 1;", "not all of a block"),
        ("if (threadIdx.x) y[0] = __shfl_xor_sync(~0u, y[0], 1);", "not all of a warp"),
        (
            "if (threadIdx.x < 32) __syncthreads(); else __syncwarp(); __syncthreads();"
            "if (threadIdx.x % 2) __syncwarp(); else __syncthreads();",
            "wait for one another",
        ),
    ],
    ids=["branch", "return", "shuffle", "deadlock"],
)
def test_divergent_barriers_end_the_process(body, complaint):
    script = f"""if True:
        import numpy as np
        import cupy
        from test_standin_raw import kernel
        y = cupy.zeros(64, np.float32)
        kernel(cupy, "real* y", {body!r})((1,), (64,), (y,))
        print("it went on")
    """
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{here}:{here / 'standin'}:{here.parent}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    assert "it went on" not in run.stdout
    assert complaint in run.stderr


@pytest.mark.parametrize("threads", THREADS)
def test_block_sum_and_max(standin, order, threads, rng):
    body = """
        real v = x[blockIdx.x * blockDim.x + threadIdx.x];
        real sum = block_sum(v), most = block_max(v), again = block_sum(2 * v);
        size at = (size)blockIdx.x * blockDim.x + threadIdx.x;
        sums[at] = sum; maxima[at] = most; twice[at] = again;
    """
    of_block = kernel(
        standin, "const real* x, real* sums, real* maxima, real* twice", body, real="double"
    )
    x = rng.standard_normal((3, threads))
    sums, maxima, twice = (standin.empty((3, threads)) for _ in range(3))
    of_block((3,), (threads,), (standin.asarray(x), sums, maxima, twice))
    ones = np.ones((3, threads))
    np.testing.assert_allclose(sums.get(), ones * x.sum(axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(twice.get(), ones * 2 * x.sum(axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_array_equal(maxima.get(), ones * x.max(axis=1, keepdims=True))


@pytest.mark.parametrize("threads", THREADS)
def test_shuffles(standin, order, threads):
    body = """
        int i = threadIdx.x;
        crossed[i] = __shfl_xor_sync(~0u, x[i], 5);
        moved[i] = __shfl_down_sync(~0u, x[i], 3);
        first[i] = __shfl_sync(~0u, x[i], 0);
    """
    shuffle = kernel(standin, "const int* x, int* crossed, int* moved, int* first", body)
    x = np.arange(threads, dtype=np.int32) * 7
    crossed, moved, first = (standin.zeros(threads, np.int32) for _ in range(3))
    shuffle((1,), (threads,), (standin.asarray(x), crossed, moved, first))
    warps = x.reshape(-1, 32)
    lanes = np.arange(32)
    np.testing.assert_array_equal(crossed.get().reshape(-1, 32), warps[:, lanes ^ 5])
    np.testing.assert_array_equal(
        moved.get().reshape(-1, 32), warps[:, np.where(lanes < 29, lanes + 3, lanes)]
    )
    np.testing.assert_array_equal(first.get().reshape(-1, 32), warps[:, :1].repeat(32, 1))


def test_positions_in_blocks_and_grids(standin, order):
    body = """
        size block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * (size)blockIdx.z);
        size thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
        y[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1 + blockIdx.z + threadIdx.y;
    """
    place = kernel(standin, "real* y", body)
    y = standin.zeros((4, 3, 2, 2, 5, 8), np.float32)
    place((2, 3, 4), (8, 5, 2), (y,))
    expected = 1 + np.arange(4).reshape(4, 1, 1, 1, 1, 1) + np.arange(5).reshape(5, 1)
    np.testing.assert_array_equal(y.get(), np.broadcast_to(expected, y.shape))


def test_long_arrays_with_few_threads(standin, order):
    add = kernel(standin, "real* y, size n", "FOR_EACH(i, n) y[i] += 1;")
    y = standin.zeros(1000, np.float32)
    add((3,), (32,), (y, 1000))
    np.testing.assert_array_equal(y.get(), np.ones(1000))
