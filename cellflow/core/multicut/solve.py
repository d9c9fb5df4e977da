"""Solve a multicut in memory: reduce it, contract it greedily, fuse solutions, bound what is left to gain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cellflow.core.multicut.aggregate import aggregated
from cellflow.core.multicut.bound import packed
from cellflow.core.multicut.content import content_order
from cellflow.core.multicut.fusion import fused
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.persistency import core
from cellflow.core.multicut.signed import I64, SignedGraph, energy, lowest, segments

PROPOSED_EDGES = 30_000_000
"""Proposals have this many edges together, at most, but there is one at least: large graphs get fewer."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Segments of a graph, and what is known of their energy, in the units of the costs."""

    labels: I64
    """`(n_nodes,)`, connected by local edges, numbered 0.. by smallest node."""
    energy: int
    energy_greedy: int
    lower_bound: int


def solve(graph: SignedGraph, proposals: int, rounds: int, others: Sequence[I64] = ()) -> Solution:
    """A solution with an energy no higher than that of greedy contraction.

    Nor than that of `others`, if there are lifted edges; if not, these are ignored, and what some optimal
    partition does is done first. `proposals` and `rounds` as in `fused`. Without equal costs the numbering of
    the nodes plays no part; with them, it decides between equals.
    """
    labels, rest = (np.arange(graph.n_nodes), graph) if graph.local.size else core(graph)
    first = greedy(rest)
    order = _order(rest, first)
    new = np.empty_like(order)
    new[order] = np.arange(order.size)
    rest = aggregated(rest, new, rest.n_nodes)
    starts = [
        segments(rest.n_nodes, rest.edges, rest.local, start[order])
        for start in (first, *(others if graph.local.size else ()))
    ]
    starts.sort(key=lambda start: energy(rest.edges, rest.cost, start))
    proposals = min(proposals, max(1, PROPOSED_EDGES // max(1, len(rest.edges))))
    found = fused(rest, starts[0], starts[1:], proposals, rounds)
    bound = lowest(rest.cost) + packed(rest, found)
    labels = segments(graph.n_nodes, graph.edges, graph.local, found[new[labels]])
    total = energy(graph.edges, graph.cost, labels)
    # What was reduced away is cut in both, or in neither.
    more = total - energy(rest.edges, rest.cost, found)
    return Solution(labels, total, more + energy(rest.edges, rest.cost, first[order]), more + bound)


def _order(graph: SignedGraph, labels: I64) -> I64:
    """The nodes ordered by content, but segment by segment: what is worked on together lies together."""
    by_content = content_order(graph)
    _, first, inverse = np.unique(labels[by_content], return_index=True, return_inverse=True)
    return by_content[np.argsort(first[inverse], kind="stable")]
