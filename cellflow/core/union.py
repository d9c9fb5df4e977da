"""Trees of numbers that are joined: where each leads, and numbers for what they have become."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

I64 = NDArray[np.int64]


@njit(cache=True, nogil=True)
def root(parent: NDArray[Any], i: int) -> int:
    """The root of a tree; halves the way to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def join(parent: NDArray[Any], i: int, j: int) -> bool:
    """Make two trees one, with the smaller root; whether they were two."""
    one, two = root(parent, i), root(parent, j)
    parent[max(one, two)] = min(one, two)
    were_two: bool = one != two
    return were_two


@njit(cache=True, nogil=True)
def numbered(parent: NDArray[Any]) -> I64:
    """The tree of every node, 0.. in the order of their roots. No parent may be larger than its node."""
    # One pass upwards meets every root before its members.
    found, count = np.empty(parent.size, np.int64), 0
    for node in range(parent.size):
        if parent[node] == node:
            found[node] = count
            count += 1
        else:
            found[node] = found[parent[node]]
    return found
