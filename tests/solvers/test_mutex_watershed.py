"""Mutex watershed against a reference that keeps its exclusions in a plain set."""

import numpy as np
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


@given(graph=random_graphs(12))
@settings(max_examples=60, deadline=None)
def test_agglomeration_by_the_strongest_evidence_gives_the_same(graph):
    """The theorem of Bailoni et al. ties two solvers with nothing in common in their code."""
    assert MutexWatershed()(graph).labels.tolist() == Gasp(linkage="abs_max")(graph).labels.tolist()
