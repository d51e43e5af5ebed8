"""The backend: chosen once, refused in one sentence, its random stream; and all on a stand-in GPU.

tests/standin holds a module named cupy that behaves as CuPy does, on NumPy.  With it on the path
the library runs as on a GPU, in a process of its own.
"""

import gc
import os
import shutil
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

import tinydiff as td
from tinydiff import backend
from tinydiff.backend import xp

TESTS = Path(__file__).parent
SHOW = "import tinydiff; print(tinydiff.backend.name, tinydiff.Tensor([1.0]).data.__class__)"


def python(*args, standin=False, **environment):
    """Run Python with a clean choice of backend; the stand-in for CuPy only if asked for."""
    env = {k: v for k, v in os.environ.items() if k not in ("TINYDIFF_BACKEND", "PYTHONPATH")}
    env["PYTHONPATH"] = str(TESTS / ("standin" if standin else "no-such-folder"))
    return subprocess.run(
        [sys.executable, *args],
        env={**env, **environment},
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
    )


def no_cupy():
    return python("-c", "import cupy").returncode != 0


# The choice


def test_numpy_is_the_default():
    run = python("-c", SHOW)
    assert run.returncode == 0
    assert run.stdout.startswith("numpy <class 'numpy.ndarray'>")


@pytest.mark.parametrize("wanted", ["cupy", "CuPy ", "auto"])
def test_cupy_where_it_works(wanted):
    run = python("-c", SHOW, standin=True, TINYDIFF_BACKEND=wanted)
    assert run.returncode == 0
    assert run.stdout.startswith("cupy <class 'cupy.ndarray'>")


@pytest.mark.parametrize("wanted", ["", "numpy"])
def test_numpy_though_cupy_is_there(wanted):
    run = python("-c", SHOW, standin=True, TINYDIFF_BACKEND=wanted)
    assert run.stdout.startswith("numpy")


def refused(run, *words):
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1, "one sentence, no traceback"
    assert run.stderr.endswith(".\n")
    for word in words:
        assert word in run.stderr


def test_a_backend_nobody_knows():
    refused(python("-c", SHOW, TINYDIFF_BACKEND="torch"), "'torch'", "numpy, cupy or auto")


@pytest.mark.skipif(not no_cupy(), reason="CuPy is installed here")
def test_cupy_not_installed():
    refused(
        python("-c", SHOW, TINYDIFF_BACKEND="cupy"),
        "not installed",
        "pip install",
        "TINYDIFF_BACKEND=numpy",
    )


BAD_STATES = {  # see tests/standin/cupy: what the sentence must say
    "no driver": ["no NVIDIA driver", "install one"],
    "old driver": ["driver version is insufficient", "newer NVIDIA driver"],
    "no GPU": ["no CUDA-capable device", "CUDA_VISIBLE_DEVICES"],
    "full": ["Out of memory", "other processes", "nvidia-smi"],
    "no room for cuBLAS": ["NOT_INITIALIZED", "other processes", "nvidia-smi"],
    "no cuBLAS": ["libcublasLt.so.12", "cupy-cuda12x[ctk]", "cupy-cuda13x[ctk]"],
    "no headers": ["CUDA headers", "[ctk]"],
    "other CUDA": ["no kernel image", "cupy-cuda12x[ctk]"],
    "old GPU": ["invalid value for --gpu-architecture", "cupy-cuda12x[ctk]"],
}


@pytest.mark.parametrize("state", BAD_STATES)
def test_a_gpu_that_cannot_be_used(state):
    run = python("-c", SHOW, standin=True, TINYDIFF_BACKEND="cupy", CUPY_STANDIN_STATE=state)
    refused(run, *BAD_STATES[state], "TINYDIFF_BACKEND=numpy")


def test_cupy_that_cannot_be_imported(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcudart.so.12: not found')")
    run = python("-c", SHOW, PYTHONPATH=str(tmp_path), TINYDIFF_BACKEND="cupy")
    refused(run, "libcudart.so.12: not found")


@pytest.mark.parametrize("state", BAD_STATES)
def test_auto_falls_back_without_a_word(state):
    run = python("-c", SHOW, standin=True, TINYDIFF_BACKEND="auto", CUPY_STANDIN_STATE=state)
    assert run.returncode == 0
    assert run.stdout.startswith("numpy")
    assert run.stderr == ""


# TF32


@pytest.mark.parametrize(("wanted", "tf32"), [("", True), ("1", True), ("0", False)])
def test_tf32_is_on_unless_told_otherwise(wanted, tf32):
    show = """
import os, cupy, tinydiff
a = cupy.ones((2, 2), "f")
a @ a
print(tinydiff.backend.tf32, os.environ["CUPY_TF32"], cupy._tf32)
"""
    run = python("-c", show, standin=True, TINYDIFF_BACKEND="cupy", TINYDIFF_TF32=wanted)
    assert run.stdout == f"{tf32} {int(tf32)} [{tf32}]\n"


def test_tf32_is_on_or_off():
    refused(python("-c", SHOW, TINYDIFF_TF32="yes"), "TINYDIFF_TF32", "'yes'", "1 or 0")


def test_numpy_knows_no_tf32():
    assert python("-c", "import tinydiff; print(tinydiff.backend.tf32)").stdout == "False\n"


# Memory


@pytest.mark.parametrize(
    "error", [MemoryError("x"), RuntimeError("cudaErrorMemoryAllocation: out of memory")]
)
def test_out_of_memory_names_the_batch(error):
    named = pytest.raises(backend.OutOfMemory, match=r"a batch of 77 .* smaller batch")
    with named, backend.memory_for(77):
        raise error


def test_out_of_memory_lets_the_batch_go():
    class Values(np.ndarray):
        pass

    def layers(seen):
        values = np.zeros(3).view(Values)
        seen.append(weakref.ref(values))
        raise MemoryError

    seen = []
    try:
        with backend.memory_for(77):
            layers(seen)
    except backend.OutOfMemory:
        gc.collect()
        assert seen[0]() is None  # while the error is still being handled


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="unrelated"), backend.memory_for(77):
        raise RuntimeError("unrelated")


