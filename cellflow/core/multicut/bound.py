"""A lower bound on the energy of every partition, from cycles that none can satisfy.

A cycle with one repulsive edge costs at least the smallest absolute cost on it: either one of its
attractive edges is cut, or none, and then the repulsive one is not cut either. Cycles that share no cost add
up: iterated cycle packing, Lange et al., ICML 2018. Here a solution says where to look. Every such cycle goes
through an edge that the solution pays for, and closes the gap by all that it costs if it meets only one.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from cellflow.core.multicut.neighbours import Neighbours, neighbours
from cellflow.core.multicut.signed import I32, I64, NO_FLAGS, Flags, SignedGraph

LENGTHS = np.array([3, 4, 5, 7, 11, 19])
"""Longest cycles of each pass: short ones first, because they use up the least."""
SEARCHED = 2000
"""Edges that one search looks at, about."""
WORK = 250
"""Edges that all searches look at, at most, for each edge of the graph."""
NONE = -1


class Packing(NamedTuple):
    """The state of a packing. A search has two states a node: v on the side of its start, v + n beyond."""

    near: Neighbours
    """With numbers of edges in place of costs."""
    left: I64
    """What no cycle has used yet of the absolute cost of every edge."""
    repulsive: Flags
    cut: Flags
    segment: I64
    reached: I64
    """The last search that came to a state, from where, along which edge, and how far it was."""
    origin: I32
    edge: I32
    steps: I32
    queue: I32


def packed(graph: SignedGraph, labels: I64) -> int:
    """How much more than all negative costs every partition costs, at least; `labels` are a good solution.

    Holds for any labels, and for lifted edges as if they could connect. No cycle is longer than the last of
    `LENGTHS`. About 60 bytes per edge, and 0.3 to 3 s per million edges.
    """
    numbers = np.arange(len(graph.edges))
    near = neighbours(graph.n_nodes, graph.edges, numbers, NO_FLAGS)
    return int(_pack(near, graph.edges, graph.cost, labels, WORK * len(numbers)))


@njit(cache=True, nogil=True)
def _pack(near: Neighbours, edges: I32, cost: I64, labels: I64, work: int) -> int:
    p = _packing(near, edges, cost, labels)
    total, search = 0, 0
    for longest in LENGTHS:
        for e in range(len(edges)):
            # Paid for is an attractive edge that is cut, and a repulsive one that is not.
            if p.cut[e] == p.repulsive[e]:
                continue
            while p.left[e] > 0 and work > 0:
                search += 1
                end, looked_at = _search(p, edges[e, 0], edges[e, 1], p.cut[e], longest - 1, search)
                work -= looked_at
                if end == NONE:
                    break
                total += _use(p, e, end)
    return total


@njit(cache=True, nogil=True)
def _packing(near: Neighbours, edges: I32, cost: I64, labels: I64) -> Packing:
    states = 2 * (near.first.size - 1)
    cut = np.empty(len(edges), np.bool_)
    for e in range(len(edges)):
        cut[e] = labels[edges[e, 0]] != labels[edges[e, 1]]
    return Packing(
        near,
        np.abs(cost),
        cost < 0,
        cut,
        labels,
        np.zeros(states, np.int64),
        np.empty(states, np.int32),
        np.empty(states, np.int32),
        np.empty(states, np.int32),
        np.empty(states, np.int32),
    )


@njit(cache=True, nogil=True)
def _search(p: Packing, u: int, v: int, across: bool, longest: int, search: int) -> tuple[int, int]:
    """The last state of a shortest path of at most `longest` edges from u to v, or NONE; and the work done.

    The path goes along attractive edges inside segments; `across` two segments along one repulsive edge too.
    """
    n = p.near.first.size - 1
    goal = v + n if across else v
    p.reached[u], p.origin[u], p.steps[u], p.queue[0] = search, NONE, 0, u
    at, tail, looked_at = 0, 1, 0
    while at < tail and looked_at <= SEARCHED:
        here = p.queue[at]
        at += 1
        if p.steps[here] == longest:
            break
        beyond = here >= n
        node = here - n if beyond else here
        for k in range(p.near.first[node], p.near.first[node + 1]):
            looked_at += 1
            e, w = p.near.cost[k], p.near.node[k]
            if p.left[e] == 0 or p.cut[e] != p.repulsive[e]:
                continue
            if p.cut[e] and (not across or p.segment[w] != p.segment[v]):
                continue
            there = w + n if beyond or p.cut[e] else w
            if p.reached[there] == search:
                continue
            p.reached[there], p.origin[there], p.edge[there] = search, here, e
            p.steps[there] = p.steps[here] + 1
            if there == goal:
                return there, looked_at
            p.queue[tail] = there
            tail += 1
    return NONE, looked_at


@njit(cache=True, nogil=True)
def _use(p: Packing, e: int, end: int) -> int:
    """Take the smallest cost that is left on a cycle from all its edges; that cost."""
    least, state = p.left[e], end
    while p.origin[state] != NONE:
        least = min(least, p.left[p.edge[state]])
        state = p.origin[state]
    p.left[e] -= least
    state = end
    while p.origin[state] != NONE:
        p.left[p.edge[state]] -= least
        state = p.origin[state]
    return int(least)
