"""Merges one after the other, always for the strongest row that is left.

For what `rounds` leaves: sums, which grow when rows combine; nodes that far evidence holds until it is
near; long chains of merges. Each node has a list of its rows, a hash table finds the row of a pair, a heap
the strongest row. A merge moves the rows of the node that has fewer, so that m rows take O(m log^2 m) at
most. Takes 32 to 40 bytes a row besides the rows.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from cellflow.core.agglomeration.pairs import GONE, Pairs, enter, find, pairs
from cellflow.core.agglomeration.queue import Queue, queue, settle
from cellflow.core.agglomeration.rounds import FREE, HELD, I32, I64, Clusters, Rows, Rule
from cellflow.core.linkage import FORBIDDEN, LOCAL, MIN, SUM, Row, combine


class Lists(NamedTuple):
    """The rows of each node, linked. Row i is element 2i in one list and 2i + 1 in the other."""

    head: I32
    tail: I32
    after: I32
    length: I64


class State(NamedTuple):
    """All that a merge changes besides rows and clusters."""

    lists: Lists
    pairs: Pairs
    queue: Queue


@njit(cache=True, nogil=True)
def greedy(rows: Rows, clusters: Clusters, rule: Rule) -> I64:
    """Merge all that is left to be merged; the ranks of the pairs that were forbidden. Uses the rows up.

    In a part of a graph only while the strongest row of both nodes is the one between them: that is
    certain, as in `rounds`. Not so for sums, which might have grown by what lies elsewhere.
    """
    state = State(_lists(rows, clusters.smallest.size), pairs(rows), queue(rows, _candidates(rows, rule)))
    ranks, forbidden = np.empty(rows.size if rule.cannot_link else 0, np.int64), 0
    while state.queue.size[0] > 0:
        i = state.queue.item[0]
        settle(state.queue, rows, i, False)
        u, v = rows[i].u, rows[i].v
        known = clusters.state[u] == FREE and clusters.state[v] == FREE
        if rule.partial and not (known and (rows[i].value < 0 or rows[i].tag & LOCAL)):
            clusters.state[u], clusters.state[v] = max(clusters.state[u], HELD), max(clusters.state[v], HELD)
        elif rows[i].value < 0:
            ranks[forbidden] = rows[i].tag >> 2
            forbidden += 1
            rows[i].tag |= FORBIDDEN
        else:
            rows[i].u = rows[i].v = GONE
            if state.lists.length[u] < state.lists.length[v]:
                u, v = v, u
            _join(clusters, u, v)
            _move(rows, state, (u, v), rule)
    return ranks[:forbidden]


@njit(cache=True, nogil=True)
def _candidate(row: Row, rule: Rule) -> bool:
    """Whether something happens once this row is the strongest."""
    if row.tag & FORBIDDEN or row.value == 0:
        return False
    if row.value < 0:
        return rule.cannot_link
    # In a part of a graph far evidence holds its nodes: it may become near elsewhere, and be strongest.
    return row.tag & LOCAL != 0 or (rule.partial and rule.linkage not in (MIN, SUM))


@njit(cache=True, nogil=True)
def _candidates(rows: Rows, rule: Rule) -> I32:
    found, count = np.empty(rows.size, np.int32), 0
    for i in range(rows.size):
        if _candidate(rows[i], rule):
            found[count] = i
            count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def _lists(rows: Rows, n: int) -> Lists:
    head, tail, after = np.full(n, -1, np.int32), np.full(n, -1, np.int32), np.empty(2 * rows.size, np.int32)
    lists = Lists(head, tail, after, np.zeros(n, np.int64))
    for i in range(rows.size):
        _append(lists, rows[i].u, 2 * i)
        _append(lists, rows[i].v, 2 * i + 1)
    return lists


@njit(cache=True, nogil=True)
def _append(lists: Lists, node: int, element: int) -> None:
    if lists.head[node] < 0:
        lists.head[node] = element
    else:
        lists.after[lists.tail[node]] = element
    lists.tail[node] = element
    lists.after[element] = -1
    lists.length[node] += 1


@njit(cache=True, nogil=True)
def _join(clusters: Clusters, keep: int, gone: int) -> None:
    a, b = clusters.smallest[keep], clusters.smallest[gone]
    clusters.smallest[keep] = min(a, b)
    clusters.parent[max(a, b)] = min(a, b)


@njit(cache=True, nogil=True)
def _move(rows: Rows, state: State, nodes: tuple[int, int], rule: Rule) -> None:
    """Give the rows of the second node to the first, combined with those it has."""
    (lists, pairs, waiting), (keep, gone) = state, nodes
    element = lists.head[gone]
    while element >= 0:
        i, following = element >> 1, lists.after[element]
        if rows[i].u != GONE:
            other = rows[i].u + rows[i].v - gone
            there = find(pairs, rows, keep, other)
            if there < 0:
                rows[i].u, rows[i].v = keep, other
                enter(pairs, rows, i)
                _append(lists, keep, element)
            else:
                settle(waiting, rows, i, False)
                rows[i].u = rows[i].v = GONE
                combine(rows[there], rows[i], rule.linkage)
                settle(waiting, rows, there, _candidate(rows[there], rule))
        element = following
