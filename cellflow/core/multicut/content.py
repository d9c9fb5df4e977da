"""Names and noise that come from the costs of a graph, and not from how its nodes happen to be numbered."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.multicut.signed import I32, I64, SignedGraph

U64 = NDArray[np.uint64]


def content_order(graph: SignedGraph) -> I64:
    """The nodes in an order that does not depend on their numbers, unless their surroundings look alike.

    Sorted by a hash of the costs around each node and around its neighbours; equal ones by their numbers.
    """
    return np.argsort(_keys(graph.n_nodes, graph.edges, graph.cost), kind="stable")


@njit(cache=True, nogil=True)
def noisy(edges: I32, cost: I64, strength: float, seed: int) -> I64:
    """Costs times 1 + `strength` times noise of mean 0 and variance 1, drawn for each pair of node numbers.

    The noise is a sum of four uniform numbers: within 3.5 standard deviations. Seeds 0.. give other noise.
    """
    result = np.empty_like(cost)
    for e in range(len(edges)):
        pair = (np.uint64(edges[e, 0]) << np.uint64(32)) | np.uint64(edges[e, 1])
        bits = _mixed(pair + _mixed(np.uint64(seed + 1)))
        total = 0.0
        for _ in range(4):
            total += float(bits & np.uint64(0xFFFF))
            bits >>= np.uint64(16)
        noise = (total / 65535 - 2) * np.sqrt(3.0)
        result[e] = np.int64(np.rint(cost[e] * (1 + strength * noise)))
    return result


@njit(cache=True, nogil=True)
def _keys(n_nodes: int, edges: I32, cost: I64) -> U64:
    """Two rounds of hashing: sums, so that the order of the neighbours plays no part."""
    key = np.zeros(n_nodes, np.uint64)
    for e in range(len(edges)):
        bits = _mixed(np.uint64(cost[e]))
        key[edges[e, 0]] += bits
        key[edges[e, 1]] += bits
    further = np.zeros(n_nodes, np.uint64)
    for e in range(len(edges)):
        u, v = edges[e, 0], edges[e, 1]
        bits = np.uint64(cost[e])
        further[u] += _mixed(key[v] + bits)
        further[v] += _mixed(key[u] + bits)
    for node in range(n_nodes):
        key[node] += _mixed(further[node])
    return key


@njit(cache=True, nogil=True, inline="always")
def _mixed(x: np.uint64) -> np.uint64:
    """64 bits that all depend on all of x (the finisher of splitmix64, Steele et al., OOPSLA 2014)."""
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
