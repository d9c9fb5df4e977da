"""The neighbours of every node, in flat arrays."""

from typing import NamedTuple

import numpy as np
from numba import njit

from cellflow.core.multicut.signed import I32, I64, Flags


class Neighbours(NamedTuple):
    """Those of node v are `first[v]` to `first[v + 1]`: ascending, if the edges are sorted by (u, v)."""

    first: I64
    node: I32
    cost: I64
    local: Flags
    """Empty if all are."""


@njit(cache=True, nogil=True)
def neighbours(n_nodes: int, edges: I32, cost: I64, local: Flags) -> Neighbours:
    """Both directions of every edge; 24 to 26 bytes per edge."""
    m = len(edges)
    first = np.zeros(n_nodes + 1, np.int64)
    for e in range(m):
        first[edges[e, 0] + 1] += 1
        first[edges[e, 1] + 1] += 1
    for v in range(n_nodes):
        first[v + 1] += first[v]
    free = first[:-1].copy()
    node, value = np.empty(2 * m, np.int32), np.empty(2 * m, np.int64)
    flag = np.empty(2 * m if local.size > 0 else 0, np.bool_)
    for e in range(m):
        for side in range(2):
            at = free[edges[e, side]]
            free[edges[e, side]] += 1
            node[at], value[at] = edges[e, 1 - side], cost[e]
            if local.size > 0:
                flag[at] = local[e]
    return Neighbours(first, node, value, flag)
