"""Small graphs for the solvers' tests."""

from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from cellflow.core.graphs import Graph


def graph_of(n_nodes, rows, weights, sizes=None):
    """Graph whose signed weight at beta 0.5 is `weights`: boundary = 0.5 - weight."""
    edges = np.array(rows, dtype=np.int64).reshape(-1, 2)
    sizes = np.ones(len(edges)) if sizes is None else sizes
    return Graph(n_nodes, edges, 0.5 - np.asarray(weights, dtype=float), np.asarray(sizes, dtype=float))


def random_graph(seed, max_nodes, density=None):
    """Random graph of at most `max_nodes` nodes; weights are floats drawn from a continuum, so no ties."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, max_nodes + 1))
    pairs = np.array(list(combinations(range(n), 2)), dtype=np.int64).reshape(-1, 2)
    edges = pairs[rng.random(len(pairs)) < (rng.uniform(0.2, 1) if density is None else density)]
    sizes = rng.integers(1, 20, len(edges)).astype(float)
    return Graph(n, edges, rng.random(len(edges)), sizes)


def random_graphs(max_nodes):
    return st.integers(0, 2**32 - 1).map(lambda seed: random_graph(seed, max_nodes))


def permuted(graph, seed):
    """The same graph with its nodes renumbered, and the new number of every old node."""
    new = np.random.default_rng(seed).permutation(graph.n_nodes)
    edges = np.sort(new[graph.edges], axis=1)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    return Graph(graph.n_nodes, edges[order], graph.boundary[order], graph.sizes[order]), new


def numbered(labels):
    """Labels as a list, renumbered by first occurrence."""
    seen = {}
    return [seen.setdefault(x, len(seen)) for x in np.asarray(labels).tolist()]
