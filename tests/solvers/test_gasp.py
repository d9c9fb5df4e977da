"""Agglomeration against a reference that follows the definition word by word."""

import numpy as np
import pytest
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.agglomeration import GaspClusterPolicy
from hypothesis import given, settings
from toy_graphs import graph_of, numbered, random_graph, random_graphs

from cellflow.core.graphs import Graph
from cellflow.solvers import Gasp

LINKAGES = ("mean", "sum", "max", "min", "abs_max")
COMBINE = {
    "mean": lambda w, s, x, t: (w * s + x * t) / (s + t),
    "sum": lambda w, _s, x, _t: w + x,
    "max": lambda w, _s, x, _t: max(w, x),
    "min": lambda w, _s, x, _t: min(w, x),
    "abs_max": lambda w, _s, x, _t: max(w, x, key=abs),
}


def reference(graph, beta, linkage):
    """Contract the largest positive weight, combine parallel edges, repeat: O(nodes * edges)."""
    labels, edges = list(range(graph.n_nodes)), {}
    for (u, v), p, size in zip(graph.edges.tolist(), graph.boundary, graph.sizes, strict=True):
        weight = 1 - p - beta
        edges[u, v] = (weight * size if linkage == "sum" else weight), size
    while edges and max(edges.values())[0] > 0:
        u, v = max(edges, key=lambda pair: edges[pair][0])
        del edges[u, v]
        labels = [u if label == v else label for label in labels]
        merged = {}
        for (a, b), (weight, size) in edges.items():
            pair = tuple(sorted((u if a == v else a, u if b == v else b)))
            if pair in merged:
                other, count = merged[pair]
                merged[pair] = COMBINE[linkage](weight, size, other, count), size + count
            else:
                merged[pair] = weight, size
        edges = merged
    return numbered(labels)


@pytest.mark.parametrize("linkage", LINKAGES)
@given(graph=random_graphs(10))
@settings(max_examples=60, deadline=None)
def test_every_linkage_follows_its_definition(linkage, graph):
    for beta in (0.3, 0.5):
        assert Gasp(linkage=linkage, beta=beta)(graph).labels.tolist() == reference(graph, beta, linkage)


@pytest.mark.parametrize("linkage", LINKAGES)
def test_a_larger_graph_follows_the_definition_too(linkage):
    graph = random_graph(1, 150, density=0.1)
    assert Gasp(linkage=linkage, beta=0.4)(graph).labels.tolist() == reference(graph, 0.4, linkage)


def toy():
    """0 and 1 merge first. 2 and 3 then see one attraction and one repulsion each, of different size.

    4, 5, 6 are a triangle that a sum over voxel pairs enters by its large contact 5-6, the other
    linkages by its clear one 4-5.
    """
    rows = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (4, 5), (4, 6), (5, 6)]
    weights = [0.45, 0.4, 0.3, -0.3, -0.4, 0.4, -0.35, 0.3]
    return graph_of(7, rows, weights, sizes=[10, 1, 9, 9, 1, 1, 9, 10])


@pytest.mark.parametrize(
    ("linkage", "labels"),
    [
        ("mean", [0, 0, 1, 0, 2, 2, 3]),
        ("sum", [0, 0, 1, 0, 2, 3, 3]),
        ("max", [0, 0, 0, 0, 1, 1, 1]),
        ("min", [0, 0, 1, 2, 3, 3, 4]),
        ("abs_max", [0, 0, 0, 1, 2, 2, 3]),
    ],
)
def test_the_linkages_differ_on_a_graph_solved_by_hand(linkage, labels):
    assert Gasp(linkage=linkage)(toy()).labels.tolist() == labels


@pytest.mark.parametrize("linkage", ["mean", "sum"])
def test_mean_and_sum_count_voxel_pairs_and_not_edges(linkage):
    graph = toy()
    equal = Graph(graph.n_nodes, graph.edges, graph.boundary, np.ones(len(graph.edges)))
    assert Gasp(linkage=linkage)(equal).labels.tolist() != Gasp(linkage=linkage)(graph).labels.tolist()


def test_the_librarys_own_sum_ignores_sizes():
    """Once this fails, `Gasp` must no longer multiply by the sizes itself."""
    graph = toy()
    base = UndirectedGraph.from_unique_edges(graph.n_nodes, graph.edges.view(np.uint64))
    labels = GaspClusterPolicy(linkage="sum").optimize(base, 0.5 - graph.boundary, edge_sizes=graph.sizes)
    assert numbered(labels) != Gasp(linkage="sum")(graph).labels.tolist()
