"""Partition a graph that is too large to be solved at once, group by group.

1. `look`: how many edges begin in each range of nodes, and what is known of their evidence.
2. `count`, for a solver that asks nuclei: how many pairs they give (`nucleated`).
3. `leave`: the edges and pairs inside each group of ranges and those that lead to later ones.
4. `cellflow.engine.hierarchy` solves them.
5. `measure`: what the partition cuts, and what its solver says of that.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.graphs import Graph
from cellflow.core.groups import Group, grouped
from cellflow.core.interactions import Interactions, Ranks
from cellflow.core.thresholds import Statistics, statistics, together
from cellflow.engine import hierarchy
from cellflow.engine.atomic import write
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.stage import Context
from cellflow.solvers import Stepwise
from cellflow.stages.partition.evidence import Table
from cellflow.stages.partition.nucleated import Nuclei, deepest

I64 = NDArray[np.int64]

RANGES_PER_LOOK = 64
PAIRS_PER_EDGE = 8
"""Pairs of supervoxels with nuclei, at most: their depth is lowered until they are no more. In tissue a depth
of 3 gives about 7 of them, 4 twice as many, with little to gain."""


@dataclass(frozen=True)
class Looks:
    """What is known of a graph before anything is solved, for each range of nodes."""

    edges: I64
    """(ranges, 3): edges, long-range pairs and lifted pairs whose smaller node lies in it."""
    statistics: Statistics
    nuclei: Nuclei | None

    @property
    def first(self) -> I64:
        """(ranges, 3): numbers of the first of each; those of pairs count on from those of the edges."""
        kinds = self.edges.sum(axis=0)
        before: I64 = np.cumsum(self.edges, axis=0) - self.edges + np.cumsum(kinds) - kinds
        return before


@dataclass(frozen=True)
class Evidence:
    """What a solver makes of a table."""

    table: Table
    solver: Stepwise
    looks: Looks

    def of(self, group: Group) -> Interactions:
        """The rows that begin in a group of ranges, ranked as in the whole graph."""
        graph = self.table.graph(group.members)
        if self.looks.nuclei:
            graph = replace(graph, lifted=self.looks.nuclei.pairs(self.table, group.start, group.stop))
        numbers = zip(self.looks.first[group.members[0]], _counts(graph), strict=True)
        ranks = Ranks(*(np.arange(first, first + count) for first, count in numbers))
        return self.solver.interactions(graph, ranks, self.looks.statistics)


def solve_by_levels(
    context: Context, table: Table, solver: Stepwise, limit: int, nuclei: Nuclei | None = None
) -> tuple[NDArray[np.uint64], dict[str, Any]]:
    """The segment of every node, 1..k by their smallest nodes, and what the receipt says.

    `limit`: edges and pairs that are solved at once. Memory: see `hierarchy.solve`, and 24 B a node.
    """
    looks = _look(context, table, nuclei)
    solver = solver.resolved(looks.statistics)
    groups = grouped(table.starts, table.nodes, looks.edges.sum(axis=1).tolist(), limit // hierarchy.JOBS)
    folder = context.scratch("levels") / "0"
    evidence = Evidence(table, solver, looks)
    leave = partial(_leave, evidence=evidence, starts=hierarchy.starts_of(groups), folder=folder)
    left = context.map("leave", leave, groups)
    first = hierarchy.level(folder, groups, left)
    tops, levels = hierarchy.solve(context, first, solver, limit)
    segments = _numbered(np.concatenate([load_part(tops, group.id)["top"] for group in groups]))
    path = context.scratch("segments.npy")
    write(path, lambda file: np.save(file, segments))
    measured = context.map("measure", partial(_measure, level=first, solver=solver, segments=path), groups)
    total = {name: sum(part[name] for part in measured) for name in measured[0]}
    return segments, {
        **_lifted(looks),
        "nodes": table.nodes,
        "edges": int(looks.edges[:, 0].sum()),
        "segments": int(segments.max(initial=0)),
        "edges_cut": total.pop("edges_cut"),
        "edges_repulsive": sum(part["repulsive"] for part in left),
        **solver.summary(total, looks.statistics),
        **solver.facts,
        "levels": [{"groups": len(reached.groups), "edges": reached.rows} for reached in levels],
    }


def _look(context: Context, table: Table, nuclei: Nuclei | None) -> Looks:
    batches = grouped(table.starts, table.nodes, [1] * table.ranges, RANGES_PER_LOOK)
    folder = context.scratch("looks")
    found = context.map("look", partial(_look_at, table=table, folder=folder), batches)
    seen = together([Statistics(**load_part(folder, batch.id)) for batch in batches])
    edges = np.array([counts for part in found for counts in part["edges"]], np.int64)
    if nuclei is None:
        return Looks(edges, seen, None)
    into: list[list[int]] = [[] for _ in table.starts]
    for i, leads in enumerate(leads for part in found for leads in part["leads"]):
        for other in leads:
            into[other].append(i)
    nuclei = replace(nuclei, into=tuple(map(tuple, into)))
    most = PAIRS_PER_EDGE * int(edges[:, 0].sum())
    nuclei, edges[:, 2] = deepest(context, table, nuclei, batches, most)
    return Looks(edges, replace(seen, lifted=edges[:, 2].sum()), nuclei)


def _look_at(batch: Group, table: Table, folder: Path) -> dict[str, Any]:
    graphs = [table.graph([i]) for i in batch.members]
    save_part(folder, batch.id, vars(together([statistics(graph) for graph in graphs])))
    leads = [
        table.ranges_of(np.append(graph.edges, table.starts[i]))
        for i, graph in zip(batch.members, graphs, strict=True)
    ]
    return {"edges": [_counts(graph) for graph in graphs], "leads": leads}


def _counts(graph: Graph) -> list[int]:
    kinds = (graph, graph.long_range, graph.lifted)
    return [len(kind.edges) if kind else 0 for kind in kinds]


def _lifted(looks: Looks) -> dict[str, int]:
    """What the receipt says of the pairs that nuclei speak of, if the solver asks."""
    if looks.nuclei is None:
        return {}
    return {"lifted_pairs": int(looks.edges[:, 2].sum()), "lifted_depth": looks.nuclei.depth}


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


def _measure(group: Group, level: hierarchy.Level, solver: Stepwise, segments: Path) -> dict[str, int]:
    found = np.load(segments, mmap_mode="r", allow_pickle=False)
    rows = level.kept(group.id, solver.combination)
    cut = found[rows.edges[:, 0]] != found[rows.edges[:, 1]]
    return {"edges_cut": int((cut & rows.local).sum()), **solver.measured(rows, found)}
