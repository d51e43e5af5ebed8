"""Tests of the CUDA kernels: on a GPU, or compiled for the CPU by the stand-in for CuPy.

    TINYDIFF_BACKEND=cupy PYTHONPATH=tests/standin python -m pytest tests/kernels/cuda

On the CPU a block's threads run one after the other, from either end: what one thread needs of
another without a barrier between them is wrong in one of the two orders.
"""

import pytest

from tinydiff import backend

if backend.name != "cupy":
    collect_ignore_glob = ["test_*"]

STANDIN = backend.name == "cupy" and backend.xp.__version__.endswith("standin")


@pytest.fixture(autouse=True, params=["forwards", "backwards"] if STANDIN else ["GPU"])
def order(request, monkeypatch):
    monkeypatch.setenv("CUDA_ON_CPU_BACKWARDS", str(int(request.param == "backwards")))
