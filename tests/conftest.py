"""Shared by all tests: where the data sets are, and random numbers that can be had again."""

import os
import signal

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


@pytest.fixture(autouse=True)
def _same_stream_for_every_test():
    td.seed(0)
