"""The CUDA sources compile, for every kind of GPU; neither a GPU nor CuPy is needed for that.

By NVRTC, which is what CuPy compiles them with, or by nvcc; where there is neither, `make oracle`
brings NVRTC along.
"""

import importlib.util
import re
import sys
import types
from pathlib import Path

import cuda_compilers
import pytest

import tinydiff

CUDA = Path(tinydiff.__file__).parent / "kernels" / "cuda"
NAMES = sorted(file.stem for file in CUDA.glob("*.cu"))
ARCHITECTURES = (70, 75, 80, 86, 89, 90)  # Volta, Turing, Ampere twice, Ada, Hopper

NVRTC = cuda_compilers.nvrtc()
HERE = NVRTC or cuda_compilers.nvcc()
compiled_here = pytest.mark.skipif(HERE is None, reason="no NVRTC and no nvcc to compile CUDA with")
compiled_by_nvrtc = pytest.mark.skipif(NVRTC is None, reason="no NVRTC to compile CUDA with")
by_each = pytest.mark.parametrize(
    "compiler",
    [
        pytest.param(HERE, marks=compiled_here, id="here"),
        pytest.param(NVRTC, marks=[compiled_by_nvrtc, pytest.mark.oracle], id="NVRTC"),
    ],
)


@pytest.fixture(scope="module")
def source():
    """kernels/cuda/source.py, to whom a CuPy is given that compiles nothing: modules made with it
    are (text, options)."""
    spec = importlib.util.spec_from_file_location("source_of_kernels", CUDA / "source.py")
    module = importlib.util.module_from_spec(spec)
    cupy = types.ModuleType("cupy")
    cupy.RawModule = lambda *, code, options: (code, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", cupy)
        spec.loader.exec_module(module)
    return module


def check(compiler, text, options, architectures):
    """It compiles without a warning, and on the GPUs that matter most nothing spills"""
    log = compiler.compile(text, options, architectures)
    assert log.count("bytes spill stores") >= len(architectures), f"no report of spills: {log}"
    assert cuda_compilers.complaints(log, nothing_spills=(80, 90)) == []


@compiled_here
@pytest.mark.parametrize(
    ("real", "some"),
    [
        ("float", slice(None)),
        pytest.param("double", slice(None, None, len(ARCHITECTURES) - 1), id="double, two"),
        pytest.param("double", slice(1, -1), marks=pytest.mark.slow, id="double, others"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_compiles(source, name, real, some):
    known = HERE.architectures()  # of newer compilers, perhaps no longer the oldest
    architectures = [a for a in ARCHITECTURES[some] if a in known]
    check(HERE, *source._module(source.text_of(name), real), architectures)


@pytest.mark.oracle
@compiled_by_nvrtc
@pytest.mark.parametrize("real", ("float", "double"))
@pytest.mark.parametrize("name", NAMES)
def test_compiles_by_nvrtc(source, name, real):
    check(NVRTC, *source._module(source.text_of(name), real), ARCHITECTURES)


# These tests can fail


KERNEL = 'extern "C" __global__ void kernel(real* x, int n) {{ {} }}'
OPTIONS = ("-std=c++17", "-DREAL=float")


def text_with(source, body):
    return source.text_of(NAMES[0]) + KERNEL.format(body)


@by_each
def test_a_correct_kernel_passes(source, compiler):
    check(compiler, text_with(source, "x[n] = block_sum(x[0]);"), OPTIONS, [80])


@by_each
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("x[n] = y;", "y"),
        ("x[n] = 1", ";"),
        ("x[n] = block_sum();", "block_sum"),
        ("x[n] = INFINITY;", "INFINITY"),  # NVRTC has none of C's headers
    ],
)
def test_errors_are_reported(source, compiler, body, error):
    with pytest.raises(cuda_compilers.CompileError, match=error):
        check(compiler, text_with(source, body), OPTIONS, [80])


@by_each
@pytest.mark.parametrize(
    ("bounds", "body", "complaint"),
    [
        ("", "int unused = n;", "never referenced"),
        (
            "",
            "__shared__ real big[13 << 10]; big[n] = x[n]; __syncthreads(); x[0] = big[1];",
            # Both refuse it, one without a reason.
            "53248 bytes smem|too much shared data",
        ),
        (
            "__launch_bounds__(1024, 2)",  # a promise that leaves 32 registers a thread
            """real held[64];
            for (int k = 0; k < 64; k++) held[k] = x[k * n];
            __syncthreads();
            for (int k = 0; k < 64; k++) x[k * n] = held[63 - k] * held[k];""",
            r"kernel on sm_80: \d+ bytes spill stores",
        ),
    ],
    ids=["warning", "shared memory", "spills"],
)
def test_complaints_are_errors(source, compiler, bounds, body, complaint):
    text = text_with(source, body).replace("void kernel", f"{bounds} void kernel")
    with pytest.raises((AssertionError, cuda_compilers.CompileError), match=complaint):
        check(compiler, text, OPTIONS, [80])


# What Python passes to them


def kernels_of(text) -> list[tuple[str, list[str]]]:
    """(name, parameters) of each kernel, whatever stands before its name"""
    found = re.findall(r"__global__[^{}]*?(\w+)\s*\(([^()]*)\)\s*\{", re.sub(r"//.*", "", text))
    return [(name, [p.strip() for p in parameters.split(",")]) for name, parameters in found]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_of_kinds_that_source_converts(source, name):
    text = source.text_of(name)
    kernels = kernels_of(text)
    assert len(kernels) == len(re.findall("__global__", text)) > 0
    assert len(kernels) == len(re.findall(r'extern "C" __global__ void', text)), "not found by name"
    for kernel, parameters in kernels:
        assert source._parameters(text, kernel) == parameters
        for parameter in parameters:
            source._converter(parameter)  # KeyError where it knows none


def test_other_kinds_are_not_converted(source):
    for parameter in ("short n", "long long n", "float3 x"):
        with pytest.raises(KeyError):
            source._converter(parameter)


def test_every_source_is_found():
    assert "activation" in NAMES
    assert all(kernels_of((CUDA / f"{name}.cu").read_text("utf-8")) for name in NAMES)
