"""Decide in one part of a graph what will hold in the whole: the step of a hierarchical multicut.

whole graph     a a a a | b b b b         a part sees the edges that touch its own nodes; nodes of
                a a a a | b b b b         other parts at their far ends are frozen: it sees them, but
part a          a a a f                   not how they are joined to each other.
                a a a f
"""

import numpy as np

from cellflow.core.multicut.content import content_order
from cellflow.core.multicut.aggregate import aggregated
from cellflow.core.multicut.fusion import agreement, proposal
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.kernighan_lin import kernighan_lin
from cellflow.core.multicut.persistency import core
from cellflow.core.multicut.signed import I64, Flags, SignedGraph, segments

SOLVES = 7
NOISE = 0.8
ROUNDS = 50


def reduce(n_nodes: int, edges: I64, costs: I64, frozen: Flags) -> I64:
    graph = SignedGraph(n_nodes, edges.astype(np.int32), costs)
    labels, rest = core(graph, frozen)
    outside = np.zeros(rest.n_nodes, np.bool_)
    outside[labels] = frozen
    order = content_order(rest)
    new = np.empty_like(order)
    new[order] = np.arange(order.size)
    rest = aggregated(rest, new, rest.n_nodes)
    outside = outside[order]
    at_frozen = outside.copy()
    touching = rest.edges[outside[rest.edges].any(axis=1)]
    at_frozen[touching] = True
    pieces = np.zeros(rest.n_nodes, np.int64)
    free = ~at_frozen[rest.edges].any(axis=1)
    for seed in range(SOLVES):
        start = proposal(rest, seed, NOISE) if seed else greedy(rest)
        pieces = agreement(rest, [pieces, kernighan_lin(rest, start, ROUNDS)])
    pieces = segments(rest.n_nodes, rest.edges, free, pieces)
    found = pieces[new[labels]]
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    return first[inverse]
