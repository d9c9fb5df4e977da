"""Clusters of nodes that can be moved from one to another at once, each with a list of its nodes."""

from typing import NamedTuple

import numpy as np
from numba import njit

from cellflow.core.multicut.signed import I32, I64

NONE = -1


class Clusters(NamedTuple):
    """There are as many clusters as nodes and one more, so one is always empty; `NONE` ends a list."""

    of: I32
    """The cluster of every node."""
    head: I32
    after: I32
    ahead: I32
    size: I32
    empty: I32
    """Numbers of empty clusters; the next to be used is the last of the first `n_empty`."""
    n_empty: I64


@njit(cache=True, nogil=True)
def clusters(labels: I64) -> Clusters:
    """Clusters of labels 0.. `(n,)`, their nodes in ascending order; 28 bytes per node."""
    n = labels.size
    state = Clusters(
        np.empty(n, np.int32),
        np.full(n + 1, NONE, np.int32),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
        np.zeros(n + 1, np.int32),
        np.empty(n + 1, np.int32),
        np.zeros(1, np.int64),
    )
    for node in range(n - 1, -1, -1):
        enter(state, node, labels[node])
    for cluster in range(n, -1, -1):
        if state.size[cluster] == 0:
            give_back(state, cluster)
    return state


@njit(cache=True, nogil=True)
def enter(state: Clusters, node: int, cluster: int) -> None:
    """Make a node that is in no list the first of this one."""
    state.of[node] = cluster
    first = state.head[cluster]
    state.ahead[node], state.after[node] = NONE, first
    if first != NONE:
        state.ahead[first] = node
    state.head[cluster] = node
    state.size[cluster] += 1


@njit(cache=True, nogil=True)
def leave(state: Clusters, node: int) -> None:
    """Take a node out of the list it is in."""
    cluster, ahead, after = state.of[node], state.ahead[node], state.after[node]
    if ahead == NONE:
        state.head[cluster] = after
    else:
        state.after[ahead] = after
    if after != NONE:
        state.ahead[after] = ahead
    state.size[cluster] -= 1


@njit(cache=True, nogil=True)
def take_empty(state: Clusters) -> int:
    """The number of an empty cluster, to be used or given back."""
    state.n_empty[0] -= 1
    return int(state.empty[state.n_empty[0]])


@njit(cache=True, nogil=True)
def give_back(state: Clusters, cluster: int) -> None:
    """Keep the number of an empty cluster for later."""
    state.empty[state.n_empty[0]] = cluster
    state.n_empty[0] += 1
