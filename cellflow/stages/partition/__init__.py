"""Decide which supervoxels belong to one cell: a global partition of the region adjacency graph.

A graph that fits is solved at once (`Params.solve_at_once`), a larger one in groups of nodes, level by level
(`levels`).

Samples that start from affinities give the solver their long-range edges too, and samples with nuclei what
these say of pairs of supervoxels; not every solver looks at them.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.errors import BadInput
from cellflow.core.graphs import Lifted
from cellflow.core.lifted import nuclei_pairs
from cellflow.core.schema import Schema
from cellflow.engine.atomic import write
from cellflow.engine.hierarchy import JOBS
from cellflow.engine.stage import Context
from cellflow.engine.store import Demand
from cellflow.engine.tables import load_nuclei
from cellflow.solvers import Multicut, Solver
from cellflow.stages.partition.evidence import Table
from cellflow.stages.partition.levels import PAIRS_PER_EDGE, solve_by_levels
from cellflow.stages.partition.nucleated import Nuclei


class Params(Schema):
    """Which evidence, and who decides."""

    evidence: Literal["mean"] | Annotated[float, Field(ge=0, le=1)] = "mean"
    """What stands for the boundary probability of an edge: its mean along the contact, or one of the
    quantiles that the graph stage measured (0.5: the median; robust against small gaps and specks)."""
    solver: Solver = Multicut()
    """`multicut`, `lifted_multicut`, `gasp`, `mutex_watershed`, `agglomerate`, with their own parameters."""
    solve_at_once: int = Field(20_000_000, ge=1)
    """Edges up to which the graph is solved in one piece, in about 0.2 kB of memory each; pairs that the
    solver looks at count as edges. A larger one is solved in groups, level by level, in jobs of an eighth of
    it, to the same cells; with `multicut`, `lifted_multicut`, and `gasp` of `sum`, to nearly the same."""


def demand(nodes: int, edges: int, p: Params, *, nucleated: bool = False) -> Demand:
    """The solver's graph, or that of a group and of the last level; 160 B an edge were seen of a multicut."""
    pairs = PAIRS_PER_EDGE * edges if nucleated else 0
    if edges + pairs * p.solver.lifts <= p.solve_at_once:
        return Demand(tasks=0, main_bytes=edges * 300 + nodes * 200 + pairs * 240, disk_bytes=nodes * 8)
    return Demand(
        tasks=edges * JOBS // p.solve_at_once,
        worker_bytes=p.solve_at_once // JOBS * 300,
        main_bytes=p.solve_at_once * 300 + nodes * 40,
        disk_bytes=nodes * 16 + edges * 60,
    )


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `segments.npy`: the segment of every supervoxel 0..n; the result has the solver's facts."""
    found = context.result("graph")
    pairs = found.get("long_range_edges", 0)
    table = Table(
        path=context.file("graph", "table"),
        nodes=found["nodes"],
        starts=list(range(0, found["nodes"], found["nodes_per_range"])),
        quantile=_quantile(p, found["quantiles"]),
        long_range=pairs > 0,
    )
    nuclei = _nuclei(context) if p.solver.lifts else None
    most = found["edges"] * PAIRS_PER_EDGE if nuclei else 0
    if found["edges"] + pairs + most <= p.solve_at_once:
        segments, facts = _solved_at_once(context, table, p)
    else:
        segments, facts = solve_by_levels(context, table, p.solver, p.solve_at_once, nuclei)
    write(context.output("segments.npy"), lambda file: np.save(file, np.insert(segments, 0, 0)))
    return facts


def _solved_at_once(context: Context, table: Table, p: Params) -> tuple[NDArray[np.uint64], dict[str, Any]]:
    graph = table.graph()
    lifted, facts = _lifted(context, table.nodes, graph.edges)
    made = p.solver(replace(graph, lifted=lifted))
    return (made.labels + 1).astype(np.uint64), {**facts, **made.facts}


def _nuclei(context: Context) -> Nuclei | None:
    """Where the nuclei of the supervoxels are to be read, if there are some."""
    if "nuclei" not in context.job.after:
        return None
    found = context.result("nuclei")
    return Nuclei(context.file("nuclei", "table"), found["nodes_per_range"], found["depth"])


def _lifted(context: Context, nodes: int, edges: NDArray[np.int64]) -> tuple[Lifted | None, dict[str, int]]:
    """What nuclei say of pairs of supervoxels, where there are nuclei; and the facts of that."""
    if "nuclei" not in context.job.after:
        return None, {}
    nuclei = context.result("nuclei")
    held = load_nuclei(context.file("nuclei", "table"), nuclei["ranges"])
    most = PAIRS_PER_EDGE * len(edges)
    pairs, depth = nuclei_pairs(nodes, edges, held.nucleus, nuclei["depth"], most)
    return pairs, {"lifted_pairs": len(pairs.edges), "lifted_depth": depth}


def _quantile(p: Params, measured: list[float]) -> int | None:
    """The place of the evidence among the quantiles of the table; None for the mean."""
    if p.evidence == "mean":
        return None
    if p.evidence not in measured:
        raise BadInput(
            f"stages.partition.evidence: found {p.evidence}, expected 'mean' or one of the quantiles in "
            f"stages.graph.quantiles {measured}; add it there"
        )
    return measured.index(p.evidence)
