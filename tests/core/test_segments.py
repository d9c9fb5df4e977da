from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellflow.core.nodes import NodeTable, at_border
from cellflow.core.segments import fill_enclosed, reflood, renumber, segment_sizes, touching
from cellflow.stages.clean import Params, clean_graph


@st.composite
def graphs(draw):
    """Edges of a small graph, their boundary values with ties, segments 1..k, which of them go."""
    n = draw(st.integers(2, 8))
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=14))
    boundary = draw(st.lists(st.integers(0, 4), min_size=len(edges), max_size=len(edges)))
    segments = draw(st.lists(st.integers(1, 4), min_size=n, max_size=n))
    dissolved = draw(st.lists(st.booleans(), min_size=5, max_size=5))
    return (
        np.array(sorted(edges), np.int64).reshape(-1, 2),
        np.array(boundary, np.float64),
        np.array(segments, np.int64),
        np.array(dissolved),
    )


def _minimax(edges, boundary, start, segments, free):
    """Height of the lowest path over free nodes from `start` to each segment that stays, by brute force."""
    best = {}
    stack = [(start, -1.0, {start})]
    while stack:
        node, height, seen = stack.pop()
        if not free[node]:
            best[segments[node]] = min(best.get(segments[node], np.inf), height)
            continue
        for (a, b), value in zip(edges, boundary, strict=True):
            other = b if a == node else a if b == node else None
            if other is not None and other not in seen:
                stack.append((other, max(height, value), seen | {other}))
    return best


@given(graphs())
def test_dissolved_nodes_go_to_the_segment_of_the_lowest_path(graph):
    edges, boundary, segments, dissolved = graph
    found = reflood(edges, boundary, segments, dissolved)
    free = dissolved[segments]
    np.testing.assert_array_equal(found[~free], segments[~free])
    for node in np.flatnonzero(free):
        heights = _minimax(edges, boundary, node, segments, free)
        if heights:
            assert heights[found[node]] == min(heights.values())
        else:
            assert found[node] == 0


@given(graphs())
def test_rows_that_touch_no_segment_to_be_mended_may_be_left_out(graph):
    edges, boundary, segments, flags = graph
    kept, values = touching(edges, boundary, flags[segments])
    flooded = [reflood(*rows, segments, flags) for rows in ((edges, boundary), (kept, values))]
    np.testing.assert_array_equal(*flooded)
    sizes, largest = segment_sizes(segments, np.arange(1, segments.size + 1)), 8
    open_ = ~flags[: sizes.size]
    kept, _ = touching(edges, boundary, (~open_ & (sizes <= largest))[segments])
    filled = [fill_enclosed(rows, segments, sizes, open_, largest) for rows in (edges, kept)]
    np.testing.assert_array_equal(*filled)


def test_ties_are_decided_by_the_order_of_the_rows():
    edges, boundary = np.array([[0, 1], [1, 2]]), np.array([0.5, 0.5])
    segments, dissolved = np.array([1, 2, 3]), np.array([False, False, True, False])
    assert reflood(edges, boundary, segments, dissolved).tolist() == [1, 1, 3]


def test_small_segments_without_a_neighbour_that_stays_become_background():
    edges, boundary = np.array([[0, 1]]), np.array([0.1])
    segments, dissolved = np.array([1, 2, 3]), np.array([False, True, True, False])
    assert reflood(edges, boundary, segments, dissolved).tolist() == [0, 0, 3]
    none = np.empty((0, 2), np.int64)
    assert reflood(none, np.empty(0), np.array([1]), np.array([False, True])).tolist() == [0]


@given(st.lists(st.integers(0, 5), max_size=12))
def test_renumbered_segments_count_up_by_their_first_node(segments):
    found, count = renumber(np.array(segments, np.int64))
    order = list(dict.fromkeys(s for s in segments if s > 0))
    assert count == len(order)
    assert found.tolist() == [order.index(s) + 1 if s else 0 for s in segments]


