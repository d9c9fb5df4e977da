"""Who does the work: a process, its threads, or workers with a GPU each."""

import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cellflow.engine.cluster import Crew, executor, paired

RARE = "colorsys"
"""A module that nothing else imports."""


@pytest.mark.parametrize("workers", range(1, 9))
def test_workers_are_two_in_a_process_and_as_many_as_asked_for(workers):
    crew = paired(workers)
    assert crew.processes * crew.threads == workers
    assert crew.threads == (1 if workers % 2 else 2)


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


def new_pages(_):
    """Of arrays of a size that was freed before; not those of Dask's own threads."""
    for _ in range(3):
        np.ones(10_000_000)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(50):
        np.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory in its own way")
def test_workers_keep_memory_unless_their_crew_does_not():
    kept, given_back = [], []
    for keep, pages in ((True, kept), (False, given_back)):
        with executor(Crew(2, keep=keep)) as pool:
            pages += [asked.result() for asked in [pool.submit(new_pages, i) for i in range(4)]]
    assert max(kept) < 0.1 * min(given_back)


def environment(_):
    """What a worker is told, whether it hears a Ctrl-C, and whether it has its modules."""
    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return os.environ["TOLD"], deaf, {RARE, "cellflow.engine.warm"} <= set(sys.modules)


FORKED = """
import os
from cellflow.engine.cluster import Crew, executor
from tests.engine.test_cluster import RARE, environment

if __name__ == "__main__":
    for told in ("once", "twice"):
        os.environ["TOLD"] = told
        with executor(Crew(2), RARE) as pool:
            print(*pool.submit(environment, 0).result(), pool.submit(os.getppid).result() != os.getpid())
"""


def test_workers_are_forked_from_a_process_that_has_their_modules_and_is_deaf_to_ctrl_c(tmp_path):
    script = tmp_path / "forked.py"
    script.write_text(FORKED)
    where = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run([sys.executable, script], check=False, env=where, capture_output=True, text=True)
    assert said.stdout == "once True True True\ntwice True True True\n", said.stderr


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


@pytest.mark.parametrize("threads", [1, 2])
def test_a_ctrl_c_waits_for_no_block_and_no_block_is_in_its_way(threads):
    begun, go_on, ran_in = threading.Event(), threading.Event(), []

    def block():
        ran_in.append(threading.current_thread())
        begun.set()
        go_on.wait(20)
        ran_in.append("to its end")

    def stage():
        with executor(Crew(1, threads=threads)) as pool:
            pool.submit(block)
            begun.wait(20)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage()
    assert len(ran_in) == 1
    assert ran_in[0] is not threading.main_thread()
    go_on.set()
