"""benchmarks/training_step.py: PyTorch's twins compute the losses and gradients of our networks."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("threadpoolctl")
pytestmark = pytest.mark.oracle
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("name", ["classifier", "detector", "mnist"])
def test_the_twin_says_the_same(name, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import cases
    import training_step

    loss, gradients = training_step.differences(cases.CASES[name])
    assert loss < 1e-5 and gradients < 1e-4
