"""Mutex watershed of all voxels of a volume, from affinities, the same whatever the blocks.

1. `pairs`: the pairs of voxels of every box; those to voxels of other boxes apart.
2. `cellflow.engine.hierarchy`: what is certain inside a box is joined, boxes are joined, until all is solved.
   Voxels of two boxes are one segment only where the evidence across the face says so.
3. `first`: the first voxel of every segment. Then, for all at once: its number.
4. `number`: the supervoxel of every voxel.

Source: Wolf et al., TPAMI 2020. As agglomeration by the strongest evidence it needs no order of all pairs
(Bailoni et al., CVPR 2022), and so no whole volume in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.affinities import reach, silenced
from cellflow.core.agglomeration import Agglomeration, agglomerate
from cellflow.core.forest.join import compact_order
from cellflow.core.grid import Block, Box, Grid, Triple, box_shape
from cellflow.core.groups import Group
from cellflow.core.interactions import Interactions
from cellflow.core.linkage import Linkage
from cellflow.core.voxel_pairs import numbers, voxel_pairs
from cellflow.engine import hierarchy
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.pyramid import Target
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, open_read
from cellflow.stages.supervoxels.params import Mutex

I64 = NDArray[np.int64]

BOX = 128
"""Voxels a side of what is solved first: its pairs take more memory than a block's voxels do elsewhere."""
PAIRS_AT_ONCE = 20_000_000


class MutexWatershed:
    """Joins by the strongest evidence for or against, whole or in parts."""

    combination: Linkage = "abs_max"

    def reduce(self, n_nodes: int, rows: Interactions, frozen: NDArray[np.bool_] | None) -> Agglomeration:
        """Segments that hold no mutual exclusion; in a part, what is joined in the whole too."""
        return agglomerate(n_nodes, rows, self.combination, frozen=frozen, far_repels=True)


@dataclass(frozen=True)
class Channels:
    """The affinities of a sample, and the mask if there is one."""

    volumes: tuple[Array, ...]
    offsets: tuple[Triple, ...]
    mask: Array | None

    def read(self, block: Block) -> NDArray[np.uint8]:
        """The affinities (c, z, y, x) of a core; a pair with an end outside the mask says nothing."""
        values = np.empty((len(self.volumes), *box_shape(block.core)), np.uint8)
        for channel, volume in zip(values, self.volumes, strict=True):
            channel[...] = volume[block.core]
        if self.mask is not None:
            inside = np.asarray(self.mask[block.outer]) > 0
            return silenced(values, self.offsets, inside, block.crop)
        return values


@dataclass(frozen=True)
class Solved:
    """The segments, before they have numbers."""

    boxes: Grid
    folder: Path
    mask: Array | None

    def tops(self, box: Block) -> I64:
        """The voxel that stands for each voxel of a box, -1 outside the mask."""
        found: I64 = load_part(self.folder, box.id)["top"].reshape(box_shape(box.core))
        return found if self.mask is None else np.where(np.asarray(self.mask[box.core]) > 0, found, -1)

    def within(self, block: Block) -> Iterator[tuple[Box, I64]]:
        """The boxes of a block, in coordinates of its core, and their tops."""
        for box in self.boxes:
            pairs = list(zip(box.core, block.core, strict=True))
            if all(outer.start <= s.start and s.stop <= outer.stop for s, outer in pairs):
                z, y, x = (slice(s.start - outer.start, s.stop - outer.start) for s, outer in pairs)
                yield (z, y, x), self.tops(box)


def run_mutex(context: Context, mutex: Mutex) -> tuple[int, list[dict[str, Any]]]:
    """Write `supervoxels`; their number, and the parts with the checksums."""
    (stage,) = {"affinities", "predict"} & set(context.job.after)
    offsets = tuple((z, y, x) for z, y, x in context.result(stage)["offsets"])
    files = (context.file(stage, str(k)) for k in range(len(offsets)))
    mask = context.volume("mask") if "ingest-mask" in context.job.after else None
    channels = Channels(tuple(map(open_read, files)), offsets, mask)
    like, folder = context.fitted(), context.scratch("mutex")
    boxes = _boxes(like.block, like.shape, reach(offsets))
    groups = _groups(boxes)
    pairs = partial(_pairs, channels=channels, boxes=boxes, strides=mutex.strides, folder=folder / "0")
    first = hierarchy.level(folder / "0", groups, context.map("pairs", pairs, boxes))
    solved = Solved(boxes, hierarchy.solve(context, first, MutexWatershed(), PAIRS_AT_ONCE)[0], mask)
    context.map("first", partial(_first, solved=solved, folder=folder), boxes)
    count = _number_all([load_part(folder / "first", box.id) for box in boxes], like.shape, folder)
    target = context.create("supervoxels", like, np.uint64, "labels")
    number = partial(_number, solved=solved, folder=folder, target=target)
    return count, context.map("number", number, like.grid())


def _boxes(block: Triple, shape: Triple, halo: Triple) -> Grid:
    """Boxes that blocks are made of."""
    z, y, x = (next(b // n for n in range(1, b + 1) if b % n == 0 and b // n <= BOX) for b in block)
    return Grid(shape, (z, y, x), halo)


def _groups(boxes: Grid) -> list[Group]:
    """The voxels of each box, as `voxel_pairs.numbers` counts them."""
    starts = [*numbers(boxes).first.ravel().tolist(), int(np.prod(boxes.shape))]
    return [Group(i, starts[i], starts[i + 1], ()) for i in range(len(boxes))]


def _pairs(block: Block, channels: Channels, boxes: Grid, strides: Triple, folder: Path) -> dict[str, Any]:
    rows = voxel_pairs(channels.read(block), channels.offsets, block, boxes, strides)
    groups = _groups(boxes)
    return hierarchy.keep(rows, groups[block.id], hierarchy.starts_of(groups), folder)


def _first(block: Block, solved: Solved, folder: Path) -> dict[str, Any]:
    top, at = np.unique(solved.tops(block), return_index=True)
    place = np.unravel_index(at, box_shape(block.core))
    there = tuple(p + s.start for p, s in zip(place, block.core, strict=True))
    voxel = np.ravel_multi_index(there, solved.boxes.shape)
    save_part(folder / "first", block.id, {"top": top[top >= 0], "voxel": voxel[top >= 0]})
    return {}


def _number_all(found: list[dict[str, I64]], shape: Triple, folder: Path) -> int:
    """Save the number of every segment, in the order of its first voxel; how many there are."""
    top, inverse = np.unique(np.concatenate([part["top"] for part in found]), return_inverse=True)
    voxel = np.full(top.size, np.iinfo(np.int64).max)
    np.minimum.at(voxel, inverse, np.concatenate([part["voxel"] for part in found]))
    label = np.empty(top.size, np.uint64)
    label[compact_order(voxel.astype(np.uint64), shape)] = np.arange(1, top.size + 1, dtype=np.uint64)
    # Row 0 stands for what lies outside the mask.
    save_part(folder / "labels", 0, {"top": np.insert(top, 0, -1), "label": np.insert(label, 0, 0)})
    return top.size


def _number(block: Block, solved: Solved, folder: Path, target: Target) -> dict[str, Any]:
    known = load_part(folder / "labels", 0)
    out = np.zeros(box_shape(block.core), np.uint64)
    for here, top in solved.within(block):
        out[here] = known["label"][np.searchsorted(known["top"], top)]
    return {"crc": target.write(block.core, out)}
