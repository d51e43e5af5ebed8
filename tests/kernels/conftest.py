"""A fresh seed for each property test, printed; and any number of workers."""

import os
import secrets

import numpy as np
import pytest

from tinydiff.kernels import workers


@pytest.fixture
def rng():
    seed = int(os.environ.get("TINYDIFF_TEST_SEED") or secrets.randbits(32))
    print(f"seed: to repeat this, set TINYDIFF_TEST_SEED={seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def set_threads(monkeypatch):
    """set_threads(3): kernels share their work over three workers until the test ends."""

    def set_number(number: int) -> None:
        monkeypatch.setattr(workers, "THREADS", number)
        monkeypatch.setattr(workers, "_pool", None)

    return set_number
