"""A graph whose nodes are joined by labels: parallel edges become one, with the sum of their costs."""

import numpy as np
from numba import njit

from cellflow.core.multicut.signed import I32, I64, Flags, SignedGraph


def aggregated(graph: SignedGraph, labels: I64, n_labels: int) -> SignedGraph:
    """The graph of the labels 0..n_labels - 1, with edges sorted by (u, v).

    Edges inside a label are dropped; one that stands for a local edge is local. Two counting sorts: linear
    time, 8 bytes per edge besides the result. With `labels = arange(n)` it adds up pairs that occur twice.
    """
    return SignedGraph(n_labels, *_aggregated(graph.edges, graph.cost, graph.local, labels, n_labels))


@njit(cache=True, nogil=True)
def _aggregated(edges: I32, cost: I64, local: Flags, labels: I64, n: int) -> tuple[I32, I64, Flags]:
    by_second: I32 = _by_second(edges, labels, n)
    first = np.zeros(n + 1, np.int64)
    for e in by_second:
        first[min(labels[edges[e, 0]], labels[edges[e, 1]]) + 1] += 1
    for node in range(n):
        first[node + 1] += first[node]
    row = np.empty(by_second.size, np.int32)
    for e in by_second:  # stable, so rows of the same first label stay sorted by the second
        u = min(labels[edges[e, 0]], labels[edges[e, 1]])
        row[first[u]] = e
        first[u] += 1
    summed: tuple[I32, I64, Flags] = _summed(edges, cost, local, labels, row)
    return summed


@njit(cache=True, nogil=True)
def _by_second(edges: I32, labels: I64, n: int) -> I32:
    """Numbers of the edges between different labels, by the larger of the two."""
    first = np.zeros(n + 1, np.int64)
    for e in range(len(edges)):
        a, b = labels[edges[e, 0]], labels[edges[e, 1]]
        if a != b:
            first[max(a, b) + 1] += 1
    for node in range(n):
        first[node + 1] += first[node]
    row = np.empty(first[n], np.int32)
    for e in range(len(edges)):
        a, b = labels[edges[e, 0]], labels[edges[e, 1]]
        if a != b:
            row[first[max(a, b)]] = e
            first[max(a, b)] += 1
    return row


@njit(cache=True, nogil=True)
def _summed(edges: I32, cost: I64, local: Flags, labels: I64, row: I32) -> tuple[I32, I64, Flags]:
    """One edge for each run of rows with the same two labels."""
    count, u_before, v_before = 0, np.int64(-1), np.int64(-1)
    for e in row:
        a, b = labels[edges[e, 0]], labels[edges[e, 1]]
        u, v = min(a, b), max(a, b)
        count += u != u_before or v != v_before
        u_before, v_before = u, v
    pairs, total = np.empty((count, 2), np.int32), np.zeros(count, np.int64)
    flags = np.zeros(count if local.size > 0 else 0, np.bool_)
    at, u_before, v_before = -1, np.int64(-1), np.int64(-1)
    for e in row:
        a, b = labels[edges[e, 0]], labels[edges[e, 1]]
        u, v = min(a, b), max(a, b)
        if u != u_before or v != v_before:
            at += 1
            pairs[at, 0], pairs[at, 1] = u, v
            u_before, v_before = u, v
        total[at] += cost[e]
        if local.size > 0:
            flags[at] |= local[e]
    return pairs, total, flags
