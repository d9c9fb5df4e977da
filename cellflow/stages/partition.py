"""Decide which supervoxels belong to one cell: a global partition of the region adjacency graph.

Samples that start from affinities give the solver their long-range edges too, and samples with nuclei what
these say of pairs of supervoxels; not every solver looks at them.
"""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.edge_table import EdgeTable
from cellflow.core.errors import BadInput
from cellflow.core.graphs import Graph, Lifted
from cellflow.core.lifted import nuclei_pairs
from cellflow.core.schema import Schema
from cellflow.engine.atomic import write
from cellflow.engine.stage import Context
from cellflow.engine.store import Demand
from cellflow.engine.tables import load_edges, load_long_range, load_nuclei
from cellflow.solvers import Multicut, Solver

PAIRS_PER_EDGE = 8
"""Pairs of supervoxels with nuclei, at most: their depth is lowered until they are no more. In tissue a depth
of 3 gives about 7 of them, 4 twice as many, with little to gain."""


class Params(Schema):
    """Which evidence, and who decides."""

    evidence: Literal["mean"] | Annotated[float, Field(ge=0, le=1)] = "mean"
    """What stands for the boundary probability of an edge: its mean along the contact, or one of the
    quantiles that the graph stage measured (0.5: the median; robust against small gaps and specks)."""
    solver: Solver = Multicut()
    """`multicut`, `gasp` or `mutex_watershed`, with parameters of their own."""


def demand(nodes: int, edges: int, *, nucleated: bool = False) -> Demand:
    """The table and the solver's graph in memory; about 370 B an edge for the worst solver, 240 B a pair."""
    pairs = PAIRS_PER_EDGE * edges if nucleated else 0
    return Demand(tasks=0, main_bytes=edges * 600 + nodes * 200 + pairs * 240, disk_bytes=nodes * 8)


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `segments.npy`: the segment of every supervoxel 0..n; the result has the solver's facts."""
    graph = context.result("graph")
    table = load_edges(context.file("graph", "table"), graph["ranges"])
    edges = table.edges.astype(np.int64) - 1
    lifted, lifted_facts = _lifted(context, graph["nodes"], edges)
    found = p.solver(
        Graph(
            n_nodes=graph["nodes"],
            edges=edges,
            boundary=_evidence(table, p, graph["quantiles"]),
            sizes=table.size.astype(np.float64),
            long_range=_long_range(context, p),
            lifted=lifted,
        )
    )
    segments = np.concatenate([[0], found.labels + 1]).astype(np.uint64)
    write(context.output("segments.npy"), lambda file: np.save(file, segments))
    counts = {"segments": int(segments.max(initial=0)), "edges": len(table.edges)}
    return {**counts, **lifted_facts, **found.facts}


def _long_range(context: Context, p: Params) -> Graph | None:
    """The edges of long offsets, where the graph was made of affinities that have some."""
    graph = context.result("graph")
    if not graph.get("long_range_edges"):
        return None
    table = load_long_range(context.file("graph", "table"), graph["ranges"])
    return Graph(
        n_nodes=graph["nodes"],
        edges=table.edges.astype(np.int64) - 1,
        boundary=_evidence(table, p, graph["quantiles"]),
        sizes=table.size.astype(np.float64),
    )


def _lifted(context: Context, nodes: int, edges: NDArray[np.int64]) -> tuple[Lifted | None, dict[str, int]]:
    """What nuclei say of pairs of supervoxels, where there are nuclei; and the facts of that."""
    if "nuclei" not in context.job.after:
        return None, {}
    nuclei = context.result("nuclei")
    held = load_nuclei(context.file("nuclei", "table"), nuclei["ranges"])
    most = PAIRS_PER_EDGE * len(edges)
    pairs, depth = nuclei_pairs(nodes, edges, held.nucleus, nuclei["depth"], most)
    return pairs, {"lifted_pairs": len(pairs.edges), "lifted_depth": depth}


def _evidence(table: EdgeTable, p: Params, quantiles: list[float]) -> NDArray[np.float64]:
    if p.evidence == "mean":
        return table.mean
    if p.evidence not in quantiles:
        raise BadInput(
            f"stages.partition.evidence: found {p.evidence}, expected 'mean' or one of the quantiles in "
            f"stages.graph.quantiles {quantiles}; add it there"
        )
    return np.ascontiguousarray(table.quantiles[:, quantiles.index(p.evidence)])
