"""Supervoxels of the whole volume, bit for bit, whatever the blocks: a forest grown block by block.

1. `cut`: the forest of every block as far as it is certain; what is not, as a part.
2. `plateaus`: how undecided plateaus go on across faces. Then, for all at once: which of them are seeds.
3. `settle`: open components that lead straight into a seed next door.
4. `open`: the pairs that are left. Then, for all at once: the forest, small supervoxels dissolved, numbers.
5. `number`: the supervoxel of every voxel.

The steps for all at once hold what blocks left open: about 60 B for each of a few thousand components a
block, never anything of the size of the volume.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cellflow.core.forest.block import BlockForest, forest_block
from cellflow.core.forest.join import Labels, join, table
from cellflow.core.forest.seams import (
    Nodes,
    OpenEdges,
    PlateauLinks,
    Seeds,
    Settled,
    decide,
    open_edges,
    plateau_links,
    settle,
)
from cellflow.core.grid import Block, Grid
from cellflow.core.labels import look_up
from cellflow.engine import store
from cellflow.engine.atomic import write
from cellflow.engine.parts import SavedParts, load_part, save_part
from cellflow.engine.pyramid import Target
from cellflow.engine.stage import Context
from cellflow.engine.store import Array
from cellflow.stages.supervoxels.block import landscape
from cellflow.stages.supervoxels.inputs import Inputs
from cellflow.stages.supervoxels.params import Params


def run_exact(context: Context, p: Params, inputs: Inputs) -> tuple[int, list[dict[str, Any]]]:
    """Write `supervoxels`; their number, and the parts with the checksums."""
    like, folder = context.fitted(), context.scratch("forest")
    grid = like.grid()
    local = context.create_scratch("local", like, np.uint32)
    cut = partial(_cut, inputs=inputs, target=local, folder=folder, p=p)
    context.map("cut", cut, like.grid(p.halo(inputs.voxel_um)))
    context.map("plateaus", partial(_plateaus, grid=grid, folder=folder), grid)
    links = SavedParts(PlateauLinks, folder / "plateaus", grid)
    save_part(folder / "seeds", 0, asdict(decide(list(links.values()), p.min_size)))
    context.map("settle", partial(_settle, grid=grid, folder=folder, min_size=p.min_size), grid)
    context.map("open", partial(_open, grid=grid, folder=folder), grid)
    nodes, edges = SavedParts(Nodes, folder / "nodes", grid), SavedParts(OpenEdges, folder / "edges", grid)
    labels = join(list(nodes.values()), list(edges.values()), p.min_size, grid.shape)
    for name, column in (("node", labels.node), ("label", labels.label)):
        write(folder / f"{name}.npy", partial(np.save, arr=column))
    target = context.create("supervoxels", like, np.uint64, "labels")
    number = partial(_number, local=local, target=target, folder=folder)
    return labels.count, context.map("number", number, grid)


def _cut(block: Block, inputs: Inputs, target: Array, folder: Path, p: Params) -> dict[str, Any]:
    boundaries, mask = inputs.read(block.outer)
    altitude, smoothed = landscape(boundaries, p, inputs.voxel_um, mask, block.crop)
    del boundaries, mask
    z, y, x = inputs.boundaries.shape
    components, part = forest_block(altitude, smoothed, block, (z, y, x), p.min_size, planar=p.per_slice)
    save_part(folder / "cut", block.id, asdict(part))
    return {"crc": store.write_block(target, block.core, components)}


def _plateaus(block: Block, grid: Grid, folder: Path) -> dict[str, Any]:
    links = plateau_links(grid, block.id, SavedParts(BlockForest, folder / "cut", grid))
    save_part(folder / "plateaus", block.id, asdict(links))
    return {}


def _settle(block: Block, grid: Grid, folder: Path, min_size: int) -> dict[str, Any]:
    seeds = Seeds(**load_part(folder / "seeds", 0))
    parts = SavedParts(BlockForest, folder / "cut", grid)
    settled, nodes = settle(grid, block.id, parts, seeds, min_size)
    save_part(folder / "settled", block.id, asdict(settled))
    save_part(folder / "nodes", block.id, asdict(nodes))
    return {}


def _open(block: Block, grid: Grid, folder: Path) -> dict[str, Any]:
    parts = SavedParts(BlockForest, folder / "cut", grid)
    settled = SavedParts(Settled, folder / "settled", grid)
    save_part(folder / "edges", block.id, asdict(open_edges(grid, block.id, parts, settled)))
    return {}


def _number(block: Block, local: Array, target: Target, folder: Path) -> dict[str, Any]:
    # Mapped, not read: a block touches the pages of its own nodes.
    node, label = (np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in ("node", "label"))
    settled = Settled(**load_part(folder / "settled", block.id))
    found = table(settled, Labels(node, label, 0))
    return {"crc": target.write(block.core, look_up(np.asarray(local[block.core]), found))}
