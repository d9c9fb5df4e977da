"""Where blocks run: in threads of this process or of Dask workers on this machine. The package's only Dask.

Workers are forked from a process that has imported all that they need (`_forking`). It has no threads, so a
fork is safe, and a worker is there in a tenth of a second, also one in place of another that was lost.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from multiprocessing import forkserver
from typing import Any

from cellflow.engine import heap

THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""Libraries use one thread: a stage scales by workers, and threads that spin slow their neighbours down."""

PAIR = 2
"""Workers in one process. Kernels let go of Python's lock, Python holds it for a tenth of the time."""

LOST_SECONDS = 30.0
"""A result is a few bytes on this machine; one that is not here by then was lost with its worker."""

FORKED = "forkserver"

WARM = "cellflow.engine.warm"

SILENT = {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical"}
"""What a block raises is in the journal; Dask would print it once more. Read as Dask is imported."""


GPU_EACH = """import os
def dask_setup(worker):
    seen = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    number = int(worker.name)
    os.environ["CUDA_VISIBLE_DEVICES"] = seen[number] if seen else str(number)
"""
"""Run by each worker before anything else: of the GPUs that the job sees, it sees the one of its number."""


@dataclass(frozen=True)
class Crew:
    """Who does the work of a stage: so many processes, each with a GPU of its own or all without.

    A single process is the stage's own. One of several that is killed costs what it had at hand, no more.
    """

    processes: int
    gpu_each: bool = False
    threads: int = 1
    """Tasks at once in each process."""
    ready: tuple[str, ...] = ()
    """Modules that every worker imports as it starts, side by side: heavy ones that not every crew needs."""
    keep: bool = True
    """Whether workers keep memory that was freed; not those of networks, whose sizes leave too many gaps."""


def paired(workers: int) -> Crew:
    """So many workers, two in a process, which loads kernels once; of an odd number, each has its own."""
    threads = PAIR if workers % PAIR == 0 else 1
    return Crew(workers // threads, threads=threads)


class ThreadExecutor(ThreadPoolExecutor):
    """Runs calls in threads of this process, so that its main one hears a Ctrl-C whatever a kernel is at."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, "task")
        self.workers = workers

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End with what is running, after a Ctrl-C at once; what only waits is not begun."""
        self.shutdown(wait=kind is not KeyboardInterrupt, cancel_futures=True)


class DaskExecutor(Executor):
    """Hands each call to a Dask worker, which `resources` may be a condition for.

    Not Dask's own `Client.get_executor`: there a future never ends whose result was lost with its worker
    and could not be made again, and the stage would wait for ever. Here it ends with a `TimeoutError`.
    """

    def __init__(
        self, start: Callable[[], Any], workers: int, resources: dict[str, float] | None = None
    ) -> None:
        self.workers = workers
        self._start = start
        self._resources = resources

    @cached_property
    def client(self) -> Any:  # noqa: ANN401 - a `distributed.Client`
        """The workers, started when they are first asked for: a stage may need none."""
        return self._start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        """The future of `fn(*args)`."""
        outcome: Future[Any] = Future()
        asked = self.client.submit(fn, *args, **kwargs, pure=False, resources=self._resources)
        asked.add_done_callback(partial(_settle, outcome))
        return outcome


def _settle(outcome: Future[Any], asked: Any) -> None:  # noqa: ANN401 - a `distributed.Future`
    try:
        outcome.set_result(asked.result(timeout=LOST_SECONDS))
    except TimeoutError as error:  # Dask's own says nothing; that of a block is handed on
        outcome.set_exception(error if str(error) else TimeoutError("the result was lost with its worker"))
    except BaseException as error:  # noqa: BLE001 - whoever waits for the future is told
        outcome.set_exception(error)


@contextmanager
def executor(crew: Crew, module: str = "cellflow") -> Iterator[Executor]:
    """An executor over the processes of a crew, which import `module`; a single one is this process itself.

    Workers with a GPU each have the resource GPU: 1, and see no other. All listen on loopback only, behind
    TLS with certificates that live as long as the cluster, so that no other user of the machine can hand
    them work.
    """
    if crew.processes > 1:
        resources = {"GPU": 1 / crew.threads} if crew.gpu_each else None
        with ExitStack() as stack:
            start = partial(_started, stack, crew, module)
            yield DaskExecutor(start, crew.processes * crew.threads, resources)
        return
    if crew.keep:
        heap.keep()
    with ThreadExecutor(crew.threads) as pool:
        yield pool


def _started(stack: ExitStack, crew: Crew, module: str) -> Any:  # noqa: ANN401 - a `distributed.Client`
    os.environ.update(THREADS | SILENT | heap.ONE_HEAP)
    _forking(module)
    import dask  # noqa: PLC0415 - half a second that a stage of few workers need not pay
    from distributed import Client, LocalCluster  # noqa: PLC0415

    import_module(WARM)  # for the steps for all at once, which run here; workers are not there yet

    stack.enter_context(dask.config.set(_settings(crew)))
    cluster = stack.enter_context(
        LocalCluster(
            n_workers=crew.processes,
            threads_per_worker=crew.threads,
            resources={"GPU": 1} if crew.gpu_each else None,
            host="127.0.0.1",
            security=True,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # a free port, also side by side
            memory_limit=0,
        )
    )
    return stack.enter_context(Client(cluster))


def _forking(module: str) -> None:
    """Begin to import a module in the process that workers will be forked from; returns at once.

    While it does so, this process can import its own.
    """
    multiprocessing.get_context(FORKED).set_forkserver_preload(["distributed", WARM, module])
    # Ctrl-C reaches the whole terminal group, and the stage ends its workers: they need not hear of it.
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, heard)


def _settings(crew: Crew) -> dict[str, Any]:
    preload = ["from cellflow.engine import heap; heap.keep()"] if crew.keep else []
    return {
        "distributed.nanny.environ": dict(os.environ),  # as it is now, not when the forking began
        "distributed.nanny.pre-spawn-environ": {},  # Dask's own has memory given back
        "distributed.scheduler.allowed-failures": 3,
        "distributed.scheduler.worker-saturation": 1.0,  # a dying worker takes only what it works on with it
        "distributed.worker.multiprocessing-method": FORKED,
        "distributed.worker.preload": [*preload, *([GPU_EACH] if crew.gpu_each else []), *crew.ready],
        # Nobody looks at Dask's own statistics; three processes that sample themselves cost 7 % of two cores.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "10s",
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.admin.tick.limit": "1 minute",
    }
