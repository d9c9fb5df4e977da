import errno
import os
import signal
import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread

import psutil
import pytest

from cellflow.core.errors import BadInput, BlocksFailed
from cellflow.core.grid import Grid
from cellflow.engine import cluster
from cellflow.engine.blockwise import map_blocks
from cellflow.engine.cluster import Crew, ThreadExecutor, executor
from cellflow.engine.journal import Journal

GRID = Grid((8, 8, 24), (8, 8, 2))  # 12 blocks


@dataclass(frozen=True)
class Square:
    """A task that notes each of its calls in a file and fails where it is told to."""

    folder: str
    failures: tuple[tuple[int, int], ...] = ()
    """Block and how many of its first calls fail."""
    error: Exception | None = None

    def __call__(self, block):
        with open(f"{self.folder}/{block.id}", "a") as file:  # noqa: PTH123
            file.write("x")
        if self.calls(block.id) <= dict(self.failures).get(block.id, 0):
            if self.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            raise self.error
        return {"id": block.id, "square": block.id**2}

    def calls(self, block):
        path = f"{self.folder}/{block}"
        return os.path.getsize(path) if os.path.exists(path) else 0  # noqa: PTH202, PTH110

    def all_calls(self):
        return [self.calls(block.id) for block in GRID]


EXPECTED = [{"id": i, "square": i * i} for i in range(len(GRID))]
ALWAYS = 99


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "calls").mkdir()
    return str(tmp_path / "calls")


@pytest.fixture
def journal(tmp_path):
    return partial(Journal, tmp_path / "j.jsonl", "key")


@pytest.fixture(params=[1, 2, "dask"])
def pool(request):
    """One thread, two, two processes."""
    return request.getfixturevalue("dask_pool") if request.param == "dask" else ThreadExecutor(request.param)


def test_parts_come_in_the_order_of_the_blocks(pool, folder, journal):
    assert map_blocks(Square(folder), GRID, pool, journal(), "x") == EXPECTED
    assert map_blocks(Square(folder), [GRID[5], GRID[2]], pool, journal(), "x") == [EXPECTED[5], EXPECTED[2]]


def test_a_block_that_fails_twice_is_tried_a_third_time(pool, folder, journal):
    task = Square(folder, ((4, 2),), OSError("flaky disk"))
    assert map_blocks(task, GRID, pool, journal(), "x") == EXPECTED
    assert task.all_calls() == [3 if i == 4 else 1 for i in range(12)]


def test_a_failing_block_does_not_stop_the_others_and_is_named(pool, folder, journal):
    task = Square(folder, ((4, ALWAYS), (7, ALWAYS)), ValueError("bad\nvoxel"))
    with pytest.raises(BlocksFailed) as caught:
        map_blocks(task, GRID, pool, journal(), "root cut")
    message = str(caught.value)
    assert message.startswith("root cut: 2 of 12 blocks failed, first block 4: ValueError: bad. Run the same")
    assert "retry only these: [4, 7]" in message
    assert "\n" not in message
    assert [n > 0 for n in task.all_calls()] == [True] * 12
    assert task.calls(4) == task.calls(7) == 3


def test_nothing_is_computed_again_on_resume(pool, folder, journal):
    with pytest.raises(BlocksFailed):
        map_blocks(Square(folder, ((4, ALWAYS),), KeyError("x")), GRID, pool, journal(), "x")
    before = Square(folder).all_calls()
    assert map_blocks(Square(folder), GRID, pool, journal(), "x") == EXPECTED
    after = Square(folder).all_calls()
    assert [b - a for a, b in zip(before, after, strict=True)] == [int(i == 4) for i in range(12)]
    map_blocks(Square(folder), GRID, pool, journal(), "x")
    assert Square(folder).all_calls() == after


def test_the_same_error_from_the_first_blocks_stops_early(folder, journal):
    task = Square(folder, tuple((i, ALWAYS) for i in range(12)), MemoryError("no room"))
    with pytest.raises(BlocksFailed, match=r"3 of 12 blocks failed.*MemoryError: no room\. All failed alike"):
        map_blocks(task, GRID, ThreadExecutor(1), journal(), "x")
    assert sum(n > 0 for n in task.all_calls()) == 3


def test_different_errors_do_not_stop_early(folder, journal):
    class Each(Square):
        def __call__(self, block):
            try:
                return super().__call__(block)
            except ValueError as error:
                raise ValueError(f"{error} {block.id}") from error

    task = Each(folder, tuple((i, ALWAYS) for i in range(12)), ValueError("bad"))
    with pytest.raises(BlocksFailed, match="12 of 12"):
        map_blocks(task, GRID, ThreadExecutor(1), journal(), "x")
    assert task.all_calls() == [3] * 12


