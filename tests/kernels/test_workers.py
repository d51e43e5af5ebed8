"""Sharing work over threads: same results, same bits, BLAS left as it was, whatever happens."""

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from kernel_cases import check_close, expected, large_cases, results
from threadpoolctl import threadpool_info, threadpool_limits

from tinydiff.kernels import workers

pytestmark = pytest.mark.filterwarnings("error")


def blas_threads():
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


def in_a_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


def bits_of(cases):
    return [a.tobytes() for case in cases for a in results(case)]


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_same_number_of_workers_same_bits(threads, rng, set_threads):
    set_threads(threads)
    cases = large_cases(rng)
    first = bits_of(cases)
    for _ in range(3):
        assert bits_of(cases) == first


def test_the_number_of_workers_changes_rounding_only(rng, set_threads):
    for case in large_cases(rng):
        wanted = expected(case)
        for threads in (1, 2, 3, 5):
            set_threads(threads)
            check_close(case, results(case), wanted)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_blas_keeps_the_threads_the_user_gave_it(limit, rng, set_threads):
    set_threads(2)
    with threadpool_limits(limit, user_api="blas"):
        for case in large_cases(rng):
            results(case)
            assert blas_threads() == [limit] * len(blas_threads()), case.about


@pytest.mark.parametrize("n, elements", [(1, 10), (1, 1 << 20), (7, 1 << 20), (0, 0)])
def test_every_item_is_worked_on_once_with_blas_at_one_thread(n, elements, set_threads):
    set_threads(3)
    seen, numbers, lock = [], set(), threading.Lock()

    def work(low, high, worker):
        with lock:
            seen.extend(range(low, high))
            numbers.update(blas_threads())
            assert 0 <= worker < 3 and high - low <= 2

    workers.parallel(work, n, 2, elements)
    assert sorted(seen) == list(range(n))
    assert numbers <= {1}


def test_small_jobs_stay_on_this_thread(set_threads):
    set_threads(3)
    names = set()

    def work(low, high, worker):
        names.add(threading.current_thread())

    workers.parallel(work, 9, 1, workers.SMALL - 1)
    assert names == {threading.current_thread()}
    barrier = threading.Barrier(3, timeout=10)  # passed only if three threads are here at once
    workers.parallel(lambda *_: barrier.wait(), 3, 1, workers.SMALL)


@pytest.mark.parametrize("culprit", [0, 1, 2])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_reaches_the_caller_after_all_workers_have_stopped(culprit, error, set_threads):
    set_threads(3)
    before, finished, failed = blas_threads(), [], threading.Event()

    def work(low, high, worker):
        if worker == culprit:
            failed.set()
            raise error("from a worker")
        failed.wait(10)
        threading.Event().wait(0.05)  # still busy when the error is on its way
        finished.append(worker)

    with pytest.raises(error, match="from a worker"):
        workers.parallel(work, 3, 1, 1 << 20)
    assert sorted(finished) == [worker for worker in range(3) if worker != culprit]
    assert blas_threads() == before

    total = workers.parallel_sum(
        lambda low, high, out: out.fill(high - low), 9, 2, 1 << 20, (2, 2)
    )  # the workers are still there
    np.testing.assert_array_equal(total, np.full((2, 2), 9))


def test_two_threads_of_the_user_at_once(rng, set_threads):
    set_threads(2)
    before, cases, different = blas_threads(), large_cases(rng), []
    wanted = [bits_of([case]) for case in cases]

    def user(order):
        for i in order:
            if bits_of([cases[i]]) != wanted[i]:
                different.append(cases[i].about)

    orders = [rng.permutation(np.tile(np.arange(len(cases)), 3)) for _ in range(2)]
    users = [threading.Thread(target=user, args=(order,)) for order in orders]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    assert different == []
    assert blas_threads() == before


def test_any_thread_may_call_after_any_other(set_threads):
    """threadpoolctl gives BLAS to the first thread that asks; kernels must not keep it."""
    set_threads(2)
    numbers = []

    def ask(*_):
        numbers.append(set(blas_threads()))

    with threadpool_limits(2, user_api="blas"):
        for _ in range(2):
            in_a_thread(workers.parallel, ask, 2, 1, 1 << 20)
            workers.parallel(ask, 2, 1, 1 << 20)
    assert numbers == [{1}] * 8

    def limited():
        with threadpool_limits(3, user_api="blas"):
            ask()

    in_a_thread(limited)
    assert numbers[-1] == {3}


