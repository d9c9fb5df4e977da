"""Compare the cells with a truth: every score from one contingency table, summed over blocks."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from cellflow.core.contingency import Contingency, contingency_block, merge
from cellflow.core.errors import BadInput
from cellflow.core.grid import Block
from cellflow.core.metrics import scores
from cellflow.core.schema import Schema
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


def demand(like: Fitted) -> Demand:
    """Two label blocks, and a table of their overlaps."""
    voxels = int(np.prod(like.grid().largest_core))
    return Demand(tasks=len(like.grid()), worker_bytes=voxels * 24)


def run(context: Context, p: Params) -> dict[str, Any]:
    """The result holds every score by name: numbers, or null where there is nothing to judge."""
    truth, cells = context.volume("truth"), context.volume("cells")
    if truth.shape != cells.shape:
        raise BadInput(
            f"{context.job.folder}: found a truth of shape {truth.shape}, expected {cells.shape} as the raw "
            "volume; crop or resample the truth"
        )
    folder, grid = context.scratch("tables"), context.fitted().grid()
    context.map("blocks", partial(_task, truth=truth, cells=cells, folder=folder), grid)
    table = merge(Contingency(**load_part(folder, block.id)) for block in grid)
    return scores(table, unlabelled=p.unlabelled, min_truth_size=p.min_truth_size)


def _task(block: Block, truth: Array, cells: Array, folder: Path) -> dict[str, Any]:
    table = scores_block(np.asarray(truth[block.core]), np.asarray(cells[block.core]))
    save_part(folder, block.id, asdict(table))
    return {}
