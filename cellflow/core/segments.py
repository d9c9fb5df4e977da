"""Segments as sets of supervoxels: mend them on the graph, without touching a voxel.

`segments[i]` is the segment of node i (0 = none). All functions return a new array.
"""

import numba
import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Flags = NDArray[np.bool_]


def segment_sizes(segments: I64, node_sizes: I64) -> I64:
    """Voxels of each segment 0..max."""
    sizes = np.zeros(int(segments.max(initial=0)) + 1, np.int64)
    np.add.at(sizes, segments, node_sizes)
    return sizes


def touching(edges: I64, boundary: F64, flagged: Flags) -> tuple[I64, F64]:
    """The rows with an end among the nodes that are flagged, in their order."""
    rows = flagged[edges[:, 0]] | flagged[edges[:, 1]]
    return edges[rows], boundary[rows]


def reflood(edges: I64, boundary: F64, segments: I64, dissolved: Flags) -> I64:
    """The segments after those flagged in `dissolved` are flooded again from the others.

    A seeded watershed on the graph: a minimum spanning forest over `edges` (m, 2; node numbers) by their
    boundary value, ties by row, rooted at the segments that stay (watershed cuts, Cousty et al. 2009).
    Nodes that no other segment reaches become 0. Rows that touch no dissolved node change nothing and may
    be left out. Cost: a sort of the edges that do.
    """
    free = dissolved[segments]
    edges, boundary = touching(edges, boundary, free)
    result = np.where(free, 0, segments)
    _grow(edges[np.argsort(boundary, kind="stable")], result)
    return result


@numba.njit(cache=True, nogil=True)
def _find(parent: I64, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=True, nogil=True)
def _grow(edges: I64, segments: I64) -> None:
    """Kruskal's forest: trees merge along rising edges unless both have a segment already."""
    parent = np.arange(segments.size)
    for row in range(edges.shape[0]):
        a, b = _find(parent, edges[row, 0]), _find(parent, edges[row, 1])
        if a == b or (segments[a] > 0 and segments[b] > 0):
            continue
        root, child = (a, b) if segments[a] > 0 else (b, a)
        parent[child] = root
    for i in range(segments.size):
        segments[i] = segments[_find(parent, i)]


def fill_enclosed(edges: I64, segments: I64, sizes: I64, open_: Flags, largest: int) -> I64:
    """The segments after each that has a single neighbour and at most `largest` voxels joins it.

    `open_` flags segments that touch the border of the volume: they are no holes. Rows that touch none but
    open or larger segments change nothing and may be left out.
    """
    pairs = segments[edges]
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    count = np.bincount(pairs[:, 0], minlength=sizes.size)
    only = np.zeros(sizes.size, np.int64)
    only[pairs[:, 0]] = pairs[:, 1]
    hole = (count == 1) & (sizes <= largest) & ~open_ & (only > 0) & (sizes < sizes[only])
    hole[0] = False
    return np.where(hole, only, np.arange(sizes.size))[segments]


def renumber(segments: I64) -> tuple[I64, int]:
    """Segments numbered 1..k by their first node, 0 staying 0; and k."""
    number = np.zeros(int(segments.max(initial=0)) + 1, np.int64)
    result = np.zeros_like(segments)
    return result, _number(segments, number, result)


@numba.njit(cache=True, nogil=True)
def _number(segments: I64, number: I64, result: I64) -> int:
    """Count segments as they come; `number` holds what each of them was given."""
    count = 0
    for i in range(segments.size):
        segment = segments[i]
        if segment == 0:
            continue
        if number[segment] == 0:
            count += 1
            number[segment] = count
        result[i] = number[segment]
    return count
