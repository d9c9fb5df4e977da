"""Merges that are certain, many in each pass over the rows.

Two rows combined by mean, max, min or abs_max are never stronger than the stronger of them. So if a row
attracts, may be merged, and is stronger than all else that could be merged for at both of its nodes, then
nothing happens to either of them before they merge with each other, wherever else rows are stronger. All
such rows are contracted at once, and what comes out is the same as from the strongest row down, one by
one: the argument of nearest-neighbour chains (Benzecri 1982; Mullner, arXiv:1109.2378).

With abs_max, where far evidence only repels, more is certain. A node that is drawn by a row more strongly
than anything repels it merges along that row, whatever its neighbour does before: what speaks against is
weaker. So whole chains of nodes are contracted at once (Boruvka 1926). Far evidence that attracts could be
let in by such a merge before its time.

With cannot-link constraints a row that repels, and is stronger than all that attracts at both of its
nodes, comes up before either of them has merged: the two are forbidden at once. What attracts less than
such a row waits until it is forbidden.

A frozen node belongs to another block: what else is there is unknown, and it takes no part. A node is held
once what attracts most there leads to a frozen or held node, or is far evidence that is strongest at both
of its nodes: in this block it cannot merge any more.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.linkage import FORBIDDEN, LOCAL, MIN, ROW, combine, stronger
from cellflow.core.union import join

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Rows = NDArray[Any]

FREE, HELD, FROZEN = 0, 1, 2


class Rule(NamedTuple):
    """How to agglomerate: the code of the linkage, whether what repels forbids, whether nodes are frozen."""

    linkage: int
    cannot_link: bool
    partial: bool
    chains: bool
    """Abs_max without cannot-link, and all that attracts is local."""


class Clusters(NamedTuple):
    """The nodes of an array of rows. They are numbered in the order of their smallest original node."""

    smallest: I64
    """The smallest original node of each."""
    state: U8
    parent: I64
    """For each original node a smaller one of its cluster; the smallest is its own."""


class Round(NamedTuple):
    """What a round has left, and what it has done."""

    rows: Rows
    clusters: Clusters
    forbidden: I64
    """Ranks of the rows whose pairs were forbidden."""
    merges: int


def merge_certain(rows: Rows, clusters: Clusters, rule: Rule) -> Round:
    """One round. No rows are left where nothing can happen any more; a round that does nothing is the last.

    Not for sums. Linear in rows, about 10 ns each; takes as much memory as the rows.
    """
    n = clusters.smallest.size
    best, waits = _strongest(rows, n, rule.linkage), np.zeros(n, np.uint8)
    forbidden = _forbid(rows, best, clusters.state, waits) if rule.cannot_link else np.empty(0, np.int64)
    into, merges = _pair(rows, best, clusters.state, waits, _drawn(rows, best, rule))
    if rule.partial and not merges and not forbidden.size:
        return Round(rows[:0], clusters, forbidden, 0)
    rows, n = _contract(rows, best, into, clusters, rule)
    left = Clusters(clusters.smallest[:n], clusters.state[:n], clusters.parent)
    return Round(rows, left, forbidden, merges)


@njit(cache=True, nogil=True)
def _strongest(rows: Rows, n: int, linkage: int) -> I32:
    """The row that attracts most at each node, or -1 where there is none: that node never merges again."""
    best = np.full(n, -1, np.int32)
    for i in range(rows.size):
        row = rows[i]
        if row.value <= 0 or row.tag & FORBIDDEN:
            continue
        # Far evidence is merged for once it is combined with near: the minimum is then not above the near.
        if linkage == MIN and not row.tag & LOCAL:
            continue
        for node in (row.u, row.v):
            if best[node] < 0 or stronger(row, rows[best[node]]):
                best[node] = i
    return best


@njit(cache=True, nogil=True)
def _forbid(rows: Rows, best: I32, state: U8, waits: U8) -> I64:
    """Forbid all pairs that can be forbidden for certain; their ranks. Flags the nodes that must wait."""
    ranks, count = np.empty(64, np.int64), 0
    for i in range(rows.size):
        row = rows[i]
        if row.value >= 0 or row.tag & FORBIDDEN:
            continue
        at_u = best[row.u] < 0 or stronger(row, rows[best[row.u]])
        at_v = best[row.v] < 0 or stronger(row, rows[best[row.v]])
        if at_u and at_v and state[row.u] == FREE and state[row.v] == FREE:
            if count == ranks.size:
                ranks = np.append(ranks, np.empty_like(ranks))
            ranks[count] = row.tag >> 2
            row.tag |= FORBIDDEN
            count += 1
        else:
            waits[row.u] |= at_u
            waits[row.v] |= at_v
    return ranks[:count]


@njit(cache=True, nogil=True)
def _drawn(rows: Rows, best: I32, rule: Rule) -> Flags:
    """Whether what attracts most at each node is stronger than all that repels there: it may follow."""
    if not rule.chains:
        return np.zeros(best.size, np.bool_)
    drawn = best >= 0
    for i in range(rows.size):
        row = rows[i]
        if row.value > 0 and not row.tag & FORBIDDEN:
            continue
        for node in (row.u, row.v):
            if drawn[node] and (row.tag & FORBIDDEN or stronger(row, rows[best[node]])):
                drawn[node] = False
    return drawn


@njit(cache=True, nogil=True)
def _pair(rows: Rows, best: I32, state: U8, waits: U8, drawn: Flags) -> tuple[I32, int]:
    """For each node the smallest one that it merges with, perhaps itself; and how many merge. Holds nodes."""
    into, count = np.arange(best.size).astype(np.int32), 0
    for node in range(best.size):
        i = best[node]
        if i < 0 or state[node] != FREE:
            continue
        other = rows[i].u + rows[i].v - node
        if state[other] != FREE:
            state[node] = HELD
        elif best[other] == i and not rows[i].tag & LOCAL:
            state[node] = state[other] = HELD
        elif (
            rows[i].tag & LOCAL and not waits[node] and not waits[other] and (drawn[node] or best[other] == i)
        ):
            count += join(into, node, other)
    for node in range(best.size):
        into[node] = into[into[node]]
    return into, count


@njit(cache=True, nogil=True)
def _contract(rows: Rows, best: I32, into: I32, clusters: Clusters, rule: Rule) -> tuple[Rows, int]:
    """The rows between what the nodes have become, combined; and how many nodes that are.

    Nodes that never merge again are left out; of a part of a graph also the rows of two nodes that cannot
    merge in this part.
    """
    new, n = _numbered(best, into, clusters)
    stop = np.zeros(n + 1, np.int64)
    for row in rows:
        u, v = new[row.u], new[row.v]
        if _kept(u, v, clusters.state, rule):
            stop[min(u, v) + 1] += 1
    for node in range(n):
        stop[node + 1] += stop[node]
    out = np.empty(stop[n], ROW)
    for i in range(rows.size):
        u, v = new[rows[i].u], new[rows[i].v]
        if _kept(u, v, clusters.state, rule):
            place = stop[min(u, v)]
            stop[min(u, v)] += 1
            out[place] = rows[i]
            out[place].u, out[place].v = min(u, v), max(u, v)
    return out[: _combined(out, stop[:n], rule.linkage)], n


@njit(cache=True, nogil=True)
def _numbered(best: I32, into: I32, clusters: Clusters) -> tuple[I32, int]:
    """The new number of each node, -1 for the finished; and how many are left. Clusters are renumbered."""
    smallest, state, parent = clusters
    new, n = np.full(best.size, -1, np.int32), 0
    for node in range(best.size):
        if into[node] != node:
            new[node] = new[into[node]]
            parent[smallest[node]] = smallest[new[node]]
        elif best[node] >= 0 or state[node] != FREE:
            new[node], smallest[n], state[n] = n, smallest[node], state[node]
            n += 1
    return new, n


@njit(cache=True, nogil=True, inline="always")
def _kept(u: int, v: int, state: U8, rule: Rule) -> bool:
    return u >= 0 and v >= 0 and u != v and not (rule.partial and state[u] != FREE and state[v] != FREE)


@njit(cache=True, nogil=True)
def _combined(rows: Rows, stop: I64, linkage: int) -> int:
    """Combine the rows of equal pairs in place; how many are left. Those of node u end at `stop[u]`."""
    place, i, count = np.full(stop.size, -1, np.int64), 0, 0
    for node in range(stop.size):
        first = count
        while i < stop[node]:
            v = rows[i].v
            if place[v] >= first:
                combine(rows[place[v]], rows[i], linkage)
            else:
                place[v] = count
                rows[count] = rows[i]
                count += 1
            i += 1
    return count
