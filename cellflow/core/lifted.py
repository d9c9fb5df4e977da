"""What nuclei say of pairs of supervoxels: one nucleus, one cell; two nuclei, two cells.

Two supervoxels are a pair if each has a nucleus and the graph leads from one to the other in a few steps.
Pairs that touch are among them: there, nuclei answer for a membrane that the image does not show.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.graphs import Lifted

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Neighbours = tuple[I64, I64]
"""The neighbours of node i are `ends[first[i]:first[i + 1]]`."""


def nuclei_pairs(n_nodes: int, edges: I64, nucleus: U64, depth: int, most: int) -> tuple[Lifted, int]:
    """The pairs of nodes with nuclei (`nucleus[i]`, 0: none) at most `depth` steps apart; the depth reached.

    Attraction is 1 where both have the same nucleus, -1 where not. At most `most` pairs are made: the depth
    is lowered, whole steps at a time, until they are no more, so that neither the numbering of the nodes
    nor the order of anything decides which are left out; a `most` of the number of edges leaves one step.
    Exact; a breadth-first search from every node with a nucleus, twice. Memory: 16 B an edge, 24 B a node,
    48 B a pair.
    """
    near, every = neighbours(n_nodes, edges), (0, n_nodes)
    reached = depth_within(count_pairs(near, nucleus, every, depth), most)
    return pairs_of(near, nucleus, every, reached), reached


def neighbours(n_nodes: int, edges: I64) -> Neighbours:
    """Those of every node, by edges (m, 2) in any order."""
    first = np.zeros(n_nodes + 1, np.int64)
    np.cumsum(np.bincount(edges.ravel(), minlength=n_nodes), out=first[1:])
    ends = np.empty(2 * len(edges), np.int64)
    _place(edges, first[:-1].copy(), ends)
    return first, ends


def count_pairs(near: Neighbours, nucleus: U64, within: tuple[int, int], depth: int) -> I64:
    """(depth,): pairs at 1, 2, ... steps whose smaller node is one of `within` (start, stop).

    The graph may be a part, if it has all edges that fewer than `depth` steps lead to from these nodes.
    """
    counts: I64 = _count(near, nucleus, within, depth)
    return counts


def depth_within(counts: I64, most: int) -> int:
    """The largest depth at which there are at most so many pairs."""
    return int(np.searchsorted(np.cumsum(counts), most, side="right"))


def pairs_of(near: Neighbours, nucleus: U64, within: tuple[int, int], depth: int) -> Lifted:
    """The pairs at most `depth` steps apart that `count_pairs` counts."""
    pairs = np.empty((int(count_pairs(near, nucleus, within, depth).sum()), 2), np.int64)
    _fill(near, nucleus, within, depth, pairs)
    same = nucleus[pairs[:, 0]] == nucleus[pairs[:, 1]]
    return Lifted(nucleus.size, pairs, np.where(same, 1.0, -1.0))


@njit(cache=True, nogil=True)
def _place(edges: I64, free: I64, ends: I64) -> None:
    for row in range(len(edges)):
        u, v = edges[row]
        ends[free[u]], ends[free[v]] = v, u
        free[u] += 1
        free[v] += 1


@njit(cache=True, nogil=True)
def _count(near: Neighbours, nucleus: U64, within: tuple[int, int], depth: int) -> I64:
    counts = np.zeros(depth, np.int64)
    seen, queue = np.full(nucleus.size, -1), np.empty(nucleus.size, np.int64)
    for u in range(within[0], within[1]):
        if nucleus[u] == 0:
            continue
        start, stop = _start(u, seen, queue)
        for step in range(depth):
            start, stop = _step(near, u, seen, queue, start, stop)
            for v in queue[start:stop]:
                counts[step] += v > u and nucleus[v] != 0
    return counts


@njit(cache=True, nogil=True)
def _fill(near: Neighbours, nucleus: U64, within: tuple[int, int], depth: int, pairs: I64) -> None:
    seen, queue = np.full(nucleus.size, -1), np.empty(nucleus.size, np.int64)
    row = 0
    for u in range(within[0], within[1]):
        if nucleus[u] == 0:
            continue
        start, stop = _start(u, seen, queue)
        for _ in range(depth):
            start, stop = _step(near, u, seen, queue, start, stop)
        found = queue[1:stop]
        for v in np.sort(found[(found > u) & (nucleus[found] != 0)]):
            pairs[row, 0], pairs[row, 1] = u, v
            row += 1


@njit(cache=True, nogil=True)
def _start(u: int, seen: I64, queue: I64) -> tuple[int, int]:
    seen[u], queue[0] = u, u
    return 0, 1


@njit(cache=True, nogil=True)
def _step(near: Neighbours, u: int, seen: I64, queue: I64, start: int, stop: int) -> tuple[int, int]:
    """One step further out from u: of the nodes in `queue[start:stop]` the new neighbours, behind them."""
    first, ends = near
    last = stop
    for i in range(start, stop):
        for v in ends[first[queue[i]] : first[queue[i] + 1]]:
            if seen[v] != u:
                seen[v], queue[last] = u, v
                last += 1
    return stop, last