def test_bad_input_stops_at_once(pool, folder, journal):
    task = Square(folder, ((0, ALWAYS),), BadInput("raw a.h5: found NaN"))
    many = Grid((8, 8, 1000), (8, 8, 2))  # workers go on until the error has reached this process
    with pytest.raises(BadInput, match=r"raw a\.h5: found NaN"):
        map_blocks(task, many, pool, journal(), "x")
    assert task.calls(0) == 1
    assert len(os.listdir(folder)) < len(many)  # noqa: PTH208


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stops_at_once_and_says_so(pool, folder, journal, number):
    task = Square(folder, ((1, ALWAYS),), OSError(number, os.strerror(number), "/data/c/0"))
    with pytest.raises(BadInput, match=r"disk full at /data/c/0: free some space"):
        map_blocks(task, GRID, pool, journal(), "x")
    assert task.calls(1) == 1
    assert map_blocks(Square(folder), GRID, pool, journal(), "x") == EXPECTED


def test_a_block_that_no_run_delivered_is_an_error(folder, journal):
    class Forgetful(Journal):
        def finished(self, block, part, usage):
            if block != 3:
                super().finished(block, part, usage)

    lossy = Forgetful(*journal.args)
    with pytest.raises(BlocksFailed, match=r"1 of 12 blocks failed, first block 3: not run"):
        map_blocks(Square(folder), GRID, ThreadExecutor(1), lossy, "x")


def test_no_blocks_are_no_error(pool, folder, journal):
    assert map_blocks(Square(folder), [], pool, journal(), "x") == []


def test_a_killed_worker_is_replaced_and_its_block_done_again(dask_pool, folder, journal):
    task = Square(folder, ((5, 1),), None)
    assert map_blocks(task, GRID, dask_pool, journal(), "x") == EXPECTED
    assert task.calls(5) == 2


def test_a_block_that_kills_every_worker_does_not_stop_the_others(folder, journal):
    task = Square(folder, ((5, ALWAYS),), None)
    with (
        executor(Crew(2)) as pool,
        pytest.raises(BlocksFailed, match=r"1 of 12 blocks failed, first block 5: KilledWorker"),
    ):
        map_blocks(task, GRID, pool, journal(), "x")
    assert [n > 0 for n in task.all_calls()] == [True] * 12


def test_a_result_that_was_lost_with_its_worker_is_not_waited_for(monkeypatch):
    """Seen once in some hundred kills: Dask says that a call is done, and its result never comes."""

    class Lost:
        def result(self, timeout=None):
            assert not Event().wait(timeout)
            raise TimeoutError

    monkeypatch.setattr(cluster, "LOST_SECONDS", 0.01)
    outcome = Future()
    waiting = Thread(target=cluster._settle, args=(outcome, Lost()), daemon=True)
    waiting.start()
    with pytest.raises(TimeoutError, match="lost with its worker"):
        outcome.result(timeout=10)


def _listening():
    me = psutil.Process()
    return [
        c.laddr
        for process in [me, *me.children(recursive=True)]
        for c in process.net_connections(kind="inet")
        if c.status == psutil.CONN_LISTEN
    ]


def test_the_cluster_listens_on_loopback_only_behind_tls(dask_pool):
    from distributed import default_client

    found = _listening()
    assert len(found) >= 3
    assert {address.ip for address in found} == {"127.0.0.1"}
    assert 8787 not in {address.port for address in found}
    info = default_client().scheduler_info()
    addresses = [info["address"], *info["workers"]]
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)


def test_a_stranger_without_the_certificate_is_turned_away(dask_pool):
    from distributed import Client, default_client

    port = default_client().scheduler_info()["address"].rsplit(":", 1)[1]
    with pytest.raises((OSError, TypeError, ValueError)):
        Client(f"tcp://127.0.0.1:{port}", timeout=2, set_as_default=False)


def test_one_worker_is_this_process():
    with executor(Crew(1)) as pool:
        assert pool.submit(os.getpid).result() == os.getpid()


class Counting:
    """The pool, and how many blocks each of its calls was given."""

    def __init__(self, pool):
        self.pool, self.workers, self.groups = pool, pool.workers, []

    def submit(self, function, task, group):
        self.groups.append([block.id for block in group])
        return self.pool.submit(function, task, group)


MANY = Grid((8, 8, 800), (8, 8, 2))


def test_fast_blocks_are_handed_out_several_at_a_time_and_slow_ones_alone(dask_pool, folder, journal):
    pool = Counting(dask_pool)
    parts = map_blocks(Square(folder), MANY, pool, journal(), "x")
    assert [part["id"] for part in parts] == list(range(400))
    assert sorted(n for group in pool.groups for n in group) == list(range(400))
    assert len(pool.groups) < 100
    slow = Counting(dask_pool)
    map_blocks(partial(asleep, 0.25), GRID, slow, journal(), "x")
    assert all(len(group) == 1 for group in slow.groups)


def test_a_block_that_fails_in_the_middle_of_a_group_is_named_and_the_others_are_done_once(
    dask_pool, folder, journal
):
    pool, task = Counting(dask_pool), Square(folder, ((301, ALWAYS),), ValueError("bad voxel"))
    with pytest.raises(BlocksFailed, match=r"1 of 400 blocks failed, first block 301: ValueError: bad voxel"):
        map_blocks(task, MANY, pool, journal(), "x")
    assert any(301 in group[1:] for group in pool.groups)
    assert [n for n in range(400) if task.calls(n) != 1] == [301]
    assert len(journal().done) == 399


def asleep(seconds, block):
    time.sleep(seconds)
    return {"id": block.id}
