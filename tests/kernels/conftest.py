"""Fast kernels are NumPy's; and any number of workers."""

import pytest

from tinydiff import backend
from tinydiff.kernels import workers

if backend.name != "numpy":
    collect_ignore_glob = ["test_*"]


@pytest.fixture
def set_threads(monkeypatch):
    """set_threads(3): kernels share their work over three workers until the test ends, and from
    a size on that tests can afford."""

    def set_number(number: int) -> None:
        monkeypatch.setattr(workers, "THREADS", number)
        monkeypatch.setattr(workers, "SMALL", 1 << 15)
        monkeypatch.setattr(workers, "_pool", None)

    return set_number
