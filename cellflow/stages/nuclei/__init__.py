"""Which nucleus each supervoxel holds: what the solver and `reconcile` know beside the boundaries.

Nuclei are labels (`nuclei`), or are made of a probability map first (`labels`). Then:

1. `overlaps`: the voxels that supervoxels and nuclei share, block by block.
2. `merge`: the rows of all blocks, a range of supervoxels at a time, say which nucleus each of them holds.

All counts are whole numbers, so nothing depends on the blocks. The stage's own process holds 16 B a nucleus.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cellflow.core.contingency import Contingency, contingency_block, merge
from cellflow.core.errors import BadInput
from cellflow.core.grid import Block
from cellflow.core.nuclei import NucleusSizes, between, held, merge_sizes, nucleus_sizes
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.ranges import NodeRange, node_ranges, touched
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, Demand, Fitted
from cellflow.engine.tables import NODES_PER_RANGE
from cellflow.stages.nuclei.labels import label_nuclei
from cellflow.stages.nuclei.params import Params

__all__ = ["Params", "demand", "nuclei_block", "run"]

nuclei_block = contingency_block


def demand(like: Fitted, *, probability: bool) -> Demand:
    """Two label blocks and their table; of a probability map its components, and the labels on disk."""
    voxels = int(np.prod(like.grid().largest_core))
    size = int(np.prod(like.shape))
    return Demand(
        tasks=(4 if probability else 1) * len(like.grid()) + 1,
        worker_bytes=voxels * 32,
        disk_bytes=size * (4 + 8 * 8 // 7) if probability else 0,
    )


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `table/nuclei/<range>.npz`; the result counts, and repeats what later stages go by.

    `lost` nuclei are held by no supervoxel: they lie in one with a larger nucleus, or outside the mask.
    """
    nuclei, made = _labels(context, p)
    parts, total = context.scratch("parts"), context.result("supervoxels")["supervoxels"]
    supervoxels = context.volume("supervoxels")
    share = partial(_share, supervoxels=supervoxels, nuclei=nuclei, folder=parts, per_range=NODES_PER_RANGE)
    grid = context.fitted().grid()
    ranges = node_ranges(total, context.map("overlaps", share, grid), NODES_PER_RANGE)
    sizes = merge_sizes(NucleusSizes(**load_part(parts / "sizes", block.id)) for block in grid)
    _refuse_one(context, sizes)
    save_part(parts / "all", 0, asdict(sizes))
    merged = context.map("merge", partial(_merge, parts=parts, table=context.output("table"), p=p), ranges)
    holders = [load_part(parts / "holders", wanted.id)["nucleus"] for wanted in ranges]
    return {
        "nuclei": int(sizes.id.size),
        "lost": int(sizes.id.size - np.unique(np.concatenate(holders)).size),
        "supervoxels": sum(part["holding"] for part in merged),
        "contested": sum(part["contested"] for part in merged),
        "ranges": len(ranges),
        "nodes_per_range": NODES_PER_RANGE,
        "depth": p.depth,
        **made,
    }


def _labels(context: Context, p: Params) -> tuple[Array, dict[str, str]]:
    """The labels of the nuclei, and what there is to say of them if they are made here."""
    if "ingest-nuclei" in context.job.after:
        return context.volume("nuclei"), {}
    volume, checksum = label_nuclei(context, _map(context), p)
    return volume, {"checksum": checksum}


def _map(context: Context) -> str:
    """The volume that says how probable nuclei are."""
    if "predict" not in context.job.after:
        return "nuclei_probability"
    if "predicted_nuclei" not in context.result("predict").get("checksums", {}):
        raise BadInput(
            f"{context.job.folder}: the predictor finds no nuclei, expected some for nuclei.predicted; "
            "take a network that predicts them, or leave predicted out"
        )
    return "predicted_nuclei"


def _refuse_one(context: Context, sizes: NucleusSizes) -> None:
    if sizes.id.size < 2:
        raise BadInput(
            f"{context.job.folder}: found {sizes.id.size} nucleus in all supervoxels, expected several, each "
            "with a label of its own; give a mask or a probability map as nuclei_probability"
        )


def _share(block: Block, supervoxels: Array, nuclei: Array, folder: Path, per_range: int) -> dict[str, Any]:
    table = nuclei_block(np.asarray(supervoxels[block.core]), np.asarray(nuclei[block.core]))
    save_part(folder / "shared", block.id, asdict(table))
    save_part(folder / "sizes", block.id, asdict(nucleus_sizes(table)))
    return {"shared": touched(table.truth, per_range)}


def _merge(wanted: NodeRange, parts: Path, table: Path, p: Params) -> dict[str, Any]:
    rows = (Contingency(**load_part(parts / "shared", block)) for block in wanted.blocks["shared"])
    shared = merge(between(part, wanted.start, wanted.stop) for part in rows)
    sizes = NucleusSizes(**load_part(parts / "all", 0))
    found = held(shared, wanted.start, wanted.stop, sizes, p.overlap)
    save_part(table / "nuclei", wanted.id, asdict(found))
    save_part(parts / "holders", wanted.id, {"nucleus": np.unique(found.nucleus[found.nucleus > 0])})
    return {
        "holding": int(np.count_nonzero(found.nucleus)),
        "contested": int(np.count_nonzero(found.contested)),
    }
