"""TINYDIFF_KERNELS and TINYDIFF_NUM_THREADS, read when tinydiff is imported."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)


def python(code, **environment):
    """Run a few lines in a fresh interpreter with those environment variables."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TINYDIFF_")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**inherited, "PYTHONPATH": os.pathsep.join([*sys.path, HERE]), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("value", ["quick", "0", "plain,fast"])
def test_a_bad_choice_of_kernels_ends_with_one_sentence(value):
    run = python("import tinydiff", TINYDIFF_KERNELS=value)
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr == f"TINYDIFF_KERNELS is '{value}': set it to fast or plain.\n"


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²"])
def test_a_bad_number_of_threads_ends_with_one_sentence(value):
    run = python("import tinydiff", TINYDIFF_NUM_THREADS=value, PYTHONIOENCODING="utf-8")
    assert run.returncode == 2 and run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("TINYDIFF_NUM_THREADS is ") and "set it to a whole number" in line


@pytest.mark.parametrize("value, threads", [("1", 1), (" 3 ", 3), ("17", 17)])
def test_the_number_of_threads(value, threads):
    run = python(
        "from tinydiff.kernels import workers; print(workers.THREADS)", TINYDIFF_NUM_THREADS=value
    )
    assert run.stdout == f"{threads}\n", run.stderr


def test_by_default_as_many_threads_as_cores():
    for nothing in ({}, {"TINYDIFF_NUM_THREADS": ""}):
        run = python(
            """
            import os
            from tinydiff.kernels import workers
            affinity = getattr(os, "sched_getaffinity", None)
            print(workers.THREADS == (len(affinity(0)) if affinity else os.cpu_count()))
            """,
            **nothing,
        )
        assert run.stdout == "True\n", run.stderr


COMPARE = """
    import numpy as np
    from kernel_cases import large_cases, results
    from tinydiff.kernels import plain

    same = []
    for case in large_cases(np.random.default_rng(0)):
        pairs = zip(results(case), results(case, module=plain))
        same.append(all(np.array_equal(a, b) for a, b in pairs))
    print(sum(same), "of", len(same))
"""


def test_plain_kernels_on_request_for_float32_too():
    run = python(COMPARE, TINYDIFF_KERNELS=" Plain ")
    same, _, cases = run.stdout.split()
    assert same == cases, run.stderr


@pytest.mark.parametrize("value", ["fast", ""])
def test_fast_kernels_by_default(value):
    """Their rounding gives them away."""
    run = python(COMPARE, TINYDIFF_KERNELS=value)
    same, _, cases = run.stdout.split()
    assert int(same) <= int(cases) // 3, run.stderr
