"""The pool of threads: every item once, nothing nested, limits respected, the host's BLAS left as it was."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from deconvnet import parallel
from deconvnet.errors import DeconvnetError


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(("items", "chunk"), [(0, 3), (1, 3), (7, 3), (12, 1)])
def test_every_item_is_done_once_in_the_same_chunks(count, items, chunk):
    done, ranges = np.zeros(items, int), []

    def work(begin, end):
        done[begin:end] += 1
        ranges.append((begin, end))

    with parallel.threads(count):
        parallel.run(work, items, chunk)
    assert (done == 1).all()
    assert sorted(ranges) == [(i, min(i + chunk, items)) for i in range(0, items, chunk)]


def test_results_come_in_order():
    with parallel.threads(3):
        assert parallel.ordered_map(lambda n: n * n, iter(range(50))) == [n * n for n in range(50)]


def test_two_threads_work_at_once():
    meet = threading.Barrier(2, timeout=20)  # breaks if the second chunk only begins after the first
    with parallel.threads(2):
        parallel.run(lambda begin, end: meet.wait(), 2)


def test_what_is_nested_runs_in_the_same_thread():
    inner = []

    def outer(begin, end):
        here = threading.get_ident()
        parallel.run(lambda a, b: inner.append(threading.get_ident() == here), 4)

    with parallel.threads(2):
        parallel.run(outer, 3)
    assert inner == [True] * 12


def test_within_a_chunk_there_is_one_thread():
    with parallel.threads(2):
        assert parallel.ordered_map(lambda _: parallel.thread_count(), range(3)) == [1, 1, 1]
        assert parallel.thread_count() == 2


def _blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("count", [1, 2])
def test_linear_algebra_has_one_thread_inside_and_its_own_number_outside(count):
    before, seen = _blas_threads(), []
    with parallel.threads(count):
        parallel.run(lambda begin, end: seen.append(_blas_threads()), 3)
    assert set(np.ravel(seen)) == {1}
    assert _blas_threads() == before


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_error_comes_out_and_the_rest_is_left_out(count):
    done = []

    def work(begin, end):
        if begin == 1:
            raise ValueError("chunk 1")
        done.append(begin)

    with parallel.threads(count), pytest.raises(ValueError, match="chunk 1"):
        parallel.run(work, 10_000)
    assert len(done) < 10_000
    assert parallel.ordered_map(abs, [-1]) == [1]  # the pool still works


def test_limits_of_the_user_are_respected():
    code = "from deconvnet.parallel import thread_count; print(thread_count())"
    for given, expected in (({"OMP_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "2"}, 2)):
        clean = {name: value for name, value in os.environ.items() if name not in parallel.VARIABLES}
        found = subprocess.run(
            [sys.executable, "-c", code], env={**clean, **given}, capture_output=True, text=True, check=True
        )
        assert int(found.stdout) == expected


def test_limits_of_the_container_are_respected(monkeypatch):
    for name in parallel.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(parallel, "_cgroup_limit", lambda: 1.5)
    assert parallel.thread_count() == 2
    monkeypatch.setattr(parallel, "_cgroup_limit", lambda: float("inf"))
    assert parallel.thread_count() == 8


def test_no_threads_are_refused():
    with pytest.raises(DeconvnetError, match="at least 1"), parallel.threads(0):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_a_pool_of_its_own():
    code = (
        "import os\nfrom deconvnet import parallel\n"
        "with parallel.threads(2):\n"
        "    parallel.ordered_map(abs, range(4))\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        os._exit(0 if parallel.ordered_map(abs, [-3, -4, -5]) == [3, 4, 5] else 1)\n"
        "    print(os.waitpid(child, 0)[1])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "0"
