"""A signed graph whose nodes are joined pair by pair.

Every node has a list of its edges. When two nodes are joined, the one with fewer edges goes: its edges move
over, and one that now runs beside another is added to it. A hash table finds that other one. Lists keep dead
edges, and the table keeps entries of pairs that are gone, until they are met or the table is full: nothing
has to be searched in order to be deleted.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.multicut.signed import I32, I64, Flags, SignedGraph
from cellflow.core.union import root

NONE = -1
# One record an edge, because what it needs together should lie together: memory is what this waits for.
ROW = np.dtype(
    [("u", np.int32), ("v", np.int32), ("after_u", np.int32), ("after_v", np.int32), ("cost", np.int64)]
)
HALF = np.uint64(32)
LOW = np.uint64(2**32 - 1)
FREE, ONE = np.uint64(0), np.uint64(1)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Contraction(NamedTuple):
    """What is left of a graph; `NONE` ends a list."""

    row: NDArray[np.void]
    local: Flags
    head: I32
    degree: I32
    parent: I32
    table: NDArray[np.uint64]
    used: I64


def contraction(graph: SignedGraph) -> Contraction:
    """The whole graph; 24 bytes per edge, another 16 to 32 for the table, and 12 per node."""
    n, m = graph.n_nodes, len(graph.edges)
    # Made by numpy, which asks for huge pages; the places in the table are visited in no order.
    state = Contraction(
        np.empty(m, ROW),
        graph.local.copy(),
        np.full(n, NONE, np.int32),
        np.zeros(n, np.int32),
        np.arange(n, dtype=np.int32),
        np.zeros(2 ** max(4, int(2 * m - 1).bit_length()), np.uint64),
        np.zeros(1, np.int64),
    )
    _fill(state, graph.edges, graph.cost)
    return state


@njit(cache=True, nogil=True)
def join(state: Contraction, e: int, changed: I32) -> int:
    """Join the ends of the living edge `e`; the number of edges whose cost changed, listed in `changed`.

    Of two edges that become one, the smaller number stays: nothing depends on which node goes. Takes the time
    of the shorter list, amortised, and so at most edges * log2(nodes) for any series of joins.
    """
    u, v = state.row[e].u, state.row[e].v
    keep, gone = (u, v) if state.degree[u] >= state.degree[v] else (v, u)
    if 5 * (state.used[0] + state.degree[gone]) > 4 * state.table.size:
        _rebuild(state)
    state.parent[gone] = keep
    at, n_changed = state.head[gone], 0
    while at != NONE:
        row, here = state.row[at], at
        first = max(row.u, ~row.u) == gone  # a dead edge has the complements of its ends
        at = row.after_u if first else row.after_v
        if row.u < 0:
            continue
        w = row.v if first else row.u
        other = NONE if w == keep else _find(state, keep, w)
        if w == keep:
            _kill(state, here)
            state.degree[keep] -= 1
        elif other == NONE or other > here:
            _move(state, here, first, keep)
            if other != NONE:
                _kill(state, other)
        if other != NONE:
            survivor, dead = min(here, other), max(here, other)
            state.row[survivor].cost += state.row[dead].cost
            if state.local.size > 0:
                state.local[survivor] |= state.local[dead]
            if other < here:
                _kill(state, here)
            else:
                state.degree[keep] -= 1
            state.degree[w] -= 1
            changed[n_changed] = survivor
            n_changed += 1
    return n_changed


@njit(cache=True, nogil=True)
def roots(state: Contraction) -> I64:
    """The node that every node has been joined into."""
    found = np.empty(state.parent.size, np.int64)
    for node in range(found.size):
        found[node] = root(state.parent, node)
    return found


@njit(cache=True, nogil=True)
def _move(state: Contraction, e: int, first: bool, keep: int) -> None:
    """Give edge `e` the end `keep` in place of its first or second one."""
    row = state.row[e]
    if first:
        row.u, row.after_u = keep, state.head[keep]
    else:
        row.v, row.after_v = keep, state.head[keep]
    state.head[keep] = e
    state.degree[keep] += 1
    _put(state, row.u, row.v, e)


@njit(cache=True, nogil=True)
def _kill(state: Contraction, e: int) -> None:
    row = state.row[e]
    row.u, row.v = ~row.u, ~row.v


@njit(cache=True, nogil=True)
def _fill(state: Contraction, edges: I32, cost: I64) -> None:
    for e in range(len(edges)):
        u, v = edges[e, 0], edges[e, 1]
        row = state.row[e]
        row.u, row.v, row.cost = u, v, cost[e]
        row.after_u, state.head[u] = state.head[u], e
        row.after_v, state.head[v] = state.head[v], e
        state.degree[u] += 1
        state.degree[v] += 1
        _put(state, u, v, e)


@njit(cache=True, nogil=True, inline="always")
def _hash(u: int, v: int) -> np.uint64:
    """32 bits for a pair of nodes in either order."""
    key = ((np.uint64(min(u, v)) << HALF) | np.uint64(max(u, v))) * GOLDEN
    return (key ^ (key >> np.uint64(29))) & LOW


@njit(cache=True, nogil=True)
def _put(state: Contraction, u: int, v: int, e: int) -> None:
    key, mask = _hash(u, v), np.uint64(state.table.size - 1)
    at = key & mask
    while state.table[at] != FREE:
        at = (at + ONE) & mask
    state.table[at] = (key << HALF) | np.uint64(e + 1)
    state.used[0] += 1


@njit(cache=True, nogil=True)
def _find(state: Contraction, u: int, v: int) -> int:
    """The living edge between two nodes, or NONE."""
    key, mask = _hash(u, v), np.uint64(state.table.size - 1)
    at = key & mask
    while state.table[at] != FREE:
        entry = state.table[at]
        if entry >> HALF == key:
            e = np.int64(entry & LOW) - 1
            row = state.row[e]
            if (row.u == u and row.v == v) or (row.u == v and row.v == u):
                return int(e)
        at = (at + ONE) & mask
    return NONE


@njit(cache=True, nogil=True)
def _rebuild(state: Contraction) -> None:
    """Fill the table anew with living edges alone."""
    state.table[:] = FREE
    state.used[0] = 0
    for e in range(state.row.size):
        if state.row[e].u >= 0:
            _put(state, state.row[e].u, state.row[e].v, e)
