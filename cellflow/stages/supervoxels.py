"""Cut a boundary map into supervoxels, block by block: distance-transform watershed.

Boundary voxels are those above a threshold. The distance to them, smoothed, has one local maximum or more
per cell: the seeds. They are flooded on the boundary map itself. Too small supervoxels are given to their
neighbours. A supervoxel may be cut at the face of a block: contacts across faces are edges of the region
adjacency graph, and the solver joins the halves. Method: PlantSeg (Wolny et al. 2020).
"""

from functools import partial
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.distance import boundary_distance
from cellflow.core.grid import Block, Triple
from cellflow.core.labels import consecutive
from cellflow.core.schema import Schema, Voxel3
from cellflow.core.seeds import local_maxima
from cellflow.core.smoothing import smooth, smoothing_radius
from cellflow.core.watershed import merge_small, watershed
from cellflow.engine import store
from cellflow.engine.stage import Context, Voxel
from cellflow.engine.store import Array, Demand, Fitted


class Params(Schema):
    """How a boundary map is cut into supervoxels."""

    threshold: float = Field(0.4, ge=0, le=1)
    """Voxels with at least this boundary probability are boundary. Higher: fewer boundaries, so larger
    supervoxels that may leak through gaps."""
    sigma_seeds: float = Field(2.0, ge=0, le=100)
    """Smoothing of the distance map before its maxima are taken as seeds, in voxels (in smallest voxel sides
    if `anisotropic`). Higher: fewer, larger supervoxels."""
    sigma_heights: float = Field(0.0, ge=0, le=100)
    """Smoothing of the boundary map before it is flooded, in the same unit; 0: as it is. Higher: closes
    gaps in boundaries, and displaces thin ones."""
    min_size: int = Field(100, ge=0)
    """Supervoxels of fewer voxels are dissolved and their place is flooded by their neighbours."""
    max_distance: float = Field(16.0, ge=1, le=1000)
    """Distances saturate here, in the unit of `sigma_seeds`; about the radius of a large cell. Lower:
    the wide middle of a larger cell is one flat seed, and a thinner halo is read."""
    anisotropic: bool = True
    """Measure distances with the voxel size, in units of its smallest side; off: voxels count as cubes."""
    per_slice: bool = False
    """Cut each z slice on its own, for stacks whose slices do not continue each other."""

    def halo(self, voxel_size_um: Voxel3) -> Triple:
        """Voxels along z, y, x that a block must read beyond its core.

        A distance needs the boundaries within `max_distance`, a smoothed distance those of all voxels
        under the kernel, a local maximum those of its neighbours. With the sum of the three, distances and
        seeds in the core are those of the whole volume, bit for bit, and so are the smoothed heights. A
        cell that reaches deeper into the halo may still be cut otherwise than in the whole: its seed there,
        or the end of its plateau, is only seen in part. A full guarantee would need the largest cell as halo.
        """
        pitch = self.pitch(voxel_size_um)
        seeds = (smoothing_radius(self.sigma_seeds / s) + 1 for s in pitch)
        heights = (smoothing_radius(self.sigma_heights / s) for s in pitch)
        z, y, x = (
            max(ceil(self.max_distance / s) + seed, height)
            for s, seed, height in zip(pitch, seeds, heights, strict=True)
        )
        return (0 if self.per_slice else z), y, x

    def pitch(self, voxel_size_um: Voxel3) -> Voxel3:
        """Sides of a voxel along z, y, x in units of its smallest side (of the slice, if `per_slice`)."""
        if not self.anisotropic:
            return 1.0, 1.0, 1.0
        z, y, x = voxel_size_um
        unit = min(y, x) if self.per_slice else min(z, y, x)
        return z / unit, y / unit, x / unit


def supervoxels_block(
    boundaries: NDArray[np.uint8],
    p: Params,
    voxel_size_um: Voxel3,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint32]:
    """Supervoxels of one box of boundary probabilities (z, y, x; 255 is 1): labels 1..n, 0 where masked.

    Every unmasked voxel has a label and none crosses the mask, whose outside counts as boundary. A box
    without boundaries, or of nothing else, is one supervoxel (per slice, or per component of the mask).
    Knows nothing of blocks; deterministic. Peak memory about 15 B per voxel, the input and result included.
    """
    pitch = p.pitch(voxel_size_um)
    seeds = _seeds(boundaries, p, pitch, mask)
    heights = _heights(boundaries, p, pitch)
    labels = watershed(heights, seeds, mask, planar=p.per_slice)
    del seeds
    return merge_small(labels, p.min_size, heights, mask, planar=p.per_slice)


