"""A run that is killed, wherever, and started again ends as one that never was: bit by bit."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import SAVE_EVERY, STEPS

from tinydiff import training

SCRIPT = Path(__file__).with_name("small_run.py")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def start(folder, *words):
    command = [sys.executable, SCRIPT, folder, *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def listen(process, line):
    """Read what the process says until it says this; whether it did."""
    return any(said.strip() == line for said in process.stdout)


def finish(folder):
    process = start(folder)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def outcome(folder):
    """The last checkpoint's bytes and the log without its times."""
    log = training.read_log(folder / "log.jsonl")
    kept = [{k: v for k, v in r.items() if k != "images_per_second"} for r in log]
    return (folder / "checkpoint.npz").read_bytes(), kept


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder)
    checkpoint, log = outcome(folder)
    assert [r["step"] for r in log] == list(range(1, STEPS + 1))
    return checkpoint, log


def test_the_same_run_twice(undisturbed, tmp_path):
    finish(tmp_path)
    assert outcome(tmp_path) == undisturbed


def test_killed_at_random_moments(undisturbed, tmp_path):
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    step = 0
    for _ in range(3):
        step += rng.randint(1, 12)
        process = start(tmp_path)
        if listen(process, f"step {step}"):
            time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    finish(tmp_path)
    assert outcome(tmp_path) == undisturbed


def test_killed_while_it_writes_a_checkpoint(undisturbed, tmp_path):
    process = start(tmp_path, "slow")
    assert listen(process, "writing")
    process.kill()
    process.wait()
    assert not (tmp_path / "checkpoint.npz").exists()

    process = start(tmp_path)
    assert listen(process, f"step {SAVE_EVERY + 2}")
    process.kill()
    process.wait()
    good = (tmp_path / "checkpoint.npz").read_bytes()

    process = start(tmp_path, "slow")
    assert listen(process, "writing")
    process.kill()
    process.wait()
    assert (tmp_path / "checkpoint.npz").read_bytes() == good
    assert len(list(tmp_path.glob(".*.tmp"))) == 1

    finish(tmp_path)
    assert outcome(tmp_path) == undisturbed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.npz", "log.jsonl"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c(undisturbed, tmp_path, number):
    process = start(tmp_path)
    assert listen(process, "step 10")
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    last = training.load(tmp_path / "checkpoint.npz")["step"]
    assert 10 <= last < STEPS
    assert process.returncode == 1
    assert f"Stopped after step {last} of {STEPS}; all is saved in {tmp_path}" in errors
    assert "Traceback" not in errors
    finish(tmp_path)
    assert outcome(tmp_path) == undisturbed
