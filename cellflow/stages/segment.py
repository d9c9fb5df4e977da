"""Write every voxel's cell, block by block: one look-up from supervoxel to cell, and the pyramid."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cellflow.core.grid import Block
from cellflow.core.labels import look_up
from cellflow.core.schema import Schema
from cellflow.engine import store
from cellflow.engine.pyramid import Target
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, Demand, Fitted

segment_block = look_up


class Params(Schema):
    """Nothing to set: `clean` has decided."""


def demand(like: Fitted, nodes: int) -> Demand:
    """A block's supervoxels, their cells and the index between; the table stays on disk."""
    voxels = int(np.prod(like.grid().largest_core))
    return Demand(
        tasks=len(like.grid()),
        worker_bytes=voxels * 32 + nodes * 8,
        disk_bytes=int(np.prod(like.shape)) * 8 * 8 // 7,
    )


def run(context: Context, p: Params) -> dict[str, Any]:  # noqa: ARG001 - every stage has the same signature
    """Write `cells`, a label image with its pyramid."""
    supervoxels = context.volume("supervoxels")
    like = context.fitted()
    target = context.create("cells", like, np.uint64, "labels")
    task = partial(_task, supervoxels=supervoxels, target=target, table=context.file("clean", "cells.npy"))
    parts = context.map("blocks", task, like.grid())
    context.pyramid("cells")
    return {"foreground": sum(part["foreground"] for part in parts), "checksum": store.checksum(parts)}


def _task(block: Block, supervoxels: Array, target: Target, table: Path) -> dict[str, Any]:
    lines = np.load(table, mmap_mode="r", allow_pickle=False)
    cells = segment_block(np.asarray(supervoxels[block.core]), lines)
    return {"crc": target.write(block.core, cells), "foreground": int(np.count_nonzero(cells))}