def _seeds(
    boundaries: NDArray[np.uint8], p: Params, pitch: Voxel3, mask: NDArray[np.bool_] | None
) -> NDArray[np.int32]:
    """Local maxima of the smoothed distance to boundary and mask."""
    inside = boundaries < np.uint8(ceil(round(255 * p.threshold, 6)))
    if mask is not None:
        inside &= mask
    distance = boundary_distance(inside, pitch, p.max_distance, planar=p.per_slice)
    del inside
    smooth(distance, _sigmas(p.sigma_seeds, p, pitch))
    return local_maxima(distance, mask, planar=p.per_slice)[0]


def _heights(boundaries: NDArray[np.uint8], p: Params, pitch: Voxel3) -> NDArray[np.uint8]:
    """The map to flood: boundary probabilities on their fixed scale of 0..255, never that of a block."""
    if p.sigma_heights == 0:
        return boundaries
    smoothed = smooth(boundaries.astype(np.float32), _sigmas(p.sigma_heights, p, pitch))
    smoothed += np.float32(0.5)
    # A sum of weights a rounding above 1 must not lift 255 to 256, which would wrap to 0.
    return np.minimum(smoothed, np.float32(255), out=smoothed).astype(np.uint8)


def _sigmas(sigma: float, p: Params, pitch: Voxel3) -> tuple[float, float, float]:
    z, y, x = (sigma / s for s in pitch)
    return (0.0 if p.per_slice else z), y, x


def demand(like: Fitted, p: Params, voxel_um: Voxel) -> Demand:
    """15 B a voxel of the block with its halo, and the core once more as it is written."""
    grid = like.grid(p.halo(voxel_um))
    return Demand(
        tasks=2 * len(grid),
        worker_bytes=int(np.prod(grid.largest_outer)) * 16 + int(np.prod(grid.largest_core)) * 16,
        disk_bytes=int(np.prod(like.shape)) * (4 + 8 * 8 // 7),
    )


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `supervoxels`, numbered 1..n through the whole volume.

    1. `cut`: every block with its halo, supervoxels numbered from 1 in each block.
    2. `number`: add to each block the count of all blocks before it.
    """
    boundaries = context.volume("boundaries")
    mask = context.volume("mask") if "ingest-mask" in context.job.after else None
    like, voxel_um = context.fitted(), context.voxel_um()
    local = context.create_scratch("local", like, np.uint32)
    cut = partial(_cut, boundaries=boundaries, mask=mask, target=local, p=p, voxel_um=voxel_um)
    counts = [part["supervoxels"] for part in context.map("cut", cut, like.grid(p.halo(voxel_um)))]
    target = context.create("supervoxels", like, np.uint64, "labels")
    offsets = np.cumsum([0, *counts])
    number = partial(_number, local=local, target=target, offsets=offsets)
    parts = context.map("number", number, like.grid())
    context.pyramid("supervoxels", voxel_um)
    return {"supervoxels": int(offsets[-1]), "checksum": store.checksum(parts)}


def _cut(  # noqa: PLR0913, PLR0917 - bound by `run`
    block: Block,
    boundaries: Array,
    mask: Array | None,
    target: Array,
    p: Params,
    voxel_um: Voxel,
) -> dict[str, Any]:
    inside = None if mask is None else np.asarray(mask[block.outer]) > 0
    labels = supervoxels_block(np.asarray(boundaries[block.outer]), p, voxel_um, inside)[block.crop]
    labels, count = consecutive(labels)
    return {"crc": store.write_block(target, block.core, labels), "supervoxels": count}


def _number(block: Block, local: Array, target: Array, offsets: NDArray[np.int64]) -> dict[str, Any]:
    labels = np.asarray(local[block.core]).astype(np.uint64)
    np.add(labels, np.uint64(offsets[block.id]), out=labels, where=labels > 0)
    return {"crc": store.write_block(target, block.core, labels)}
