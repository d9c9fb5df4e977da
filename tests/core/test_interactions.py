"""Rows of evidence: what they are, how they combine, what is refused."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signed_graphs import LINKAGES, interactions_of, rows_of, selected, signed_graphs, together

from cellflow.core.costs import multicut_costs
from cellflow.core.errors import BadInput
from cellflow.core.graphs import Graph
from cellflow.core.interactions import (
    COST_SCALE,
    SCALE,
    Interactions,
    Ranks,
    contracted,
    merged,
    of_costs,
    of_graph,
)

linkages = pytest.mark.parametrize("linkage", LINKAGES)
ROW = (0, 1, 5, 2, 0, True, False)


def a_graph(long_range=None):
    edges = np.array([[0, 1], [0, 2], [1, 2]])
    return Graph(4, edges, np.array([0.25, 0.5, 1.0]), np.array([3.0, 2.4, 0.2]), long_range)


def far():
    return Graph(4, np.array([[0, 2], [1, 3]]), np.array([0.0, 0.75]), np.array([1.0, 7.0]))


@linkages
@given(drawn=signed_graphs(7), seed=st.integers(0, 1000))
def test_equal_pairs_combine_the_same_in_any_order_and_grouping(linkage, drawn, seed):
    n, rows = drawn
    rng = np.random.default_rng(seed)
    labels, again = rng.integers(0, 4, n), rng.integers(0, 3, 4)
    whole = contracted(rows, again[labels], linkage)
    part = rng.integers(0, 3, len(rows.edges))
    parts = [selected(rows, part == number) for number in rng.permutation(3)]
    assert rows_of(merged(parts, linkage)) == rows_of(rows)
    smaller = [contracted(p, labels, linkage) for p in parts]
    for grouped in ([merged(smaller[:2], linkage), smaller[2]], [smaller[0], merged(smaller[1:], linkage)]):
        assert rows_of(contracted(merged(grouped, linkage), again, linkage)) == rows_of(whole)
    assert rows_of(merged([contracted(s, again, linkage) for s in smaller], linkage)) == rows_of(whole)


@linkages
@given(drawn=signed_graphs(7))
def test_equal_pairs_combine_by_the_definition(linkage, drawn):
    n, rows = drawn
    groups = {}
    for u, v, *piece in rows_of(rows):
        pair = tuple(sorted((u % 3, v % 3)))
        if pair[0] < pair[1]:
            groups.setdefault(pair, []).append(tuple(piece))
    expected = [
        [*pair, *reduce(lambda a, b: together(a, b, linkage), groups[pair])] for pair in sorted(groups)
    ]
    assert rows_of(contracted(rows, np.arange(n) % 3, linkage)) == expected


def test_nothing_merges_to_nothing():
    assert rows_of(merged([], "mean")) == []
    assert rows_of(contracted(interactions_of([]), np.arange(3), "mean")) == []


@linkages
def test_large_node_numbers_cost_no_memory(linkage):
    rows = [(0, 10**15, 3, 1, 0, True, False), (5, 10**15, -2, 1, 1, False, False)]
    assert rows_of(merged([interactions_of(rows)], linkage)) == [list(row) for row in rows]


def test_evidence_is_weighted_by_voxel_pairs_where_these_count():
    found = of_graph(a_graph(), 0.5, "mean")
    assert rows_of(found) == rows_of(of_graph(a_graph(), 0.5, "sum"))
    assert (found.weight / SCALE).tolist() == [0.75, 0, -0.5]
    assert found.size.tolist() == [3, 2, 1]
    for linkage in ("max", "min", "abs_max"):
        found = of_graph(a_graph(), 0.5, linkage)
        assert (found.weight / SCALE).tolist() == [0.25, 0, -0.5]
        assert found.size.tolist() == [1, 1, 1]
    assert found.rank.tolist() == [0, 1, 2]
    assert found.local.all()
    assert not found.forbidden.any()


def test_long_range_pairs_are_not_local_and_join_the_edge_of_their_pair():
    found = of_graph(a_graph(far()), 0.5, "mean")
    assert found.edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3]]
    assert (found.weight / SCALE).tolist() == [0.75, 0.5, -0.5, -1.75]
    assert found.size.tolist() == [3, 3, 1, 7]
    assert found.rank.tolist() == [0, 1, 2, 4]
    assert found.local.tolist() == [True, True, True, False]


def test_costs_are_log_odds_of_voxel_pairs_and_leave_long_range_pairs_out():
    graph = a_graph(far())
    expected = multicut_costs(graph.boundary, 0.4)
    whole = np.maximum(np.rint(graph.sizes), 1)
    for sized, size in ((True, whole), (False, np.ones(3))):
        found = of_costs(graph, 0.4, np.array([4, 2, 9]), sized=sized)
        np.testing.assert_allclose(found.weight / COST_SCALE, expected * size, atol=1e-5)
        assert found.size.tolist() == size.tolist()
        assert found.rank.tolist() == [4, 2, 9]
        assert found.edges.tolist() == graph.edges.tolist()
        assert found.local.all()


def test_a_part_of_a_graph_keeps_the_numbers_of_the_whole():
    ranks = Ranks(np.array([10, 11, 20]), np.array([31, 30]), np.empty(0, np.int64))
    assert of_graph(a_graph(far()), 0.5, "max", ranks).rank.tolist() == [10, 31, 20, 30]


def test_columns_are_read_only_and_not_copied():
    size = np.array([2])
    found = Interactions(
        np.array([[0, 1]]), np.array([5]), size, np.array([0]), np.array([True]), np.array([False])
    )
    assert np.shares_memory(found.size, size)
    with pytest.raises(ValueError, match="read-only"):
        found.size[0] = 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, 1, 5, 2, 0, True, False)], r"row 0 \(1, 1\).*not 0 <= u < v"),
        ([(-1, 1, 5, 2, 0, True, False)], r"row 0 \(-1, 1\).*not 0 <= u < v"),
        ([ROW, ROW], r"row 1 \(0, 1\).*not behind the row before it"),
        ([(0, 1, 5, 0, 0, True, False)], "size 0, rank 0: the size is below 1"),
        ([(0, 1, 5, 2, -1, True, False)], "the rank is not in"),
        ([(0, 1, 5, 2, 2**61, True, False)], "the rank is not in"),
        ([ROW, (0, 2, 2**62 - 5, 1, 1, True, False)], r"row 1 .*weights up to here sum to 2\^62"),
        ([(0, 1, -(2**63), 1, 1, True, False)], r"row 0 .*weights up to here sum to 2\^62"),
        ([ROW, (0, 2, 5, 2**50 - 2, 1, True, False)], r"row 1 .*sizes up to here sum to 2\^50"),
        ([ROW, (0, 2, 5, 2**63 - 1, 1, True, False)], r"row 1 .*sizes up to here sum to 2\^50"),
    ],
)
def test_bad_rows_are_refused_in_one_line(rows, message):
    with pytest.raises(BadInput, match=message) as caught:
        interactions_of(rows)
    assert "\n" not in str(caught.value)


def test_sums_up_to_the_limits_are_kept():
    found = interactions_of([(0, 2, 2**62 - 6, 1, 0, True, False), (1, 2, -5, 2**50 - 2, 1, True, False)])
    together = contracted(found, np.array([0, 0, 1]), "mean")
    assert rows_of(together) == [[0, 1, 2**62 - 11, 2**50 - 1, 0, True, False]]


@pytest.mark.parametrize("size", [2.0**40, 2.0**80, 1e300])
def test_a_graph_of_more_voxel_pairs_than_can_be_added_is_refused(size):
    graph = Graph(2, np.array([[0, 1]]), np.array([0.0]), np.array([size]))
    with pytest.raises(BadInput, match=r"voxel pairs in 1 edges.*block by block"):
        of_graph(graph, 0.5, "mean")
    assert of_graph(graph, 0.5, "max").size.tolist() == [1]


def test_columns_of_wrong_length_or_type_are_refused():
    with pytest.raises(BadInput, match=r"found weight float64 \(1,\), expected int64 \(1,\)"):
        Interactions(np.array([[0, 1]]), np.array([0.5]), *(np.array([1]),) * 2, *(np.array([True]),) * 2)
    with pytest.raises(BadInput, match=r"found local bool \(2,\), expected bool \(1,\)"):
        Interactions(np.array([[0, 1]]), *(np.array([1]),) * 3, np.array([True, True]), np.array([True]))
