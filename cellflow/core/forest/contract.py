"""Join the trees of one block as far as it is certain; nothing here knows voxels.

1. `follow`: every open tree joins along its lowest pair, all at once, until none can (Boruvka). No order of
   the pairs is needed, and few pairs are left.
2. `ascend`: the pairs that are left, in ascending order, for pieces of plateaus that are perhaps seeds.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.forest.keys import ascending, lower
from cellflow.core.union import root

OPEN, SEED, UNDECIDED = 0, 1, 2

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Exits = tuple[NDArray[np.uint64], I64]
Edges = tuple[I32, I32, NDArray[np.uint64], I64]


def follow(edges: Edges, kind: U8, exits: Exits, parent: I32) -> Edges:
    """Let open trees join until none can; the pairs that are left. `edges` must hold all pairs of trees."""
    before = -1
    while edges[0].size != before:
        before = edges[0].size
        edges = follow_once(edges, kind, exits, parent)
    return edges


def follow_once(edges: Edges, kind: U8, exits: Exits, parent: I32) -> Edges:
    """Let every open tree join along its lowest pair; the pairs that are left between different trees.

    Changes `parent` and `exits`, and the rows in place. `edges` must hold the lowest pair of every open
    tree inside the block; what joined may have a lower one that is not among them.
    """
    a, b, key, pair = edges
    left = _follow(edges, kind, exits, parent)
    return a[:left], b[:left], key[:left], pair[:left]


def ascend(edges: Edges, kind: U8, piece: I64, exits: Exits, parent: I32) -> Edges:
    """One ascending pass over the pairs: `parent` is final then, and the pairs refused are the result."""
    a, b, key, pair = edges
    order = ascending(key, pair)
    edges = a[order], b[order], key[order], pair[order]
    refused = _ascend(edges, kind, piece, exits, parent)
    a, b, key, pair = edges
    return a[refused], b[refused], key[refused], pair[refused]


@numba.njit(cache=True, nogil=True)
def _follow(edges: Edges, kind: U8, exits: Exits, parent: I32) -> int:
    """Keeps the rows between different trees, by their roots, at the front; returns how many."""
    a, b, key, pair = edges
    count = a.size
    exit_key, exit_pair = exits
    lowest = np.full(parent.size, -1, np.int32)
    for row in range(count):
        for tree in (a[row], b[row]):
            best = lowest[tree]
            if kind[tree] == OPEN and (best < 0 or lower(key[row], pair[row], key[best], pair[best])):
                lowest[tree] = row
    for tree in range(parent.size):
        row = lowest[tree]
        if row < 0 or not lower(key[row], pair[row], exit_key[tree], exit_pair[tree]):
            continue
        # Of two trees that choose each other the second finds itself joined already.
        top = root(parent, b[row] if a[row] == tree else a[row])
        if top != tree:
            parent[tree] = top
            if lower(exit_key[tree], exit_pair[tree], exit_key[top], exit_pair[top]):
                exit_key[top], exit_pair[top] = exit_key[tree], exit_pair[tree]
    left = 0
    for row in range(count):
        one, two = root(parent, a[row]), root(parent, b[row])
        if one != two:
            a[left], b[left], key[left], pair[left] = one, two, key[row], pair[row]
            left += 1
    return left


@numba.njit(cache=True, nogil=True)
def _ascend(edges: Edges, kind: U8, piece: I64, exits: Exits, parent: I32) -> I64:
    """Root of every tree after the ascending pass, and the rows of the pairs that were refused."""
    a, b, key, pair = edges
    exit_key, exit_pair = exits
    refused, count = np.empty(a.size, np.int64), 0
    for row in range(a.size):
        one, two = root(parent, a[row]), root(parent, b[row])
        if one == two:
            continue
        alike = kind[one] == UNDECIDED and kind[two] == UNDECIDED and piece[one] == piece[two]
        follows_one = (kind[one] == OPEN or alike) and lower(
            key[row], pair[row], exit_key[one], exit_pair[one]
        )
        follows_two = (kind[two] == OPEN or alike) and lower(
            key[row], pair[row], exit_key[two], exit_pair[two]
        )
        if not (follows_one or follows_two):
            refused[count] = row
            count += 1
            for side in (one, two):
                # An undecided piece may refuse its lowest pair; then no higher one is its lowest.
                if kind[side] == UNDECIDED and lower(key[row], pair[row], exit_key[side], exit_pair[side]):
                    exit_key[side], exit_pair[side] = key[row], pair[row]
            continue
        child, top = (one, two) if follows_one else (two, one)
        parent[child] = top
        if lower(exit_key[child], exit_pair[child], exit_key[top], exit_pair[top]):
            exit_key[top], exit_pair[top] = exit_key[child], exit_pair[child]
    for i in range(parent.size):
        parent[i] = root(parent, i)
    return refused[:count].copy()
