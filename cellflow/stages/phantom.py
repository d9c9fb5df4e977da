"""Make a synthetic tissue with its exact truth, block by block, so that it can be any size."""

from functools import partial
from typing import Any

import numpy as np

from cellflow.core.grid import Block
from cellflow.core.phantom import Phantom, phantom_block
from cellflow.engine import store
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, Demand, Fitted

Params = Phantom

VOLUMES: dict[str, tuple[str, store.Kind]] = {
    "raw": ("uint16", "intensity"),
    "truth": ("uint64", "labels"),
    "boundaries": ("uint8", "intensity"),
    "nuclei": ("uint64", "labels"),
}


def demand(like: Fitted) -> Demand:
    """The generator's arrays, and what is written."""
    voxels = int(np.prod(like.grid().largest_core))
    return Demand(tasks=len(like.grid()), worker_bytes=voxels * 100, disk_bytes=int(np.prod(like.shape)) * 19)


def run(context: Context, p: Phantom) -> dict[str, Any]:
    """Write the arrays `raw`, `truth`, `boundaries` and `nuclei` into the stage's folder."""
    like = context.job.storage.fitted(p.shape)
    targets = {name: _array(context, name, like) for name in VOLUMES}
    parts = context.map("blocks", partial(_task, p=p, targets=targets), like.grid())
    return {"shape": list(p.shape), "checksum": store.checksum(parts)}


def _array(context: Context, name: str, like: Fitted) -> Array:
    dtype, kind = VOLUMES[name]
    return store.open_or_create(context.output(name), like, dtype, kind)


def _task(block: Block, p: Phantom, targets: dict[str, Array]) -> dict[str, Any]:
    made = phantom_block(p, block.core)
    arrays = {"raw": made.raw, "truth": made.labels, "boundaries": made.boundaries, "nuclei": made.nuclei}
    sums = [store.write_block(targets[name], block.core, np.asarray(arrays[name])) for name in VOLUMES]
    return {"crc": sums[0] ^ sums[1] ^ sums[2] ^ sums[3]}
