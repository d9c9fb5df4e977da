"""The region adjacency graph of the supervoxels, with what the boundary map says about each edge.

Where there are affinities, given or predicted, they are asked instead: those of direct neighbours give the
edges, all others a second table of the same form, `long_range`, of pairs that may not touch.

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

from cellflow.core import affinities, edge_table, features, nodes
from cellflow.core.errors import BadInput
from cellflow.core.grid import Block, Triple, box_shape
from cellflow.core.schema import Schema
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.ranges import NodeRange, node_ranges, touched
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, Demand, Fitted, open_read
from cellflow.engine.tables import NODES_PER_RANGE


class Params(Schema):
    """What is measured on the edges."""

    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.1, 0.25, 0.5, 0.75, 0.9)
    """Quantiles of the boundary map along each contact, exact; a partition may use one of them."""


Tables = dict[str, edge_table.EdgeHistograms]
"""Edges by the name of their table."""


@dataclass(frozen=True)
class BoundaryMap:
    """Edges from boundary probabilities: a pair of voxels is two samples."""

    volume: Array
    halo: Triple = (0, 0, 0)
    tables: tuple[str, ...] = ("edges",)
    samples_per_pair: int = 2

    def count(self, labels: Array, block: Block) -> tuple[Tables, nodes.NodeTable]:
        """Edges and nodes that a block owns."""
        z, y, x = (slice(s.start, min(s.stop + 1, n)) for s, n in zip(block.core, labels.shape, strict=True))
        edges, found = graph_block(np.asarray(labels[z, y, x]), np.asarray(self.volume[z, y, x]), block)
        return {"edges": edges}, found


@dataclass(frozen=True)
class Channels:
    """Edges from affinities: a pair of voxels is one sample of its channel."""

    volumes: tuple[Array, ...]
    offsets: tuple[Triple, ...]
    tables: tuple[str, ...] = ("edges", "long_range")
    samples_per_pair: int = 1

    @property
    def halo(self) -> Triple:
        """How far the labels must be read around a block."""
        return affinities.reach(self.offsets)

    def count(self, labels: Array, block: Block) -> tuple[Tables, nodes.NodeTable]:
        """Edges of both kinds and nodes that a block owns."""
        around = np.asarray(labels[block.outer])
        values = np.empty((len(self.volumes), *box_shape(block.core)), np.uint8)
        for channel, volume in zip(values, self.volumes, strict=True):
            channel[...] = volume[block.core]
        edges = features.edges_block_affinities(around, values, self.offsets, block.crop)
        found = nodes.nodes_block(np.ascontiguousarray(around[block.crop]), _origin(block))
        return {"edges": edges.local, "long_range": edges.long_range}, found


Evidence = BoundaryMap | Channels


def graph_block(
    labels: NDArray[np.uint64], boundaries: NDArray[np.uint8], core: Block
) -> tuple[edge_table.EdgeHistograms, nodes.NodeTable]:
    """Edges and nodes that a block owns; the arrays reach one voxel beyond its upper faces."""
    shape = box_shape(core.core)
    inner = labels[: shape[0], : shape[1], : shape[2]]
    return features.edges_block(labels, boundaries, shape), nodes.nodes_block(inner, _origin(core))


def demand(like: Fitted, offsets: Sequence[Triple] = ()) -> Demand:
    """Labels and boundaries of a block and up to 12 B a voxel of samples; rows of the densest real graphs.

    Of affinities with these offsets: all channels of a block, labels as far as the offsets reach, and the
    samples of one channel.
    """
    grid = like.grid(affinities.reach(offsets) if offsets else (0, 0, 0))
    inner, around = (int(np.prod(shape)) for shape in (grid.largest_core, grid.largest_outer))
    counted = around * 16 + inner * (26 + len(offsets)) if offsets else inner * 32
    return Demand(
        tasks=len(grid) + 1,
        worker_bytes=max(counted, 160 << 20),  # a block, or a range of nodes
        disk_bytes=int(np.prod(like.shape)) * (4 + 2 * len(offsets)),
    )


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `edges/<range>.npz` and `nodes/<range>.npz`, of affinities `long_range`; return counts."""
    total = context.result("supervoxels")["supervoxels"]
    if total == 0:
        raise BadInput(
            f"{context.job.folder}: found no supervoxel, expected one at least; is the mask empty?"
        )
    evidence = _evidence(context)
    parts, table = context.scratch("parts"), context.output("table")
    supervoxels = context.volume("supervoxels")
    count = partial(_count, labels=supervoxels, evidence=evidence, folder=parts, per_range=NODES_PER_RANGE)
    seen = context.map("blocks", count, context.fitted().grid(evidence.halo))
    ranges = node_ranges(total, seen, NODES_PER_RANGE)
    merge = partial(_merge, evidence=evidence, parts=parts, table=table, quantiles=p.quantiles)
    merged = context.map("merge", merge, ranges)
    counts = {
        "nodes": total,
        "edges": sum(part["edges"] for part in merged),
        "ranges": len(ranges),
        "nodes_per_range": NODES_PER_RANGE,
        "quantiles": list(p.quantiles),
        "contacts": sum(part["contacts"] for part in merged),
    }
    if "long_range" in evidence.tables:
        counts["long_range_edges"] = sum(part["long_range"] for part in merged)
    return counts


