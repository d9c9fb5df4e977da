"""Supervoxels of each block on its own, numbered through.

1. `cut`: every block with its halo, supervoxels numbered from 1 in each block.
2. `number`: add to each block the count of all blocks before it.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Block
from cellflow.core.labels import consecutive
from cellflow.engine import store
from cellflow.engine.pyramid import Target
from cellflow.engine.stage import Context
from cellflow.engine.store import Array
from cellflow.stages.supervoxels.block import supervoxels_block
from cellflow.stages.supervoxels.inputs import Inputs
from cellflow.stages.supervoxels.params import Params


def run_independent(context: Context, p: Params, inputs: Inputs) -> tuple[int, list[dict[str, Any]]]:
    """Write `supervoxels`; their number, and the parts with the checksums."""
    like = context.fitted()
    local = context.create_scratch("local", like, np.uint32)
    cut = partial(_cut, inputs=inputs, target=local, p=p)
    counts = [part["supervoxels"] for part in context.map("cut", cut, like.grid(p.halo(inputs.voxel_um)))]
    target = context.create("supervoxels", like, np.uint64, "labels")
    offsets = np.cumsum([0, *counts])
    number = partial(_number, local=local, target=target, offsets=offsets)
    return int(offsets[-1]), context.map("number", number, like.grid())


def _cut(block: Block, inputs: Inputs, target: Array, p: Params) -> dict[str, Any]:
    boundaries, mask = inputs.read(block.outer)
    labels, count = consecutive(supervoxels_block(boundaries, p, inputs.voxel_um, mask)[block.crop])
    return {"crc": store.write_block(target, block.core, labels), "supervoxels": count}


def _number(block: Block, local: Array, target: Target, offsets: NDArray[np.int64]) -> dict[str, Any]:
    labels = np.asarray(local[block.core]).astype(np.uint64)
    np.add(labels, np.uint64(offsets[block.id]), out=labels, where=labels > 0)
    return {"crc": target.write(block.core, labels)}
