"""Mend the partition on its global sizes: small segments, background, cells at the border, holes.

Works on the graph, where a segment is a set of supervoxels: nothing here depends on blocks, and the
volume is written once, afterwards, by `segment`. In this order:

1. segments smaller than `min_size` are dissolved; their supervoxels are flooded again from the segments
   that stay, across the weakest boundaries first;
2. background and cells at the border become 0, where asked for;
3. small segments enclosed by one cell become part of it, where asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.grid import Triple
from cellflow.core.nodes import NodeTable, at_border
from cellflow.core.schema import Schema
from cellflow.core.segments import fill_enclosed, reflood, renumber, segment_sizes
from cellflow.engine.atomic import write
from cellflow.engine.stage import Context
from cellflow.engine.store import Demand
from cellflow.engine.tables import load_edges, load_nodes


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


def clean_graph(  # noqa: PLR0913, PLR0917 - the graph and what was decided on it
    edges: NDArray[np.int64], boundary: NDArray[np.float64], nodes: NodeTable, segments: NDArray[np.int64],
    shape: Triple, p: Params,
) -> NDArray[np.int64]:  # fmt: skip
    """The cell of every node (row i is node i + 1), 1..k by their first node, 0 = background."""
    sizes = segment_sizes(segments, nodes.size)
    segments = reflood(edges, boundary, segments, sizes < p.min_size)
    sizes = segment_sizes(segments, nodes.size)
    touching = _touching(segments, nodes, shape)
    segments = np.where(_unwanted(sizes, touching, p)[segments], 0, segments)
    if p.fill_holes:
        sizes = segment_sizes(segments, nodes.size)
        segments = fill_enclosed(edges, segments, sizes, touching[: sizes.size], p.fill_holes)
    return renumber(segments)[0]


def demand(nodes: int, edges: int) -> Demand:
    """The graph in memory."""
    return Demand(tasks=0, main_bytes=edges * 200 + nodes * 150, disk_bytes=nodes * 8)


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `cells.npy`: the cell of every supervoxel 0..n."""
    ranges = context.result("graph")["ranges"]
    table = context.file("graph", "table")
    edges, nodes = load_edges(table, ranges), load_nodes(table, ranges)
    decided = "reconcile" if "reconcile" in context.job.after else "partition"
    segments = np.load(context.file(decided, "segments.npy"), allow_pickle=False)[1:].astype(np.int64)
    z, y, x = context.result("ingest-raw")["shape"]
    cells = clean_graph(edges.edges.astype(np.int64) - 1, edges.mean, nodes, segments, (z, y, x), p)
    found = np.concatenate([[0], cells]).astype(np.uint64)
    write(context.output("cells.npy"), lambda file: np.save(file, found))
    return {"segments": int(segments.max(initial=0)), "cells": int(cells.max(initial=0))}


def _touching(segments: NDArray[np.int64], nodes: NodeTable, shape: Triple) -> NDArray[np.bool_]:
    """Flags of the segments that reach the border."""
    flags = np.zeros(int(segments.max(initial=0)) + 1, np.bool_)
    flags[segments[at_border(nodes, shape)]] = True
    return flags


def _unwanted(sizes: NDArray[np.int64], touching: NDArray[np.bool_], p: Params) -> NDArray[np.bool_]:
    unwanted = touching.copy() if p.remove_border else np.zeros(sizes.size, np.bool_)
    present = sizes[1:][sizes[1:] > 0]
    if p.background and present.size:
        unwanted |= touching & (sizes > p.background * np.median(present))
    return unwanted