def _evidence(context: Context) -> Evidence:
    for stage in {"affinities", "predict"} & set(context.job.after):
        if "offsets" in (made := context.result(stage)):
            offsets = tuple((z, y, x) for z, y, x in made["offsets"])
            files = (context.file(stage, str(k)) for k in range(len(offsets)))
            return Channels(tuple(map(open_read, files)), offsets)
    return BoundaryMap(context.volume("boundaries"))


def _count(block: Block, labels: Array, evidence: Evidence, folder: Path, per_range: int) -> dict[str, Any]:
    tables, found = evidence.count(labels, block)
    for name, rows in tables.items():
        save_part(folder / name, block.id, asdict(rows))
    save_part(folder / "nodes", block.id, asdict(found))
    columns = {"nodes": found.id, **{name: rows.edges[:, 0] for name, rows in tables.items()}}
    return {name: touched(ids, per_range) for name, ids in columns.items()}


def _origin(block: Block) -> Triple:
    return block.core[0].start, block.core[1].start, block.core[2].start


def _merge(
    wanted: NodeRange, evidence: Evidence, parts: Path, table: Path, quantiles: Sequence[float]
) -> dict[str, Any]:
    counts = {}
    for name in evidence.tables:
        rows = edge_table.merge(_edges_in(wanted, parts / name))
        found = edge_table.statistics(rows, quantiles, samples_per_pair=evidence.samples_per_pair)
        save_part(table / name, wanted.id, asdict(found))
        counts[name] = len(found.edges)
        if name == "edges":
            counts["contacts"] = int(found.size.sum())
    save_part(table / "nodes", wanted.id, asdict(nodes.merge(_nodes_in(wanted, parts / "nodes"))))
    return counts


def _edges_in(wanted: NodeRange, folder: Path) -> list[edge_table.EdgeHistograms]:
    blocks = wanted.blocks[folder.name]
    found = (edge_table.EdgeHistograms(**load_part(folder, block)) for block in blocks)
    return [edge_table.between(rows, wanted.start, wanted.stop) for rows in found]


def _nodes_in(wanted: NodeRange, folder: Path) -> list[nodes.NodeTable]:
    found = []
    for block in wanted.blocks["nodes"]:
        rows = load_part(folder, block)
        a, b = np.searchsorted(rows["id"], np.array([wanted.start, wanted.stop], np.uint64))
        found.append(nodes.NodeTable(**{name: values[a:b].copy() for name, values in rows.items()}))
    return found
