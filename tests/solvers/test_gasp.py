"""Agglomeration against a reference that follows the definition word by word."""

from dataclasses import replace

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


@pytest.mark.parametrize("linkage", LINKAGES)
def test_the_library_finds_the_same_partition(linkage):
    """bioimage-cpp adds weights as they are: a sum over voxel pairs starts from size x weight."""
    for seed in range(20):
        graph = random_graph(seed, 80, density=0.2)
        weights = (0.45 - graph.boundary + 0.1) * (graph.sizes if linkage == "sum" else 1)
        base = UndirectedGraph.from_unique_edges(graph.n_nodes, graph.edges.view(np.uint64))
        labels = GaspClusterPolicy(linkage=linkage).optimize(base, weights, edge_sizes=graph.sizes)
        assert Gasp(linkage=linkage, beta=0.45)(graph).labels.tolist() == numbered(labels)


def chain(far, size=1):
    """0 - 1 - 2 in a row attract with 0.2 and 0.1; 0 and 2 do not touch and have this weight."""
    further = graph_of(3, [(0, 2)], [far], [size])
    return replace(graph_of(3, [(0, 1), (1, 2)], [0.2, 0.1]), long_range=further)


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("cannot_link", [False, True])
def test_long_range_attraction_forbids_nothing_and_merges_nothing_by_itself(linkage, cannot_link):
    solver = Gasp(linkage=linkage, cannot_link=cannot_link)
    assert solver(chain(0.5)).labels.tolist() == [0, 0, 0]
    apart = replace(graph_of(3, [(0, 1), (1, 2)], [-0.2, -0.1]), long_range=graph_of(3, [(0, 2)], [0.5]))
    assert solver(apart).labels.tolist() == [0, 1, 2]


def test_long_range_attraction_counts_once_its_segments_touch():
    """1 and 2 repel each other, but together with 1 node 0 attracts 2 by more."""
    graph = graph_of(3, [(0, 1), (1, 2)], [0.2, -0.1])
    assert Gasp()(graph).labels.tolist() == [0, 0, 1]
    assert Gasp()(replace(graph, long_range=graph_of(3, [(0, 2)], [0.3]))).labels.tolist() == [0, 0, 0]


def test_long_range_repulsion_outvotes_a_merge_by_its_size():
    assert Gasp()(chain(-0.1, size=1)).labels.tolist() == [0, 0, 1]
    assert Gasp()(chain(-0.05, size=1)).labels.tolist() == [0, 0, 0]
    assert Gasp()(chain(-0.05, size=4)).labels.tolist() == [0, 0, 1]
    assert Gasp(linkage="max")(chain(-0.5)).labels.tolist() == [0, 0, 0]


def test_a_repulsion_that_comes_up_first_is_never_outweighed_under_constraints():
    """0 and 2 repel most of all; the large contact of 1 and 2 would outweigh that once 0 and 1 are one."""
    graph = graph_of(3, [(0, 1), (0, 2), (1, 2)], [0.2, -0.4, 0.1], sizes=[1, 1, 20])
    assert Gasp()(graph).labels.tolist() == [0, 0, 0]
    assert Gasp(cannot_link=True)(graph).labels.tolist() == [0, 0, 1]
