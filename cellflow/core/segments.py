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


def reflood(edges: I64, boundary: F64, segments: I64, dissolved: Flags) -> I64:
    """The segments after those flagged in `dissolved` are flooded again from the others.

    A seeded watershed on the graph: a minimum spanning forest over `edges` (m, 2; node numbers) by their
    boundary value, ties by row, rooted at the segments that stay (watershed cuts, Cousty et al. 2009).
    Nodes that no other segment reaches become 0. Cost: a sort of the edges that touch dissolved nodes.
    """
    free = dissolved[segments]
    touching = free[edges[:, 0]] | free[edges[:, 1]]
    rows = np.flatnonzero(touching)
    rows = rows[np.argsort(boundary[rows], kind="stable")]
    result = np.where(free, 0, segments)
    _grow(np.ascontiguousarray(edges[rows]), result)
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

    `open_` flags segments that touch the border of the volume: they are no holes.
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
    found, first, inverse = np.unique(segments, return_index=True, return_inverse=True)
    cells = found > 0
    rank = np.zeros(found.size, np.int64)
    rank[np.flatnonzero(cells)[np.argsort(first[cells])]] = np.arange(1, cells.sum() + 1)
    return rank[inverse], int(cells.sum())
