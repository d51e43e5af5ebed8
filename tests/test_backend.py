"""The backend: chosen once, refused in one sentence, its random stream; and all on a stand-in GPU.

tests/standin holds a module named cupy that behaves as CuPy does, on NumPy.  With it on the path
the library runs as on a GPU, in a process of its own.
"""

import os
import subprocess
import sys
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


def test_cupy_without_a_gpu():
    run = python("-c", SHOW, standin=True, TINYDIFF_BACKEND="cupy", CUPY_STANDIN_DEVICES="0")
    refused(run, "no GPU", "nvidia-smi", "TINYDIFF_BACKEND=numpy")


def test_cupy_whose_driver_fails():
    run = python("-c", SHOW, standin=True, TINYDIFF_BACKEND="cupy", CUPY_STANDIN_DEVICES="broken")
    refused(run, "CUDA driver version is insufficient", "nvidia-smi")


def test_cupy_that_cannot_be_imported(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcudart.so.12: not found')")
    run = python("-c", SHOW, PYTHONPATH=str(tmp_path), TINYDIFF_BACKEND="cupy")
    refused(run, "libcudart.so.12: not found")


@pytest.mark.parametrize("devices", ["0", "broken"])
def test_auto_falls_back_without_a_word(devices):
    run = python("-c", SHOW, standin=True, TINYDIFF_BACKEND="auto", CUPY_STANDIN_DEVICES=devices)
    assert run.returncode == 0
    assert run.stdout.startswith("numpy")
    assert run.stderr == ""


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


@on_numpy
def test_the_engine_runs_on_the_stand_in():
    engine = ["test_tensor.py", "test_gradcheck.py", "test_peers_bugs.py", "test_backend.py"]
    runs_on_the_stand_in("ops", *engine, but="test_strides")


@on_numpy
@pytest.mark.slow
def test_all_of_it_runs_on_the_stand_in():
    runs_on_the_stand_in("ops", "nn", "optim", "models", "diffusion", "training")
