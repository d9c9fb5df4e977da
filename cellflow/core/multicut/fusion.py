"""Fusion moves: join what several solutions agree on, and solve the little that is left.

Solutions of noisy costs differ where it is hard to decide. What all of them join is joined, so that whole
pieces can be moved, split and joined where Kernighan-Lin alone would have to move node by node through
worse states. Source: fusion moves, Beier et al., CVPR 2015.
"""

from collections.abc import Sequence

import numpy as np

from cellflow.core.multicut.aggregate import aggregated
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.kernighan_lin import kernighan_lin
from cellflow.core.multicut.signed import I64, SignedGraph, energy, segments


def fused(graph: SignedGraph, solutions: Sequence[I64], rounds: int) -> I64:
    """Segments `(n_nodes,)`, numbered by smallest node, with an energy no higher than that of any solution.

    The pieces that the `solutions` agree on are joined and moved whole, from the cheapest solution and from
    greedy contraction of the pieces. `solutions` are segments, numbered by smallest node.
    """
    pieces = agreement(graph, solutions)
    rest = aggregated(graph, pieces, count(pieces))
    cheapest = min((of_pieces(labels, pieces) for labels in solutions), key=lambda found: _cut(rest, found))
    starts = [cheapest, greedy(rest)]
    best = min((kernighan_lin(rest, start, rounds) for start in starts), key=lambda found: _cut(rest, found))
    return best[pieces]


def agreement(graph: SignedGraph, solutions: Sequence[I64]) -> I64:
    """The segments `(n_nodes,)` that cut what any of the solutions cuts."""
    pieces = solutions[0]
    for other in solutions[1:]:
        both = pieces * count(other) + other
        pieces = segments(graph.n_nodes, graph.edges, graph.local, both)
    return pieces


def count(labels: I64) -> int:
    """How many labels 0.. there are."""
    return int(labels.max(initial=-1)) + 1


def of_pieces(labels: I64, pieces: I64) -> I64:
    """The label of every piece, which lies inside one."""
    found = np.empty(count(pieces), np.int64)
    found[pieces] = labels
    return found


def _cut(graph: SignedGraph, labels: I64) -> int:
    return int(energy(graph.edges, graph.cost, labels))
