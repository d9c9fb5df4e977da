"""Fusion moves: join what several solutions agree on, and solve the little that is left.

Solutions of noisy costs differ where it is hard to decide. What all of them join is joined, so that whole
pieces can be moved, split and joined where Kernighan-Lin alone would have to move node by node through
worse states. Source: fusion moves, Beier et al., CVPR 2015.
"""

from collections.abc import Sequence

import numpy as np

from cellflow.core.multicut.aggregate import aggregated
from cellflow.core.multicut.content import noisy
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.kernighan_lin import kernighan_lin
from cellflow.core.multicut.signed import I64, SignedGraph, energy, segments

NOISE = 0.5
"""Standard deviation of the noise, relative to each cost."""


def fused(graph: SignedGraph, labels: I64, others: Sequence[I64], proposals: int, rounds: int) -> I64:
    """Segments `(n_nodes,)`, numbered by smallest node, with an energy no higher than that of `labels`.

    Fuses `labels` with the `others` and as many greedy solutions of noisy costs as `proposals`, then what is
    left with as many of its own, one by one. `labels` and `others` are segments, numbered by smallest node.
    """
    pieces = agreement(graph, [labels, *others])
    for seed in range(proposals):
        pieces = agreement(graph, [pieces, proposal(graph, seed)])
    rest = joined(graph, pieces)
    found = _better(rest, [of_pieces(labels, pieces), greedy(rest)], rounds)
    for seed in range(proposals):
        found = _fusion(rest, found, proposal(rest, seed), rounds)
    return kernighan_lin(graph, found[pieces], rounds)


def proposal(graph: SignedGraph, seed: int, noise: float = NOISE) -> I64:
    """Greedy segments of the graph with noise on its costs."""
    costs = noisy(graph.edges, graph.cost, noise, seed)
    return greedy(SignedGraph(graph.n_nodes, graph.edges, costs, graph.local))


def agreement(graph: SignedGraph, solutions: Sequence[I64]) -> I64:
    """The segments `(n_nodes,)` that cut what any of the solutions cuts."""
    pieces = solutions[0]
    for other in solutions[1:]:
        both = pieces * (int(other.max(initial=0)) + 1) + other
        pieces = segments(graph.n_nodes, graph.edges, graph.local, both)
    return pieces


def joined(graph: SignedGraph, pieces: I64) -> SignedGraph:
    """The graph of pieces numbered 0.. ."""
    return aggregated(graph, pieces, int(pieces.max(initial=-1)) + 1)


def of_pieces(labels: I64, pieces: I64) -> I64:
    """The label of every piece, which lies inside one."""
    found = np.empty(int(pieces.max(initial=-1)) + 1, np.int64)
    found[pieces] = labels
    return found


def _fusion(graph: SignedGraph, labels: I64, other: I64, rounds: int) -> I64:
    pieces = agreement(graph, [labels, other])
    rest = joined(graph, pieces)
    return _better(rest, [of_pieces(labels, pieces), greedy(rest)], rounds)[pieces]


def _better(graph: SignedGraph, starts: Sequence[I64], rounds: int) -> I64:
    """The cheapest of what Kernighan-Lin makes of these starts, the first of equals."""
    found = [kernighan_lin(graph, start, rounds) for start in starts]
    return min(found, key=lambda labels: energy(graph.edges, graph.cost, labels))
