"""Solve a multicut in memory: contract it greedily, fuse solutions, bound what is left to gain."""

from collections.abc import Sequence
from dataclasses import dataclass

from cellflow.core.multicut.bound import packed
from cellflow.core.multicut.fusion import fused
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.kernighan_lin import kernighan_lin
from cellflow.core.multicut.proposals import proposal
from cellflow.core.multicut.signed import I64, SignedGraph, energy, lowest

TOGETHER = 2
"""Proposals that are fused at once. One by one takes longer; of many, the pieces that they agree on get so
small that whole ones are moved no more."""

MOVED = 500_000
"""Edges up to which proposals are moved by Kernighan-Lin before they are fused. That lowers the energy as
much as several times the proposals would, and takes as long again as all the rest: a second, in tissue."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Segments of a graph, and what is known of their energy, in the units of the costs."""

    labels: I64
    """`(n_nodes,)`, connected by local edges, numbered 0.. by smallest node."""
    energy: int
    energy_greedy: int
    lower_bound: int


def solve(graph: SignedGraph, proposals: int, rounds: int, others: Sequence[I64] = ()) -> Solution:
    """A solution with an energy no higher than that of greedy contraction, nor than that of `others`.

    All of these are fused, then `proposals`, a few at a time, and at last nodes are moved one by one; each
    with as many `rounds` of Kernighan-Lin at most. `others` are segments, numbered 0.. by smallest node.
    """
    first = greedy(graph)
    found = improved(graph, [first, *others], proposals, rounds)
    return Solution(
        found,
        energy(graph.edges, graph.cost, found),
        energy(graph.edges, graph.cost, first),
        lowest(graph.cost) + packed(graph, found),
    )


def improved(graph: SignedGraph, starts: Sequence[I64], proposals: int, rounds: int) -> I64:
    """The labels of `solve` from these solutions, numbered 0.. by smallest node; nothing is bounded."""
    found = fused(graph, starts, rounds) if len(starts) > 1 else starts[0]
    for start in range(0, proposals, TOGETHER):
        seeds = range(start, min(start + TOGETHER, proposals))
        found = fused(graph, [found, *(_drawn(graph, seed, rounds) for seed in seeds)], rounds)
    return kernighan_lin(graph, found, rounds)


def _drawn(graph: SignedGraph, seed: int, rounds: int) -> I64:
    found = proposal(graph, seed)
    return found if len(graph.edges) > MOVED else kernighan_lin(graph, found, rounds)
