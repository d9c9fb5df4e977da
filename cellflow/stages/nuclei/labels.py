"""Nuclei from their probability map: connected components above a threshold, the same whatever the blocks.

1. `label`: components of each block.
2. `faces`: which of them go on across the upper faces of a block. Then, for all at once: their numbers.
3. `number`: the nucleus of every voxel.
"""

from dataclasses import asdict
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.components import Components, components_block, numbered, touching
from cellflow.core.errors import BadInput
from cellflow.core.forest.seams import across_faces
from cellflow.core.grid import Block, Grid, Triple
from cellflow.core.labels import look_up
from cellflow.engine import store
from cellflow.engine.atomic import write
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.pyramid import Target
from cellflow.engine.stage import Context
from cellflow.engine.store import Array
from cellflow.stages.nuclei.params import Params

I64 = NDArray[np.int64]


def label_nuclei(context: Context, name: str, p: Params) -> tuple[Array, str]:
    """Write `nuclei`, numbered 1..n by their first voxels, with its pyramid; the volume and its checksum.

    They are made of the probability map of this name.
    """
    like, folder = context.fitted(), context.scratch("components")
    grid = like.grid()
    local = context.create_scratch("local", like, np.uint32)
    probability = context.volume(name)
    label = partial(_label, probability=probability, target=local, folder=folder, p=p)
    counts = [part["components"] for part in context.map("label", label, grid)]
    rows = np.cumsum([0, *counts])
    context.map("faces", partial(_faces, local=local, grid=grid, rows=rows, folder=folder), grid)
    number = _numbers(grid, folder, p)
    if not number.any():
        raise BadInput(
            f"{context.job.folder}: found no nucleus of {p.min_size} voxels above {p.threshold} in "
            f"{name}, expected some; lower stages.nuclei.threshold or min_size"
        )
    write(folder / "number.npy", lambda file: np.save(file, number))
    target = context.create("nuclei", like, np.uint64, "labels")
    last = partial(_number, local=local, target=target, rows=rows, table=folder / "number.npy")
    parts = context.map("number", last, grid)
    context.pyramid("nuclei")
    return target.full, store.checksum(parts)


def _label(block: Block, probability: Array, target: Array, folder: Path, p: Params) -> dict[str, Any]:
    inside = np.asarray(probability[block.core]) >= ceil(round(255 * p.threshold, 6))
    z, y, x = probability.shape
    labels, part = components_block(inside, _corner(block), (z, y, x), p.min_size)
    save_part(folder / "parts", block.id, asdict(part))
    return {"crc": store.write_block(target, block.core, labels), "components": part.size.size}


def _faces(block: Block, local: Array, grid: Grid, rows: I64, folder: Path) -> dict[str, Any]:
    found = [np.empty((0, 2), np.int64)]
    for (side, axis), neighbour in across_faces(grid, block.id).items():
        if side == "high":
            own, other = (np.asarray(plane) for plane in _planes(block, local, "zyx".index(axis)))
            found.append(touching(own, other) - 1 + rows[[block.id, neighbour]])
    save_part(folder / "faces", block.id, {"pairs": np.concatenate(found)})
    return {}


def _planes(block: Block, local: Array, axis: int) -> tuple[Any, Any]:
    """The last plane of a block along an axis, and the plane behind it."""
    box = list(block.core)
    end = box[axis].stop
    box[axis] = slice(end - 1, end + 1)
    both = np.moveaxis(np.asarray(local[tuple(box)]), axis, 0)
    return both[0], both[1]


def _numbers(grid: Grid, folder: Path, p: Params) -> NDArray[np.uint64]:
    parts = [Components(**load_part(folder / "parts", block.id)) for block in grid]
    pairs = np.concatenate([load_part(folder / "faces", block.id)["pairs"] for block in grid])
    return numbered(parts, pairs, p.min_size)


def _number(block: Block, local: Array, target: Target, rows: I64, table: Path) -> dict[str, Any]:
    numbers = np.load(table, mmap_mode="r", allow_pickle=False)
    own = np.append(np.zeros(1, np.uint64), numbers[rows[block.id] : rows[block.id + 1]])
    return {"crc": target.write(block.core, look_up(np.asarray(local[block.core]), own))}


def _corner(block: Block) -> Triple:
    return block.core[0].start, block.core[1].start, block.core[2].start
