"""Who does the work: a process, its threads, or workers with a GPU each."""

import os
import sys
import threading
import time

import pytest

from cellflow.engine.cluster import Crew, executor

RARE = "colorsys"
"""A module that nothing else imports."""


def seen(_):
    """What a worker knows of itself."""
    from distributed import get_worker

    time.sleep(0.05)
    worker = get_worker()
    free = dict(worker.state.available_resources)
    return worker.name, os.environ["CUDA_VISIBLE_DEVICES"], free, RARE in sys.modules


@pytest.mark.parametrize(("visible", "expected"), [("4,7", {0: "4", 1: "7"}), ("", {0: "0", 1: "1"})])
def test_workers_are_ready_with_a_gpu_each_and_no_two_the_same(monkeypatch, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with executor(Crew(2, gpu_each=True, threads=2, ready=(RARE,))) as pool:
        assert pool.workers == 4
        told = [asked.result() for asked in [pool.submit(seen, i) for i in range(12)]]
    assert {name: gpu for name, gpu, _, _ in told} == expected
    assert {tuple(free) for _, _, free, _ in told} == {("GPU",)}
    assert min(free["GPU"] for _, _, free, _ in told) <= 0.5
    assert all(ready for *_, ready in told)


def setting(name):
    return os.environ.get(name)


@pytest.mark.parametrize(("keep", "expected"), [(True, "0"), (False, None)])
def test_workers_keep_memory_unless_their_crew_does_not(monkeypatch, keep, expected):
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    with executor(Crew(2, keep=keep)) as pool:
        assert pool.submit(setting, "MALLOC_MMAP_MAX_").result() == expected


def test_threads_run_side_by_side_in_this_process():
    barrier = threading.Barrier(3, timeout=20)
    with executor(Crew(1, threads=3)) as pool:
        assert pool.workers == 3
        asked = [pool.submit(lambda: (barrier.wait(), os.getpid())[1]) for _ in range(3)]
        pids = {future.result() for future in asked}
    assert pids == {os.getpid()}


def test_what_has_not_begun_is_not_begun_after_a_failure():
    begun, go_on = [], threading.Event()

    def fail():
        with executor(Crew(1, threads=2)) as pool:
            for number in range(9):
                pool.submit(lambda number=number: begun.append(number) or go_on.wait(20))
            threading.Timer(0.2, go_on.set).start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert begun == [0, 1]
