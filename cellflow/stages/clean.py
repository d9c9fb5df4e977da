"""Mend the partition on its global sizes: small segments, background, cells at the border, holes.

Works on the graph, where a segment is a set of supervoxels: nothing here depends on blocks, and the
volume is written once, afterwards, by `segment`. In this order:

1. segments smaller than `min_size` are dissolved; their supervoxels are flooded again from the segments
   that stay, across the weakest boundaries first;
2. background and cells at the border become 0, where asked for;
3. small segments enclosed by one cell become part of it, where asked for.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.schema import Schema
from cellflow.core.segments import fill_enclosed, reflood, renumber, segment_sizes
from cellflow.engine.atomic import write
from cellflow.engine.stage import Context
from cellflow.engine.store import Demand
from cellflow.engine.tables import load_sizes, load_touching


class Params(Schema):
    """Which segments are cells. Sizes are in voxels of the whole volume."""

    min_size: int = Field(100, ge=0)
    """Segments of fewer voxels are given to their neighbours."""
    background: float = Field(0.0, ge=0)
    """Segments that touch the border of the volume and are larger than this many median segments become
    background (0); 0 keeps all. Try 10 for tissue that floats in empty space."""
    remove_border: bool = False
    """Cells that touch the border of the volume become background: they are not whole."""
    fill_holes: int = Field(0, ge=0)
    """Segments of at most this many voxels, enclosed by one cell, become part of it; 0 leaves them."""


Rows = Callable[[NDArray[np.bool_]], tuple[NDArray[np.int64], NDArray[np.float64]]]
"""Of flags of nodes, the edges that touch one of them, as rows of nodes, and their boundary."""


def clean_graph(
    rows: Rows, size: NDArray[np.int64], border: NDArray[np.bool_], segments: NDArray[np.int64], p: Params
) -> NDArray[np.int64]:
    """The cell of every node, 1..k by their first node, 0 = background.

    `size` and `border` are voxels of every node, and whether it reaches the border of the volume.
    """
    sizes = segment_sizes(segments, size)
    small = sizes < p.min_size
    segments = reflood(*rows(small[segments]), segments, small)
    sizes, open_ = segment_sizes(segments, size), _holding(segments, border)
    segments = np.where(_unwanted(sizes, open_, p)[segments], 0, segments)
    if p.fill_holes:
        sizes = segment_sizes(segments, size)
        open_ = open_[: sizes.size]
        edges, _ = rows((~open_ & (sizes <= p.fill_holes))[segments])
        segments = fill_enclosed(edges, segments, sizes, open_, p.fill_holes)
    return renumber(segments)[0]


def demand(nodes: int, edges: int) -> Demand:
    """What every node needs, and the edges of the segments that are mended, taken to be a tenth."""
    return Demand(tasks=0, main_bytes=edges * 10 + nodes * 100, disk_bytes=nodes * 8)


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `cells.npy`: the cell of every supervoxel 0..n."""
    ranges = context.result("graph")["ranges"]
    table = context.file("graph", "table")
    z, y, x = context.result("ingest-raw")["shape"]
    size, border = load_sizes(table, ranges, (z, y, x))
    decided = "reconcile" if "reconcile" in context.job.after else "partition"
    segments = np.load(context.file(decided, "segments.npy"), allow_pickle=False)[1:].astype(np.int64)

    def rows(flagged: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        found = load_touching(table, ranges, ["mean"], flagged)
        return found["edges"], found["mean"]

    cells = clean_graph(rows, size, border, segments, p)
    found = np.concatenate([[0], cells]).astype(np.uint64)
    write(context.output("cells.npy"), lambda file: np.save(file, found))
    return {"segments": int(segments.max(initial=0)), "cells": int(cells.max(initial=0))}


def _holding(segments: NDArray[np.int64], nodes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Flags of the segments 0..max that hold a flagged node."""
    flags = np.zeros(int(segments.max(initial=0)) + 1, np.bool_)
    flags[segments[nodes]] = True
    return flags


def _unwanted(sizes: NDArray[np.int64], touching: NDArray[np.bool_], p: Params) -> NDArray[np.bool_]:
    unwanted = touching.copy() if p.remove_border else np.zeros(sizes.size, np.bool_)
    present = sizes[1:][sizes[1:] > 0]
    if p.background and present.size:
        unwanted |= touching & (sizes > p.background * np.median(present))
    return unwanted
