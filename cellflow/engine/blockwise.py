"""Run a function over blocks: the one place that schedules work inside a stage.

`map_blocks` hands blocks to any `concurrent.futures.Executor`, skips those that the journal holds,
retries the ones that fail and ends with an error unless every planned block is done.
"""

import errno
import resource
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

from cellflow.core.errors import BadInput, BlocksFailed
from cellflow.engine.journal import Journal, Part
from cellflow.engine.progress import Progress

ATTEMPTS = 3
SAME_ERROR_STOPS = 3
WAITING_PER_WORKER = 3
"""Blocks handed out beyond the running ones: enough to keep workers busy, few enough to stay small."""
SECONDS_PER_CALL = 0.5
"""Blocks faster than this are handed out several at a time."""


class Item(Protocol):
    """Anything that can be one task: a block of voxels, a range of nodes."""

    @property
    def id(self) -> int:
        """Its number, the same in every run."""


Task = Callable[[Any], Part]


@dataclass
class _Pass:
    journal: Journal
    total: int
    progress: Progress
    attempts: dict[int, int] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    """Of every block done in this run."""


def map_blocks(
    task: Task, blocks: Sequence[Item] | Iterable[Item], executor: Executor, journal: Journal, label: str
) -> list[Part]:
    """Return `task(block)` for every block, in the order of the blocks.

    A block that raises is tried three times and does not stop the others; `BadInput` and a full disk stop
    at once, and so does the same error from the first three blocks. Raises `BlocksFailed` when a block
    is missing at the end. A block may be run twice (a lost worker), so a task's writes must be idempotent.
    A call costs some milliseconds, shared by fast blocks; never holds more futures than a few per worker.
    """
    planned = list(blocks)
    todo = [block for block in planned if block.id not in journal.done]
    with Progress(label, total=len(planned), done=len(planned) - len(todo)) as progress:
        state = _Pass(journal, len(planned), progress)
        try:
            _drain(task, todo, executor, state)
        finally:
            journal.close()
    missing = [block.id for block in planned if block.id not in journal.done]
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
        remedy = f"Run the same command again to retry only these: [{shown}]"
        raise BlocksFailed(_failure(state, missing, remedy))
    return [journal.done[block.id] for block in planned]


def _drain(task: Task, todo: list[Item], executor: Executor, state: _Pass) -> None:
    workers = getattr(executor, "workers", 1)
    # A single worker that is stopped has written down all but the block at hand.
    window = 1 if workers == 1 else WAITING_PER_WORKER * workers
    queue = deque(todo)
    running: dict[Future[Any], list[Item]] = {}
    while True:
        while queue and len(running) < window:
            group = [queue.popleft() for _ in range(_together(state, len(queue), workers))]
            running[executor.submit(measured, task, group)] = group
        if not running:
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            queue.extendleft(reversed(_record(future, running.pop(future), state)))


def _together(state: _Pass, left: int, workers: int) -> int:
    """How many blocks to hand out as one: a call costs milliseconds, as much as a small block itself.

    One, until something is known of them and once something failed: an error names the first of a group.
    """
    done = len(state.seconds)
    if workers == 1 or done < workers or state.errors:
        return 1
    enough = int(SECONDS_PER_CALL / max(sum(state.seconds) / done, 1e-4))
    return max(1, min(enough, left // (WAITING_PER_WORKER * workers)))


def measured(task: Task, group: list[Item]) -> list[tuple[Part, dict[str, Any]]]:
    """The parts of a group of blocks, up to the first that fails; raises if that is the first of all.

    With each part what it cost: seconds, peak memory of the process, where it ran.
    """
    done: list[tuple[Part, dict[str, Any]]] = []
    for block in group:
        start = time.perf_counter()
        try:
            part = task(block)
        except Exception:
            if not done:
                raise
            break  # it comes first in another call, and raises there
        usage = {
            "seconds": round(time.perf_counter() - start, 4),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "host": socket.gethostname(),
        }
        done.append((part, usage))
    return done


def _record(future: Future[Any], group: list[Item], state: _Pass) -> list[Item]:
    """Note the outcome of one call; the blocks that must be handed out again."""
    try:
        done = future.result()
    except BadInput:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BadInput(_disk_full(error, state.journal)) from error
        return _note(error, group, state)
    except Exception as error:  # noqa: BLE001 - whatever a block raises, the others go on
        return _note(error, group, state)
    for block, (part, usage) in zip(group, done, strict=False):
        state.attempts.pop(block.id, None)
        state.errors.pop(block.id, None)
        state.seconds.append(usage["seconds"])
        state.journal.finished(block.id, part, usage)
        state.progress.step()
    return group[len(done) :]


def _note(error: BaseException, group: list[Item], state: _Pass) -> list[Item]:
    block = group[0]
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    state.journal.failed(block.id, text, "".join(traceback.format_exception(error)))
    state.errors[block.id] = text
    state.attempts[block.id] = state.attempts.get(block.id, 0) + 1
    same = len(set(state.errors.values())) == 1
    hopeless = min(SAME_ERROR_STOPS, state.total)
    if not state.seconds and same and sum(state.attempts.values()) >= hopeless * ATTEMPTS:
        remedy = (
            "All failed alike, so the others were not tried. Mend the cause and run the same command again"
        )
        raise BlocksFailed(_failure(state, sorted(state.errors), remedy)) from error
    return group if state.attempts[block.id] < ATTEMPTS else group[1:]


def _failure(state: _Pass, failed: list[int], remedy: str) -> str:
    first = failed[0]
    return (
        f"{state.progress.label}: {len(failed)} of {state.total} blocks failed, first block {first}: "
        f"{state.errors.get(first, 'not run')}. {remedy}. Tracebacks: {state.journal.path}"
    )


def _disk_full(error: OSError, journal: Journal) -> str:
    where = error.filename or journal.path.parent
    return f"disk full at {where}: free some space and run the same command again; it continues from here"
