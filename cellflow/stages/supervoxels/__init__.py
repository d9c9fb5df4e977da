"""Cut a boundary map into supervoxels: distance-transform watershed, the same whatever the blocks.

Boundary voxels are those above a threshold. The distance to them, smoothed, has one local maximum or more
per cell: the seeds. They are flooded on the boundary map itself. Too small supervoxels are given to their
neighbours. Method: PlantSeg (Wolny et al. 2020); flooded as a minimum spanning forest (`core/forest`).

Affinities may be cut without boundaries, by a mutex watershed of their voxels (`mutex`).
"""

from typing import Any

import numpy as np

from cellflow.engine import store
from cellflow.engine.stage import Context, Voxel
from cellflow.engine.store import Demand, Fitted
from cellflow.stages.supervoxels.block import supervoxels_block
from cellflow.stages.supervoxels.exact import run_exact
from cellflow.stages.supervoxels.independent import run_independent
from cellflow.stages.supervoxels.inputs import inputs_of
from cellflow.stages.supervoxels.mutex import run_mutex
from cellflow.stages.supervoxels.params import Exact, Independent, Mutex, Params

__all__ = ["Exact", "Independent", "Mutex", "Params", "demand", "run", "supervoxels_block"]


def demand(like: Fitted, p: Params, voxel_um: Voxel) -> Demand:
    """16 B a voxel of the block with its halo, then 22 B of its core: the plan takes their sum.

    The stage's own process holds what blocks leave open: up to 16 B for each voxel at a face, in noise.
    """
    grid = like.grid(p.halo(voxel_um))
    z, y, x = grid.largest_core
    faces = 2 * (z * y + z * x + y * x) * len(grid) if isinstance(p.blocks, Exact) else 0
    passes = 5 if isinstance(p.blocks, Exact) else 2
    return Demand(
        tasks=passes * len(grid),
        worker_bytes=int(np.prod(grid.largest_outer)) * 16 + int(np.prod(grid.largest_core)) * 22,
        main_bytes=faces * 16,
        disk_bytes=int(np.prod(like.shape)) * (5 + 8 * 8 // 7),
    )


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `supervoxels`, numbered 1..n through the whole volume, and its pyramid."""
    if p.mutex is not None:
        count, parts = run_mutex(context, p.mutex)
    else:
        cut = run_exact if isinstance(p.blocks, Exact) else run_independent
        count, parts = cut(context, p, inputs_of(context))
    context.pyramid("supervoxels")
    return {"supervoxels": count, "checksum": store.checksum(parts)}