def test_sizes_are_sums_of_nodes():
    assert segment_sizes(np.array([2, 0, 2, 1]), np.array([5, 7, 1, 2])).tolist() == [7, 2, 6]
    assert segment_sizes(np.array([], np.int64), np.array([], np.int64)).tolist() == [0]


# Cell 1 of nodes 0 and 1 encloses node 2; node 3 (cell 3) touches cells 1 and 4; node 4 is cell 4.
EDGES = np.array([[0, 1], [0, 2], [1, 2], [1, 3], [3, 4]])
SEGMENTS = np.array([1, 1, 2, 3, 4])


def _filled(largest=10, open_=(), sizes=(0, 100, 5, 5, 50)):
    flags = np.isin(np.arange(5), open_)
    return fill_enclosed(EDGES, SEGMENTS, np.array(sizes), flags, largest).tolist()


def test_a_hole_joins_the_cell_around_it():
    assert _filled() == [1, 1, 1, 3, 4]


def test_a_hole_that_is_large_or_open_or_larger_than_its_cell_stays():
    assert _filled(largest=4) == SEGMENTS.tolist()
    assert _filled(open_=[2]) == SEGMENTS.tolist()
    assert _filled(largest=500, open_=[4, 1], sizes=(0, 100, 200, 5, 50)) == SEGMENTS.tolist()


def test_background_beside_a_segment_makes_it_no_hole():
    segments = np.array([1, 1, 2, 0, 4])
    edges = np.concatenate([EDGES, [[2, 3]]])
    sizes = segment_sizes(segments, np.array([50, 50, 5, 9, 9]))
    assert fill_enclosed(edges, segments, sizes, np.zeros(5, bool), 10)[2] == 2


# A row of five segments along x: sizes 40, 3, 40, 400, 40; all but the third touch the border of the volume.
ROW_EDGES = np.array(list(pairwise(range(5))))
ROW_BOUNDARY = np.array([0.9, 0.2, 0.8, 0.7])
ROW_SIZES = np.array([40, 3, 40, 400, 40])


def _cleaned(edges=ROW_EDGES, **params):
    border = np.arange(5) != 2
    rows = partial(touching, edges, ROW_BOUNDARY)
    return clean_graph(rows, ROW_SIZES, border, np.arange(1, 6), Params(**{"min_size": 0, **params})).tolist()


@pytest.mark.parametrize(
    ("params", "cells"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"min_size": 10}, [1, 2, 2, 3, 4]),  # the small one goes across its weakest boundary
        ({"background": 5.0}, [1, 2, 3, 0, 4]),
        ({"remove_border": True}, [0, 0, 1, 0, 0]),
        ({"min_size": 1000}, [0, 0, 0, 0, 0]),
    ],
)
def test_every_parameter_of_clean_does_what_it_says(params, cells):
    assert _cleaned(**params) == cells


def test_clean_fills_holes():
    edges = np.array([[0, 1], [2, 3], [3, 4], [0, 3]])  # node 2 has one neighbour, node 3
    assert _cleaned(edges) == [1, 2, 3, 4, 5]
    assert _cleaned(edges, fill_holes=50) == [1, 2, 3, 3, 4]
    assert _cleaned(edges, fill_holes=39) == [1, 2, 3, 4, 5]


def test_the_list_above_names_every_parameter_of_clean():
    assert set(Params.model_fields) == {"min_size", "background", "remove_border", "fill_holes"}


def test_the_one_slice_of_a_flat_volume_is_not_its_border():
    lower, upper = np.array([[0, 3, 3]]), np.array([[1, 5, 5]])
    nodes = NodeTable(np.array([1], np.uint64), np.array([4]), lower, upper, lower)
    assert not at_border(nodes, (1, 9, 9)).any()
    assert at_border(nodes, (2, 9, 9)).all()
