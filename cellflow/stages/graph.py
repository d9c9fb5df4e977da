"""The region adjacency graph of the supervoxels, with what the boundary map says about each edge.

1. `blocks`: each block counts the pairs of voxels it owns and the voxels of its core.
2. `merge`: the rows of all blocks, a range of nodes at a time, become one table.

Counts are whole numbers, so the graph does not depend on the blocking. A range holds the edges whose
smaller node lies in it: a solver can read the part of the graph it needs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core import edge_table, features, nodes
from cellflow.core.errors import BadInput
from cellflow.core.grid import Block, box_shape
from cellflow.core.schema import Schema
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, Demand, Fitted

NODES_PER_RANGE = 1 << 13
"""About 20 MB of rows a range: a merge is a task like any other, and must not need more than a block."""


class Params(Schema):
    """What is measured on the edges."""

    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.1, 0.25, 0.5, 0.75, 0.9)
    """Quantiles of the boundary map along each contact, exact; a partition may use one of them."""


@dataclass(frozen=True)
class NodeRange:
    """Nodes `start` to `stop` (exclusive): one task of the merge, one file of the table."""

    id: int
    start: int
    stop: int
    edge_blocks: tuple[int, ...]
    """Blocks that have edges whose smaller node lies in the range: the files to open."""
    node_blocks: tuple[int, ...]


def graph_block(
    labels: NDArray[np.uint64], boundaries: NDArray[np.uint8], core: Block
) -> tuple[edge_table.EdgeHistograms, nodes.NodeTable]:
    """Edges and nodes that a block owns; the arrays reach one voxel beyond its upper faces."""
    shape = box_shape(core.core)
    origin = (core.core[0].start, core.core[1].start, core.core[2].start)
    inner = labels[: shape[0], : shape[1], : shape[2]]
    return features.edges_block(labels, boundaries, shape), nodes.nodes_block(inner, origin)


def demand(like: Fitted) -> Demand:
    """Labels and boundaries of a block and up to 12 B a voxel of samples; rows of the densest real graphs."""
    voxels = int(np.prod(like.grid().largest_core))
    return Demand(
        tasks=len(like.grid()) + 1,
        worker_bytes=max(voxels * 32, 160 << 20),  # a block, or a range of nodes
        disk_bytes=int(np.prod(like.shape)) * 4,
    )


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `edges-<range>.npz` and `nodes-<range>.npz`; the result has the counts."""
    total = context.result("supervoxels")["supervoxels"]
    if total == 0:
        raise BadInput(
            f"{context.job.folder}: found no supervoxel, expected one at least; is the mask empty?"
        )
    grid = context.fitted().grid()
    parts, table = context.scratch("parts"), context.output("table")
    count = partial(
        _count, labels=context.volume("supervoxels"), boundaries=context.volume("boundaries"), folder=parts
    )
    seen = context.map("blocks", count, grid)
    ranges = _ranges(total, seen)
    merge = partial(_merge, parts=parts, table=table, quantiles=p.quantiles)
    merged = context.map("merge", merge, ranges)
    return {
        "nodes": total,
        "edges": sum(part["edges"] for part in merged),
        "ranges": len(ranges),
        "quantiles": list(p.quantiles),
        "contacts": sum(part["contacts"] for part in merged),
    }


def _count(block: Block, labels: Array, boundaries: Array, folder: Path) -> dict[str, Any]:
    z, y, x = (slice(s.start, min(s.stop + 1, n)) for s, n in zip(block.core, labels.shape, strict=True))
    edges, found = graph_block(np.asarray(labels[z, y, x]), np.asarray(boundaries[z, y, x]), block)
    save_part(folder / "edges", block.id, asdict(edges))
    save_part(folder / "nodes", block.id, asdict(found))
    return {"u": _ends(edges.edges[:, 0]), "id": _ends(found.id)}


def _ends(ids: NDArray[np.uint64]) -> list[int]:
    """Smallest and largest id of a sorted column, so that a merge opens only the files it needs."""
    return [int(ids[0]), int(ids[-1])] if ids.size else [1, 0]


def _ranges(total: int, seen: list[dict[str, Any]]) -> list[NodeRange]:
    """Nodes 1 to `total` in ranges, each with the blocks that know of them."""
    ends = {name: np.array([part[name] for part in seen]) for name in ("u", "id")}

    def blocks(name: str, start: int, stop: int) -> tuple[int, ...]:
        first, last = ends[name].T
        return tuple(np.flatnonzero((first < stop) & (last >= start)).tolist())

    bounds = [(a, min(a + NODES_PER_RANGE, total + 1)) for a in range(1, total + 1, NODES_PER_RANGE)]
    return [NodeRange(i, a, b, blocks("u", a, b), blocks("id", a, b)) for i, (a, b) in enumerate(bounds)]


def _merge(wanted: NodeRange, parts: Path, table: Path, quantiles: Sequence[float]) -> dict[str, Any]:
    edges = edge_table.statistics(edge_table.merge(_edges_in(wanted, parts / "edges")), quantiles)
    save_part(table / "edges", wanted.id, asdict(edges))
    save_part(table / "nodes", wanted.id, asdict(nodes.merge(_nodes_in(wanted, parts / "nodes"))))
    return {"edges": len(edges.edges), "contacts": int(edges.size.sum())}


def _edges_in(wanted: NodeRange, folder: Path) -> list[edge_table.EdgeHistograms]:
    found = (edge_table.EdgeHistograms(**load_part(folder, block)) for block in wanted.edge_blocks)
    return [edge_table.between(rows, wanted.start, wanted.stop) for rows in found]


def _nodes_in(wanted: NodeRange, folder: Path) -> list[nodes.NodeTable]:
    found = []
    for block in wanted.node_blocks:
        rows = load_part(folder, block)
        a, b = np.searchsorted(rows["id"], np.array([wanted.start, wanted.stop], np.uint64))
        found.append(nodes.NodeTable(**{name: values[a:b].copy() for name, values in rows.items()}))
    return found
