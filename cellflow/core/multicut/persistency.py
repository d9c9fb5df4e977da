"""Merges that some optimal partition makes, and nodes that it leaves alone, found at each node by itself.

Moving a node to the segment of a neighbour loses at most the absolute costs of its other edges: an edge that
outweighs them is joined. Two nodes made a segment of their own lose at most the attractive edges that leave
them: one between them that outweighs those is joined. After Lange et al., ICML 2018 and CVPR 2019.
"""

import numpy as np
from numba import njit

from cellflow.core.multicut.aggregate import aggregated
from cellflow.core.multicut.signed import I32, I64, NO_FLAGS, Flags, SignedGraph, segments

WORTH = 0.05
"""A sweep that would take away a smaller share of the nodes is not made: it would save less than it costs."""


def core(graph: SignedGraph, frozen: Flags = NO_FLAGS) -> tuple[I64, SignedGraph]:
    """Labels 0.. `(n_nodes,)` by smallest node, and the graph of them that is left to be solved.

    Some optimal partition joins all nodes of the same label, and cuts every edge that the graph of the labels
    has lost: those of labels that no edge attracts. Of `frozen` nodes (bool, none if left out) not all edges
    are known: they are never joined nor settled. For a graph without lifted edges. Linear time per sweep.
    """
    if not frozen.size:
        frozen = np.zeros(graph.n_nodes, np.bool_)
    found, rest = np.arange(graph.n_nodes), _unsettled(graph, frozen)
    while True:
        sure = _sure(rest.n_nodes, rest.edges, rest.cost, frozen)
        if not sure.any() or sure.sum() < WORTH * rest.n_nodes:
            return found, rest
        labels = segments(rest.n_nodes, rest.edges, sure, np.zeros(rest.n_nodes, np.int64))
        merged = np.zeros(int(labels.max()) + 1, np.bool_)
        merged[labels] = frozen
        found, frozen = labels[found], merged
        rest = _unsettled(aggregated(rest, labels, merged.size), frozen)


def settled(graph: SignedGraph, frozen: Flags = NO_FLAGS) -> Flags:
    """True `(n_nodes,)` for nodes that no edge attracts: every optimal partition cuts all their edges.

    They can be dropped with their edges, and no other node is settled by that. Never a `frozen` one.
    """
    alone = np.ones(graph.n_nodes, np.bool_)
    alone[graph.edges[graph.cost > 0]] = False
    if frozen.size:
        alone[frozen] = False
    return alone


def _unsettled(graph: SignedGraph, frozen: Flags) -> SignedGraph:
    alone = settled(graph, frozen)
    if alone.sum() < WORTH * graph.n_nodes:
        return graph
    kept = ~alone[graph.edges].any(axis=1)
    return SignedGraph(graph.n_nodes, graph.edges[kept], graph.cost[kept])


@njit(cache=True, nogil=True)
def _sure(n_nodes: int, edges: I32, cost: I64, frozen: Flags) -> Flags:
    """True for every edge that can be contracted; all of them can be at once."""
    absolute, positive = np.zeros(n_nodes, np.int64), np.zeros(n_nodes, np.int64)
    for e in range(len(edges)):
        for side in range(2):
            absolute[edges[e, side]] += abs(cost[e])
            positive[edges[e, side]] += max(cost[e], 0)
    sure = np.zeros(len(edges), np.bool_)
    for e in range(len(edges)):
        u, v, c = edges[e, 0], edges[e, 1], cost[e]
        if c <= 0 or frozen[u] or frozen[v]:
            continue
        # Strict, so that what is sure of one node cannot contradict what is sure of the next.
        sure[e] = 2 * c > min(absolute[u], absolute[v]) or 3 * c > positive[u] + positive[v]
    return sure
