"""Helpers are forks on Linux, of a process whose arrays are NumPy's."""

import sys

import pytest

from tinydiff import backend
from tinydiff.kernels import workers
from tinydiff.team import team

if backend.name != "numpy" or sys.platform != "linux":
    collect_ignore_glob = ["test_*"]


@pytest.fixture
def processes(monkeypatch):
    """processes(3): a Team has two helpers until the test ends, however little there is to do."""

    def set_number(number: int) -> None:
        monkeypatch.setattr(workers, "THREADS", number)
        monkeypatch.setattr(team, "WORTH", 0)

    set_number(2)
    return set_number
