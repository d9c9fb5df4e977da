"""Partition a graph that is too large to be solved at once, group by group.

1. `look`: how many edges begin in each range of nodes, and what is known of their evidence.
2. `leave`: the edges inside each group of ranges and those that lead to later ones.
3. `cellflow.engine.hierarchy` solves them.
4. `measure`: what the partition cuts, and what its solver says of that.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.groups import Group, grouped
from cellflow.core.interactions import Interactions
from cellflow.core.thresholds import Statistics, statistics, together
from cellflow.engine import hierarchy
from cellflow.engine.atomic import write
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.stage import Context
from cellflow.solvers import Stepwise
from cellflow.stages.partition.evidence import Table

I64 = NDArray[np.int64]

RANGES_PER_LOOK = 64


@dataclass(frozen=True)
class Looks:
    """What is known of a graph before anything is solved, for each range of nodes."""

    edges: I64
    """(ranges, 2): edges and long-range pairs whose smaller node lies in it."""
    statistics: Statistics

    @property
    def first(self) -> I64:
        """(ranges, 2): numbers of the first edge and the first long-range pair; these count on from edges."""
        before = np.cumsum(self.edges, axis=0) - self.edges
        before[:, 1] += self.edges[:, 0].sum()
        return before


@dataclass(frozen=True)
class Evidence:
    """What a solver makes of a table."""

    table: Table
    solver: Stepwise
    first: I64
    """`Looks.first`."""

    def of(self, group: Group) -> Interactions:
        """The rows that begin in a group of ranges, ranked as in the whole graph."""
        graph = self.table.graph(group.members)
        near, far = self.first[group.members[0]]
        further = len(graph.long_range.edges) if graph.long_range else 0
        ranks = np.arange(near, near + len(graph.edges)), np.arange(far, far + further)
        return self.solver.interactions(graph, ranks)


def solve_by_levels(
    context: Context, table: Table, solver: Stepwise, limit: int
) -> tuple[NDArray[np.uint64], dict[str, Any]]:
    """The segment of every node, 1..k by their smallest nodes, and what the receipt says.

    `limit`: edges that are solved at once. Memory: see `hierarchy.solve`, and 24 B a node.
    """
    looks = _look(context, table)
    solver = solver.resolved(looks.statistics)
    groups = grouped(table.starts, table.nodes, looks.edges.sum(axis=1).tolist(), limit // hierarchy.JOBS)
    folder = context.scratch("levels") / "0"
    evidence = Evidence(table, solver, looks.first)
    leave = partial(_leave, evidence=evidence, starts=hierarchy.starts_of(groups), folder=folder)
    left = context.map("leave", leave, groups)
    first = hierarchy.level(folder, groups, left)
    tops, levels = hierarchy.solve(context, first, solver, limit)
    segments = _numbered(np.concatenate([load_part(tops, group.id)["top"] for group in groups]))
    path = context.scratch("segments.npy")
    write(path, lambda file: np.save(file, segments))
    measured = context.map("measure", partial(_measure, evidence=evidence, segments=path), groups)
    total = {name: sum(part[name] for part in measured) for name in measured[0]}
    return segments, {
        "nodes": table.nodes,
        "edges": int(looks.edges[:, 0].sum()),
        "segments": int(segments.max(initial=0)),
        "edges_cut": total.pop("edges_cut"),
        "edges_repulsive": sum(part["repulsive"] for part in left),
        **solver.summary(total, looks.statistics),
        **solver.facts,
        "levels": [{"groups": len(reached.groups), "edges": reached.rows} for reached in levels],
    }


def _look(context: Context, table: Table) -> Looks:
    batches = grouped(table.starts, table.nodes, [1] * table.ranges, RANGES_PER_LOOK)
    folder = context.scratch("looks")
    found = context.map("look", partial(_look_at, table=table, folder=folder), batches)
    seen = [Statistics(**load_part(folder, batch.id)) for batch in batches]
    return Looks(np.concatenate([np.array(part["edges"]) for part in found]), together(seen))


def _look_at(batch: Group, table: Table, folder: Path) -> dict[str, Any]:
    graphs = [table.graph([i]) for i in batch.members]
    save_part(folder, batch.id, vars(together([statistics(graph) for graph in graphs])))
    return {"edges": [[len(g.edges), len(g.long_range.edges) if g.long_range else 0] for g in graphs]}


def _leave(group: Group, evidence: Evidence, starts: I64, folder: Path) -> dict[str, Any]:
    rows = evidence.of(group)
    return {
        **hierarchy.keep(rows, group, starts, folder),
        "repulsive": int(np.count_nonzero(rows.weight < 0)),
    }


def _numbered(tops: I64) -> NDArray[np.uint64]:
    """Segments 1..k, numbered by the nodes that stand for them."""
    number = np.cumsum(tops == np.arange(tops.size), dtype=np.uint64)
    return number[tops]


def _measure(group: Group, evidence: Evidence, segments: Path) -> dict[str, int]:
    found = np.load(segments, mmap_mode="r", allow_pickle=False)
    graph = evidence.table.graph(group.members)
    cut = found[graph.edges[:, 0]] != found[graph.edges[:, 1]]
    return {"edges_cut": int(cut.sum()), **evidence.solver.measured(graph, found)}
