"""Small multicuts with whole costs, and all there is to know about them, by trying every partition."""

from functools import cache
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from cellflow.core.multicut.signed import SignedGraph, energy, segments

numbers = st.integers(0, 2**32 - 1)


def graph_of(n_nodes, rows, lifted=None):
    """A graph of rows `(u, v, cost)`."""
    rows = np.array(rows, np.int64).reshape(-1, 3)
    local = np.empty(0, bool) if lifted is None else ~np.array(lifted, bool)
    return SignedGraph(n_nodes, rows[:, :2].astype(np.int32), rows[:, 2].copy(), local)


def drawn(number, most=7, largest=9, *, lifted=False):
    """A random graph of at most `most` nodes; few values, so that many costs are equal or zero."""
    rng = np.random.default_rng(number)
    n = int(rng.integers(1, most + 1))
    density = rng.uniform(0.3, 1)
    pairs = [pair for pair in combinations(range(n), 2) if rng.random() < density]
    low = -int(rng.integers(0, largest + 1))
    rows = [(u, v, int(rng.integers(low, largest + 1))) for u, v in pairs]
    return graph_of(n, rows, rng.random(len(rows)) < 0.4 if lifted else None)


def noisy_cells(number, n_nodes=300, cells=12):
    """Nodes on a ring with 10 neighbours each: attraction inside cells, repulsion between, and much noise."""
    rng = np.random.default_rng(number)
    u = np.repeat(np.arange(n_nodes), 5)
    v = (u + np.tile(np.arange(1, 6), n_nodes)) % n_nodes
    same = u * cells // n_nodes == v * cells // n_nodes
    cost = np.rint(rng.normal(np.where(same, 0.6, -0.6), 1) * 2**20)
    rows = np.stack([np.minimum(u, v), np.maximum(u, v), cost], axis=1)
    return graph_of(n_nodes, rows[np.lexsort((rows[:, 1], rows[:, 0]))])


@cache
def partitions(n):
    """All partitions of n nodes, a row each: 877 for 7 nodes."""
    rows = np.zeros((1, 1), np.int64)
    for _ in range(n - 1):
        rows = np.vstack([[*row, label] for row in rows for label in range(row.max() + 2)])
    return rows


def cut(graph, labels):
    """The energy of labels."""
    return energy(graph.edges, graph.cost, np.asarray(labels, np.int64))


def made_of(graph, labels):
    """What local edges connect inside labels."""
    return segments(graph.n_nodes, graph.edges, graph.local, np.asarray(labels, np.int64))


def optimum(graph):
    """The lowest energy of all partitions into connected segments."""
    return min(cut(graph, made_of(graph, labels)) for labels in partitions(graph.n_nodes))


def random_segments(graph, number):
    """Some segments, numbered by smallest node."""
    rng = np.random.default_rng(number)
    return made_of(graph, rng.integers(0, rng.integers(1, graph.n_nodes + 1), graph.n_nodes))
