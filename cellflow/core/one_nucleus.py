"""A cell has one nucleus: mend segments that have none, or several, on the graph.

`segments[i]` is the segment of node i, above 0; `nucleus[i]` its nucleus, 0 for none. All functions return
new arrays.
"""

import numpy as np
from numpy.typing import NDArray

from cellflow.core.nuclei import Held
from cellflow.core.segments import reflood

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]
Flags = NDArray[np.bool_]


def at_home(segments: I64, known: Held) -> U64:
    """The nucleus of each node, but only where its segment has more of it than any other segment; else 0.

    A nucleus that reaches over a membrane, or that the partition has cut, so counts for one segment alone.
    Ties go to the smaller segment.
    """
    rows = np.flatnonzero(known.nucleus)
    order = rows[np.lexsort((segments[rows], known.nucleus[rows]))]
    ids, places = known.nucleus[order], segments[order]
    first = _changes(ids, places)
    voxels = np.add.reduceat(known.overlap[order], first) if first.size else np.empty(0, np.int64)
    best = np.lexsort((places[first], -voxels, ids[first]))
    home = np.zeros(first.size, np.bool_)
    home[best[_changes(ids[first[best]])]] = True
    found = np.zeros_like(known.nucleus)
    found[order] = np.where(np.repeat(home, np.diff(first, append=ids.size)), ids, 0)
    return found


def nuclei_of(segments: I64, nucleus: U64) -> I64:
    """How many nuclei each segment 0..max has."""
    rows = np.flatnonzero(nucleus)
    order = rows[np.lexsort((nucleus[rows], segments[rows]))]
    first = order[_changes(segments[order], nucleus[order])]
    return np.bincount(segments[first], minlength=int(segments.max(initial=0)) + 1).astype(np.int64)


def split(edges: I64, boundary: F64, segments: I64, nucleus: U64) -> I64:
    """The segments after each that has several nuclei is flooded from them, over its own edges alone.

    The weakest boundaries are crossed first, ties by row. New segments are numbered behind the others, by
    their old segment and their nucleus; nothing else changes. A segment must be connected. Rows that touch
    no such segment may be left out.
    """
    several = nuclei_of(segments, nucleus) > 1
    rows = np.flatnonzero((nucleus > 0) & several[segments])
    order = rows[np.lexsort((nucleus[rows], segments[rows]))]
    first = _changes(segments[order], nucleus[order])
    new = segments.copy()
    new[order] = several.size + np.repeat(np.arange(first.size), np.diff(first, append=order.size))
    inside = (segments[edges[:, 0]] == segments[edges[:, 1]]) & several[segments[edges[:, 0]]]
    dissolved = np.append(several, np.zeros(first.size, np.bool_))
    return reflood(edges[inside], boundary[inside], new, dissolved)


def join(edges: I64, boundary: F64, contacts: I64, segments: I64, orphan: Flags) -> I64:
    """The segments after each that is flagged in `orphan` joins, as a whole, the neighbour it is closest to.

    Closest is the smallest mean boundary over all that they touch (`contacts` voxel pairs an edge); an
    orphan among orphans follows the one that finds a neighbour first. One that touches none stays. Rows
    that touch no orphan may be left out.
    """
    pairs = np.sort(segments[edges], axis=1)
    apart = pairs[:, 0] != pairs[:, 1]
    pairs, size = pairs[apart], contacts[apart].astype(np.float64)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    first = _changes(pairs[order, 0], pairs[order, 1])
    if not first.size:
        return segments.copy()
    total = np.add.reduceat(size[order], first)
    mean = np.add.reduceat((size * boundary[apart])[order], first) / total
    ids = np.arange(orphan.size)
    found = reflood(pairs[order][first], mean, ids, orphan)
    return np.where(found > 0, found, ids)[segments]


def _changes(*columns: NDArray[np.integer]) -> I64:
    """The first row of each run of equal rows."""
    new = np.zeros(columns[0].size, np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)
