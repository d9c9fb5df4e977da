"""What a network needs of a machine, and how many of it can work side by side."""

from math import prod

import numpy as np
import psutil
from numpy.typing import DTypeLike

from cellflow.core.tiles import Lattice
from cellflow.engine.cluster import Crew
from cellflow.engine.stage import Job, read_receipt, volume_path
from cellflow.engine.store import Demand, Fitted, open_read
from cellflow.networks.budget import tile_bytes
from cellflow.stages.predict.network import Network, facts_of
from cellflow.stages.predict.probe import first_batch, first_core, memory_bytes
from cellflow.stages.predict.tiled import lots_of
from cellflow.stages.predict.tiles import AHEAD

TORCH = 330 << 20
"""torch with its libraries, in a worker."""
SESSION = "cellflow.networks.session"
"""It brings torch, which takes seconds."""
BESIDE = 4
"""Tasks beside each other on a GPU: it computes for one while others read, normalise, compress and write."""


def network_demand(like: Fitted, dtype: DTypeLike, p: Network, image: str = "raw") -> Demand:
    """Weights, a tile on its way through, those that wait for it, raw around a block, what a block keeps.

    Tiles on a GPU are counted only where the parameters ask for one. As many workers as free memory holds.
    """
    facts = facts_of(p, image)
    lattice = facts.lattice(like.shape, p, first_core(p, facts, like.shape, memory_bytes(p)))
    on_gpu = p.device.startswith("cuda")
    batch = first_batch(p, facts, lattice, memory_bytes(p) if on_gpu else None)
    grid = like.grid()
    lots = lots_of(lattice, grid, batch)
    worker = TORCH + 3 * facts.weights_bytes + _around(like, dtype, lattice)
    worker += (AHEAD + 2) * batch * prod(lattice.largest_outer) * 5
    worker += 0 if on_gpu else tile_bytes(facts.architecture, lattice, batch, p.precision)
    worker += prod(grid.largest_core) * (facts.outputs.channels + 8 * any(lattice.overlap))
    tasks = len(grid) if lots is None else len(lots)
    saved = 0 if lots is None else prod(c + v for c, v in zip(lattice.core, lattice.overlap, strict=True))
    maps, pairs = len(facts.outputs.maps), len(facts.outputs.offsets)
    return Demand(
        tasks=tasks,
        most_workers=max(1, min(tasks, psutil.virtual_memory().available // worker)),
        worker_bytes=worker,
        disk_bytes=prod(like.shape) * (8 * (maps or 1) // 7 + pairs) + saved * len(lattice) * (maps + pairs),
    )


def network_crew(job: Job, p: Network, workers: int) -> Crew:
    """A GPU each and a few threads to keep it busy, or as many processes as there are tasks and memory holds.

    Raises `BadInput` at once for a GPU that is not there.
    """
    gpus = 0
    if p.device != "cpu":
        from cellflow.networks.device import gpus_of  # noqa: PLC0415 - torch takes a second

        gpus = gpus_of(p.device)
    if gpus:
        processes = min(workers, gpus)
        return Crew(processes, gpu_each=processes > 1, threads=min(BESIDE, workers // processes), keep=False)
    z, y, x = read_receipt(job.folder, "ingest-raw")["result"]["shape"]
    raw = open_read(volume_path(job.folder, job.image) / "0")
    need = network_demand(job.storage.fitted((z, y, x)), raw.dtype, p, job.image)
    return Crew(min(workers, need.most_workers or workers), ready=(SESSION,), keep=False)


def _around(like: Fitted, dtype: DTypeLike, lattice: Lattice) -> int:
    sides = zip(like.shape, like.block, lattice.core, lattice.margin, strict=True)
    return prod(min(n, max(b, c) + 2 * m) for n, b, c, m in sides) * np.dtype(dtype).itemsize
