"""Shared by all tests: random numbers that can be had again, and the stand-in for CuPy."""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import tinydiff as td

# A shell that runs the tests in the background has them ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def seed() -> int:
    """The seed of this run's random tests; pytest prints it when a test fails.

    TINYDIFF_TEST_SEED chooses another: a number, or "random" for one from the clock.
    """
    wanted = os.environ.get("TINYDIFF_TEST_SEED", "0")
    seed = int.from_bytes(os.urandom(4), "little") if wanted == "random" else int(wanted)
    print(f"TINYDIFF_TEST_SEED={seed}")
    return seed


@pytest.fixture
def rng(seed) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def standin():
    """The stand-in for CuPy, loaded beside whatever else may be called cupy."""
    path = Path(__file__).parent / "standin" / "cupy" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        "standin_cupy", path, submodule_search_locations=[str(path.parent)]
    )
    module = sys.modules["standin_cupy"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _same_stream_for_every_test():
    td.seed(0)
