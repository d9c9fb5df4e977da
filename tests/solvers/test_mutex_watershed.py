"""Mutex watershed against a reference that keeps its exclusions in a plain set."""

from dataclasses import replace

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.mutex_watershed import mutex_watershed_clustering
from hypothesis import given, settings
from toy_graphs import graph_of, numbered, random_graph, random_graphs

from cellflow.core.graphs import Graph
from cellflow.solvers import Gasp, MutexWatershed


def reference(graph, beta, ties=1):
    """Edges by falling strength; `ties=-1` takes equal ones in reverse order."""
    labels, excluded = list(range(graph.n_nodes)), set()
    weights = 1 - graph.boundary - beta
    for i in sorted(range(len(weights)), key=lambda i: (-abs(weights[i]), ties * i)):
        u, v = (labels[node] for node in graph.edges[i])
        if u == v or weights[i] == 0:
            continue
        if weights[i] < 0:
            excluded.add(frozenset((u, v)))
        elif frozenset((u, v)) not in excluded:
            labels = [u if label == v else label for label in labels]
            excluded = {frozenset(u if node == v else node for node in pair) for pair in excluded}
    return numbered(labels)


@given(graph=random_graphs(10))
@settings(max_examples=60, deadline=None)
def test_it_follows_the_definition(graph):
    for beta in (0.3, 0.5):
        assert MutexWatershed(beta=beta)(graph).labels.tolist() == reference(graph, beta)


@given(graph=random_graphs(10))
@settings(max_examples=60, deadline=None)
def test_equal_weights_are_taken_in_the_order_of_the_edges(graph):
    coarse = Graph(graph.n_nodes, graph.edges, np.round(graph.boundary * 4) / 4, graph.sizes)
    assert MutexWatershed()(coarse).labels.tolist() == reference(coarse, 0.5)


def test_the_order_of_equal_weights_matters():
    graph = graph_of(3, [(0, 1), (0, 2), (1, 2)], [0.25, -0.25, 0.25])
    assert MutexWatershed()(graph).labels.tolist() == [0, 0, 1]
    assert reference(graph, 0.5, ties=-1) == [0, 1, 1]


def test_a_larger_graph_follows_the_definition_too():
    graph = random_graph(1, 150, density=0.1)
    assert MutexWatershed(beta=0.4)(graph).labels.tolist() == reference(graph, 0.4)


def test_an_exclusion_outlives_the_merges_of_both_sides():
    """0-1 and 2-3 merge, 0 and 2 exclude each other: the weaker attraction 1-3 comes too late."""
    graph = graph_of(4, [(0, 1), (0, 2), (1, 3), (2, 3)], [0.45, -0.3, 0.2, 0.4])
    assert MutexWatershed()(graph).labels.tolist() == [0, 0, 1, 1]
    assert Gasp(linkage="max")(graph).labels.tolist() == [0, 0, 0, 0]


def by_library(graph, beta=0.5):
    """Edges and long-range pairs that repel become mutex edges of bioimage-cpp."""
    weights, further = 1 - graph.boundary - beta, graph.long_range
    far = 1 - further.boundary - beta
    attractive, repulsive = weights > 0, weights < 0
    exclusive = np.concatenate([graph.edges[repulsive], further.edges[far < 0]])
    return mutex_watershed_clustering(
        UndirectedGraph.from_unique_edges(graph.n_nodes, graph.edges[attractive].view(np.uint64)),
        weights[attractive],
        exclusive.view(np.uint64),
        np.concatenate([-weights[repulsive], -far[far < 0]]),
    )


def test_the_library_finds_the_same_partition_long_range_repulsion_included():
    differs = 0
    for seed in range(30):
        whole = random_graph(seed, 80, density=0.3)
        near = np.random.default_rng(seed).random(len(whole.edges)) < 0.6
        far = ~near & (whole.boundary > 0.5)
        graph, further = (
            Graph(whole.n_nodes, whole.edges[kind], whole.boundary[kind], whole.sizes[kind])
            for kind in (near, far)
        )
        found = MutexWatershed()(replace(graph, long_range=further)).labels.tolist()
        assert found == numbered(by_library(replace(graph, long_range=further)))
        differs += found != MutexWatershed()(graph).labels.tolist()
    assert differs > 10


def test_a_long_range_pair_forbids_a_merge_and_does_not_make_one():
    graph = graph_of(3, [(0, 1), (1, 2)], [0.2, 0.1])
    for weight, labels in [(-0.3, [0, 0, 1]), (-0.05, [0, 0, 0]), (0.3, [0, 0, 0])]:
        further = graph_of(3, [(0, 2)], [weight])
        assert MutexWatershed()(replace(graph, long_range=further)).labels.tolist() == labels
    alone = replace(graph_of(3, [], []), long_range=graph_of(3, [(0, 2)], [0.3]))
    assert MutexWatershed()(alone).labels.tolist() == [0, 1, 2]


@given(graph=random_graphs(12))
@settings(max_examples=60, deadline=None)
def test_constrained_agglomeration_by_the_strongest_evidence_gives_the_same(graph):
    """The theorem of Bailoni et al., where constraints change nothing."""
    solver = Gasp(linkage="abs_max", cannot_link=True)
    assert MutexWatershed()(graph).labels.tolist() == solver(graph).labels.tolist()
