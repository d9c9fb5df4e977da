"""A graph with signed whole-number costs, local or lifted edges, and the energy of its partitions."""

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.union import join, numbered

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

NO_FLAGS = np.empty(0, np.bool_)


@dataclass(frozen=True, eq=False)
class SignedGraph:
    """Rows `(u, v)` of `edges` with u < v < n_nodes < 2**31, unique, and an int64 cost for each.

    `local` says which edges connect segments; empty if all of them do. A record, not a check: who makes one
    sees to it, and that absolute costs sum to less than 2**62, so that nothing overflows.
    """

    n_nodes: int
    edges: I32
    cost: I64
    local: Flags = field(default_factory=lambda: NO_FLAGS)


@njit(cache=True, nogil=True)
def energy(edges: I32, cost: I64, labels: I64) -> int:
    """Sum of the costs of all edges between different labels."""
    total = 0
    for e in range(len(edges)):
        if labels[edges[e, 0]] != labels[edges[e, 1]]:
            total += cost[e]
    return total


@njit(cache=True, nogil=True)
def lowest(cost: I64) -> int:
    """Sum of all negative costs: no partition has a lower energy."""
    total = 0
    for c in cost:
        total += min(c, 0)
    return total


@njit(cache=True, nogil=True)
def segments(n_nodes: int, edges: I32, local: Flags, labels: I64) -> I64:
    """Segments `(n_nodes,)`: what local edges connect inside the labels; numbered 0.. by smallest node."""
    parent = np.arange(n_nodes)
    for e in range(len(edges)):
        u, v = edges[e, 0], edges[e, 1]
        if labels[u] == labels[v] and (local.size == 0 or local[e]):
            join(parent, u, v)
    found: I64 = numbered(parent)
    return found