# Arrays


def test_there_and_back():
    host = np.arange(6, dtype=np.int16).reshape(2, 3)
    device = backend.asarray(host)
    assert isinstance(device, xp.ndarray)
    assert device.dtype == np.int16
    np.testing.assert_array_equal(backend.to_numpy(device), host)
    np.testing.assert_array_equal(backend.to_numpy([1, 2]), [1, 2])
    assert backend.asarray([1.0, 2.0]).dtype == np.float32
    assert backend.asarray([1.0, 2.0], np.float64).dtype == np.float64
    assert backend.asarray(np.float64(1)).dtype == np.float64
    assert backend.asarray([1, 2]).dtype == np.int64
    backend.synchronize()


@pytest.mark.parametrize("data", [None, "text", [object()], [1j], np.array(["a"]), [[1], [2, 3]]])
def test_what_is_no_array(data):
    with pytest.raises((TypeError, ValueError)):
        backend.asarray(data)


# Random numbers


def test_the_same_seed_gives_the_same_stream():
    td.seed(3)
    first = backend.to_numpy(backend.randn((2, 3)))
    more = backend.rng.random(4)
    td.seed(3)
    np.testing.assert_array_equal(backend.to_numpy(backend.randn((2, 3))), first)
    np.testing.assert_array_equal(backend.rng.random(4), more)
    td.seed(4)
    assert not np.array_equal(backend.to_numpy(backend.randn((2, 3))), first)


def test_whoever_holds_the_generator_follows_the_seed():
    held = backend.rng
    td.seed(3)
    expected = held.random()
    td.seed(3)
    assert held is backend.rng
    assert held.random() == expected


def test_another_generator_leaves_the_stream_alone():
    td.seed(3)
    expected = backend.rng.random()
    td.seed(3)
    backend.randn((5,), rng=np.random.default_rng(0))
    assert backend.rng.random() == expected
    a = backend.randn((5,), rng=np.random.default_rng(0), dtype=np.float64)
    assert a.dtype == np.float64
    np.testing.assert_array_equal(backend.to_numpy(a), np.random.default_rng(0).standard_normal(5))


def test_each_thread_sees_a_part_of_its_own():
    inside, left = threading.Event(), threading.Event()

    def other():
        with backend.seeing_part(6, 2, 4):
            inside.set()
            left.wait(timeout=10)

    thread = threading.Thread(target=other)
    with backend.seeing_part(6, 0, 2):
        thread.start()
        inside.wait(timeout=10)
        assert backend.part_seen() == (6, 0, 2)
    left.set()
    thread.join()
    assert backend.part_seen() is None


# The library, on the stand-in


def runs_on_the_stand_in(*suite, but="nothing"):
    run = python(
        *("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", f"not {but}"),
        *(str(TESTS / name) for name in suite),
        standin=True,
        TINYDIFF_BACKEND="cupy",
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr


on_numpy = pytest.mark.skipif(backend.name == "cupy", reason="this is that run")
ELSEWHERE = {"oracle", "standin", "team"}  # make oracle; no tests; processes that share arrays
SUITES = {
    folder.name: [folder.name]
    for folder in sorted(TESTS.iterdir())
    if folder.name not in ELSEWHERE and any(folder.rglob("test_*.py"))
} | {"files": sorted(file.name for file in TESTS.glob("test_*.py"))}


@on_numpy
def test_the_engine_runs_on_the_stand_in():
    engine = ["test_tensor.py", "test_gradcheck.py", "test_peers_bugs.py", "test_backend.py"]
    runs_on_the_stand_in("ops", *engine, but="test_strides")


@on_numpy
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile CUDA for the CPU with")
def test_the_cuda_kernels_run_on_the_stand_in():
    runs_on_the_stand_in("kernels/cuda")


@on_numpy
@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_all_of_it_runs_on_the_stand_in(suite):
    """But for what is slow already on NumPy: the examples at full size."""
    runs_on_the_stand_in(*SUITES[suite])
