"""How good the cells are: against a truth, if there is one, and whether the blocks can be seen in them.

Every score of a truth comes from one contingency table, summed over blocks; the seam score from the pairs
of voxels on the faces of blocks and half a block away.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from cellflow.core.contingency import Contingency, contingency_block, merge
from cellflow.core.errors import BadInput
from cellflow.core.grid import Block, Triple, box_shape
from cellflow.core.metrics import scores
from cellflow.core.schema import Schema
from cellflow.core.seam_score import seam_block, seam_score
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, Demand, Fitted

scores_block = contingency_block


class Params(Schema):
    """What of the truth is judged."""

    unlabelled: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Labels of the truth under which nothing is judged. `[0]` if only some cells were annotated; `[]` if 0
    is surely background, so that a cell found there is a false one."""
    min_truth_size: int = Field(0, ge=0)
    """True cells of fewer voxels are not judged."""


def demand(like: Fitted, nodes: int) -> Demand:
    """Two label blocks; the table of all overlaps in the stage's own process."""
    voxels = int(np.prod(like.grid().largest_core))
    return Demand(tasks=len(like.grid()), worker_bytes=voxels * 56, main_bytes=nodes * 60)


def run(context: Context, p: Params) -> dict[str, Any]:
    """The result holds every score by name: numbers, or null where there is nothing to judge.

    Without a truth there are only `seam_excess` and `seam_noise`.
    """
    cells = context.volume("cells")
    truth = context.volume("truth") if "ingest-truth" in context.job.after else None
    if truth is not None and truth.shape != cells.shape:
        raise BadInput(
            f"{context.job.folder}: found a truth of shape {truth.shape}, expected {cells.shape} as the raw "
            "volume; crop or resample the truth"
        )
    folder, like = context.scratch("tables"), context.fitted()
    grid = like.grid()
    context.map("blocks", partial(_task, truth=truth, cells=cells, folder=folder, nominal=like.block), grid)
    seam = seam_score((load_part(folder / "seams", block.id)["counts"] for block in grid), like.block)
    seams = {"seam_excess": seam and seam.excess, "seam_noise": seam and seam.noise}
    if truth is None:
        return dict(seams)
    table = merge(Contingency(**load_part(folder / "overlaps", block.id)) for block in grid)
    return {**scores(table, unlabelled=p.unlabelled, min_truth_size=p.min_truth_size), **seams}


def _task(block: Block, truth: Array | None, cells: Array, folder: Path, nominal: Triple) -> dict[str, Any]:
    z, y, x = (slice(s.start, min(s.stop + 1, n)) for s, n in zip(block.core, cells.shape, strict=True))
    found, core = np.asarray(cells[z, y, x]), box_shape(block.core)
    if truth is not None:
        table = scores_block(np.asarray(truth[block.core]), found[: core[0], : core[1], : core[2]])
        save_part(folder / "overlaps", block.id, asdict(table))
    save_part(folder / "seams", block.id, {"counts": seam_block(found, core, nominal)})
    return {}
