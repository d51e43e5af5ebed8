"""benchmarks/gpu.py runs: here on the stand-in for CuPy, and PyTorch on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.oracle
ROOT = Path(__file__).resolve().parents[2]


def test_all_kinds_of_rows(tmp_path):
    rows = ["64→64 @14", "64 tokens", "silu, 256 @16", "U-Net"]
    path = os.pathsep.join([str(ROOT / "tests" / "standin"), str(ROOT)])
    run = subprocess.run(
        [
            *(sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--small", "--rounds", "1"),
            *("--out", str(tmp_path), *(f"--only={text}" for text in rows)),
        ],
        env=os.environ | {"TINYDIFF_BACKEND": "cupy", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    tables = json.loads((tmp_path / "gpu.json").read_text())["tables"]
    assert len(tables["Operations"]) == 4 + 2 + 2
    for row in tables["Operations"]:
        assert row["error"] < 1e-4
        assert row["floor, ms"] > 0
    assert [row["op"][-5:] for row in tables["3×3 convolutions by either kernel"]] == [
        "value",
        "dient",
        "dient",
        "ients",
    ]
    assert len(tables["Training steps"]) == len(tables["Sampling: one of 50 steps"]) == 1
