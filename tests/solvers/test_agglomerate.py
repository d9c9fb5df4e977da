"""Merging by a boundary threshold, a number or a quantile of the edges."""

import numpy as np
import pytest
from hypothesis import given
from pydantic import ValidationError
from toy_graphs import random_graph, random_graphs

from cellflow.core.graphs import Graph
from cellflow.solvers import Agglomerate, Gasp, MutexWatershed

QUANTILES = ("q0", "q0.3", "q0.8", "q1")


def row_of_five(boundaries=(0.1, 0.2, 0.6, 0.3)):
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    return Graph(5, edges, np.array(boundaries), np.ones(4))


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        (0, [0, 1, 2, 3, 4]),
        (0.1, [0, 1, 2, 3, 4]),
        (0.15, [0, 0, 1, 2, 3]),
        (0.3, [0, 0, 0, 1, 2]),
        (0.31, [0, 0, 0, 1, 1]),
        (1, [0, 0, 0, 0, 0]),
    ],
)
def test_boundaries_below_the_threshold_are_merged(threshold, labels):
    for linkage in ("mean", "max", "min"):
        found = Agglomerate(threshold=threshold, linkage=linkage)(row_of_five())
        assert found.labels.tolist() == labels
        assert found.facts["threshold"] == threshold


def test_the_linkages_weigh_two_contacts_of_one_pair():
    """0 and 1 merge first; 2 then touches both, by 0.2 over one voxel pair and by 0.6 over three."""
    edges = np.array([[0, 1], [0, 2], [1, 2]])
    graph = Graph(3, edges, np.array([0.1, 0.2, 0.6]), np.array([1.0, 1, 3]))
    assert Agglomerate(threshold=0.4, linkage="max")(graph).labels.tolist() == [0, 0, 0]
    assert Agglomerate(threshold=0.4, linkage="mean")(graph).labels.tolist() == [0, 0, 1]
    assert Agglomerate(threshold=0.51, linkage="mean")(graph).labels.tolist() == [0, 0, 0]
    assert Agglomerate(threshold=0.51, linkage="min")(graph).labels.tolist() == [0, 0, 1]


@given(graph=random_graphs(12))
def test_it_is_gasp_by_another_parameter(graph):
    for linkage in ("mean", "max", "min"):
        found = Agglomerate(threshold=0.4, linkage=linkage)(graph).labels
        assert found.tolist() == Gasp(beta=0.6, linkage=linkage)(graph).labels.tolist()


def test_a_quantile_stands_for_the_boundary_that_this_share_of_edges_lies_below():
    graph = random_graph(3, 60, density=0.4)
    exact = np.quantile(graph.boundary, 0.3, method="inverted_cdf")
    found = Agglomerate(threshold="q0.3")(graph)
    assert found.facts["threshold"] == pytest.approx(exact, abs=2**-16)
    assert found.labels.tolist() == Agglomerate(threshold=found.facts["threshold"])(graph).labels.tolist()
    for solver in (Gasp, MutexWatershed):
        found = solver(beta="q0.3")(graph)
        assert found.facts["beta"] == pytest.approx(1 - exact, abs=2**-16)
        assert found.labels.tolist() == solver(beta=found.facts["beta"])(graph).labels.tolist()


def test_long_range_pairs_have_no_say_in_a_quantile():
    graph = row_of_five()
    further = Graph(5, np.array([[0, 2], [1, 3]]), np.array([0.9, 1.0]), np.ones(2))
    with_them = Graph(5, graph.edges, graph.boundary, graph.sizes, further)
    solver = Agglomerate(threshold="q0.5")
    assert solver(with_them).facts["threshold"] == solver(graph).facts["threshold"]


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 1.0])
def test_where_all_boundaries_are_equal_no_quantile_merges_anything(value):
    graph = row_of_five([value] * 4)
    for quantile in QUANTILES:
        for solver in (Agglomerate(threshold=quantile), Gasp(beta=quantile), MutexWatershed(beta=quantile)):
            assert solver(graph).labels.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_graphs_without_edges_have_a_threshold_too(n):
    graph = Graph(n, np.empty((0, 2), np.int64), np.empty(0), np.empty(0))
    for solver in (Agglomerate(threshold="q0.8"), Gasp(beta="q0.8"), MutexWatershed(beta="q0.8")):
        found = solver(graph)
        assert found.labels.tolist() == list(range(n))
        assert {*found.facts.values()} == {n, 0, 0.5}


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "q1.5", "0.8q", "eighty"])
def test_other_thresholds_are_refused(threshold):
    with pytest.raises(ValidationError, match="threshold"):
        Agglomerate(threshold=threshold)
