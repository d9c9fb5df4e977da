"""A graph with signed whole-number costs, local or lifted edges, and the energy of its partitions."""

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.errors import BadInput

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Flags = NDArray[np.bool_]

SCALE_BITS = 32
"""Costs of graphs that are solved in parts are multiplied by two to this power: every part must do alike."""
LARGEST_SUM = 2**61
"""No sum of absolute costs may reach this, so that no gain of a move overflows."""
NO_FLAGS = np.empty(0, np.bool_)


@dataclass(frozen=True, eq=False)
class SignedGraph:
    """Rows `(u, v)` of `edges` with u < v < n_nodes < 2**31, unique, and an int64 cost for each.

    `local` says which edges connect segments; empty if all of them do. A record, not a check: who makes one
    sees to it.
    """

    n_nodes: int
    edges: I32
    cost: I64
    local: Flags = field(default_factory=lambda: NO_FLAGS)


def fixed_point(costs: F64, bits: int = SCALE_BITS) -> I64:
    """Costs times 2**bits, rounded to int64 (halves to even).

    Raises `BadInput` if a cost is not finite, or if sums of them could overflow.
    """
    total = float(np.abs(costs).sum()) * 2.0**bits
    if not total < LARGEST_SUM:  # NaN is caught here too
        raise BadInput(
            f"multicut costs: expected finite costs with a sum of absolute values below "
            f"{LARGEST_SUM / 2**bits:g}, found {total / 2.0**bits:g}; scale them down"
        )
    whole: I64 = np.rint(np.ldexp(costs, bits)).astype(np.int64)
    return whole


def finest_bits(costs: F64) -> int:
    """The largest number of bits, but one, at which `fixed_point` takes these costs; at most 1000."""
    total = float(np.abs(costs).sum())
    if not 0 < total < np.inf:
        return SCALE_BITS
    return int(min(60 - np.ceil(np.log2(total)), 1000))


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
        u, v = np.int64(edges[e, 0]), np.int64(edges[e, 1])
        if labels[u] != labels[v] or (local.size > 0 and not local[e]):
            continue
        while parent[u] != u:
            parent[u] = parent[parent[u]]
            u = parent[u]
        while parent[v] != v:
            parent[v] = parent[parent[v]]
            v = parent[v]
        parent[max(u, v)] = min(u, v)
    # No parent is larger than its child: one pass upwards meets every root before its members.
    found, count = np.empty(n_nodes, np.int64), 0
    for node in range(n_nodes):
        if parent[node] == node:
            found[node] = count
            count += 1
        else:
            found[node] = found[parent[node]]
    return found
