"""Decide which supervoxels belong to one cell: a global partition of the region adjacency graph."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from cellflow.core.edge_table import EdgeTable
from cellflow.core.errors import BadInput
from cellflow.core.graphs import Graph
from cellflow.core.schema import Schema
from cellflow.engine.atomic import write
from cellflow.engine.stage import Context
from cellflow.engine.store import Demand
from cellflow.engine.tables import load_edges
from cellflow.solvers import Multicut, Solver


class Params(Schema):
    """Which evidence, and who decides."""

    evidence: Literal["mean"] | Annotated[float, Field(ge=0, le=1)] = "mean"
    """What stands for the boundary probability of an edge: its mean along the contact, or one of the
    quantiles that the graph stage measured (0.5: the median; robust against small gaps and specks)."""
    solver: Solver = Multicut()
    """`multicut`, `gasp` or `mutex_watershed`, with parameters of their own."""


def demand(nodes: int, edges: int) -> Demand:
    """The table and the solver's graph in memory; about 370 B an edge for the worst solver."""
    return Demand(tasks=0, main_bytes=edges * 600 + nodes * 200, disk_bytes=nodes * 8)


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `segments.npy`: the segment of every supervoxel 0..n; the result has the solver's facts."""
    graph = context.result("graph")
    table = load_edges(context.file("graph", "table"), graph["ranges"])
    found = p.solver(
        Graph(
            n_nodes=graph["nodes"],
            edges=table.edges.astype(np.int64) - 1,
            boundary=_evidence(table, p, graph["quantiles"]),
            sizes=table.size.astype(np.float64),
        )
    )
    segments = np.concatenate([[0], found.labels + 1]).astype(np.uint64)
    write(context.output("segments.npy"), lambda file: np.save(file, segments))
    return {"segments": int(segments.max(initial=0)), "edges": len(table.edges), **found.facts}


def _evidence(table: EdgeTable, p: Params, quantiles: list[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    if p.evidence == "mean":
        return table.mean
    if p.evidence not in quantiles:
        raise BadInput(
            f"stages.partition.evidence: found {p.evidence}, expected 'mean' or one of the quantiles in "
            f"stages.graph.quantiles {quantiles}; add it there"
        )
    return np.ascontiguousarray(table.quantiles[:, quantiles.index(p.evidence)])