def test_one_thread_inside_does_not_let_another_change_blas():
    with threadpool_limits(2, user_api="blas"):
        with workers.single_threaded_blas:
            in_a_thread(workers.parallel, lambda *_: None, 1, 1, 1)
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {2}


def test_with_cores_lent_all_stays_on_this_thread(set_threads):
    set_threads(3)
    seen = []
    workers.lend()
    workers.lend()
    workers.take_back()
    try:
        assert workers.threads_for(1 << 30) == 1 and workers.piece(1 << 30) == 1 << 16
        workers.parallel(lambda *_: seen.append(threading.get_ident()), 5, 2, 1 << 30)
    finally:
        workers.take_back()
    assert seen == [threading.get_ident()] * 3
    assert workers.threads_for(1 << 30) == 3 and workers.piece(1 << 30) == 1 << 18


def test_numpys_buffer_is_as_before(set_threads):
    set_threads(2)
    before = np.getbufsize()
    inside = []

    def work(low, high, worker):
        inside.append(np.getbufsize())
        if high == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        workers.parallel(work, 2, 1, 1 << 20, buffer=512)
    assert np.getbufsize() == before
    assert inside == [512, 512]


def test_empty_begins_at_a_line_of_the_cache():
    for shape in [(), (1,), (3, 5), (0, 4), (1 << 20,)]:
        a = workers.empty(*shape)
        assert a.shape == shape and a.dtype == np.float32 and a.flags.c_contiguous
        assert a.ctypes.data % 64 == 0 or a.size == 0


FORK = """
    import os, threading, warnings
    import numpy as np
    from threadpoolctl import threadpool_info, threadpool_limits
    from tinydiff.kernels import matmul, workers

    warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: the point of the test
    threadpool_limits(2, user_api="blas")
    a = np.random.default_rng(0).standard_normal((2000, 100), dtype=np.float32)
    b = a[:100, :50].copy()
    wanted = matmul(a, b)

    def all_is_the_same():
        blas = lambda: [lib["num_threads"] for lib in threadpool_info()]
        numbers = []
        workers.parallel(lambda *_: numbers.append(blas()), 2, 1, 1 << 20)
        same = np.array_equal(matmul(a, b), wanted)
        return same and numbers == [[1], [1]] and blas() == [2]

    def children_get_the_same():
        child = os.fork()
        if child == 0:
            os._exit(0 if all_is_the_same() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    children_get_the_same()

    # Born where BLAS has one thread, and gone from there,
    with workers.single_threaded_blas:
        child = os.fork()
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    if child == 0:
        os._exit(0 if all_is_the_same() else 1)

    # now while another thread is on its way into one,
    with workers.single_threaded_blas.lock:
        children_get_the_same()

    # and while another is in the middle of one.
    inside, leave = threading.Event(), threading.Event()
    def work(low, high, worker):
        inside.set()
        leave.wait(20)
    thread = threading.Thread(target=workers.parallel, args=(work, 2, 1, 1 << 20))
    thread.start()
    inside.wait(20)
    children_get_the_same()
    leave.set()
    thread.join()
    assert np.array_equal(matmul(a, b), wanted)
    print("parent and children agree")
"""


@pytest.mark.skipif(not hasattr(workers.os, "fork"), reason="this system cannot fork")
def test_kernels_work_in_a_forked_child():
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORK)],
        env={**workers.os.environ, "TINYDIFF_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout == "parent and children agree\n", run.stderr


def test_scratch_is_each_threads_own():
    mine, theirs = workers.scratch("test", 4, 5), []
    in_a_thread(lambda: theirs.append(workers.scratch("test", 4, 5)))
    assert mine.shape == theirs[0].shape == (4, 5) and mine.dtype == np.float32
    assert not np.shares_memory(mine, theirs[0])
    assert np.shares_memory(mine, workers.scratch("test", 3))  # reused
    assert workers.scratch("test", 1000).shape == (1000,)  # grown
