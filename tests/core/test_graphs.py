from dataclasses import replace

import numpy as np
import pytest

from cellflow.core.errors import BadInput
from cellflow.core.graphs import Graph, Lifted, connected, partition

ROWS = [(0, 1), (0, 2), (1, 2), (2, 3)]


def build(n_nodes=4, edges=ROWS, boundary=(0.1, 0.2, 0.3, 0.4), sizes=(1, 2, 3, 4), dtype=np.int64):
    return Graph(n_nodes, np.array(edges, dtype=dtype), np.array(boundary, float), np.array(sizes, float))


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.uint32])
def test_a_valid_graph_is_kept_in_one_dtype(dtype):
    graph = build(dtype=dtype)
    assert graph.edges.dtype == np.int64
    assert graph.edges.tolist() == [list(row) for row in ROWS]


@pytest.mark.parametrize("dtype", [np.uint64, np.int64])
def test_large_arrays_are_not_copied(dtype):
    edges, values = np.array(ROWS, dtype=dtype), np.full(4, 0.5)
    graph = Graph(4, edges, values, values)
    assert np.shares_memory(graph.edges, edges)
    assert np.shares_memory(graph.boundary, values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boundary": (0.1, np.nan, 0.3, np.inf)}, r"2 of 4 edges .* NaN or infinite.* edge 1 \(0, 2\)"),
        ({"boundary": (0.1, 0.2, 200, 0.4)}, r"1 of 4 edges .* outside 0..1.* edge 2 \(1, 2\).*scale"),
        ({"boundary": (0.1, 0.2, 0.3, -0.4)}, r"outside 0..1.* edge 3 \(2, 3\)"),
        ({"sizes": (1, 0, 3, np.nan)}, r"2 of 4 edges have no positive size.* edge 1 \(0, 2\)"),
        ({"n_nodes": 3}, r"1 of 4 edges name a node outside 0..2.* edge 3 \(2, 3\).*dense"),
        ({"edges": [(-1, 1), *ROWS[1:]]}, r"outside 0..3.* edge 0 \(-1, 1\)"),
        ({"edges": [(0, 1), (0, 2), (2, 2), (2, 3)]}, r"join a node to itself.* edge 2 \(2, 2\)"),
        ({"edges": [(1, 0), *ROWS[1:]]}, r"larger node first.* edge 0 \(1, 0\)"),
        ({"edges": [(0, 1), (0, 2), (0, 2), (2, 3)]}, r"repeat the edge.* edge 2 \(0, 2\).*merge"),
        ({"edges": [(0, 2), (0, 1), (1, 2), (2, 3)]}, r"smaller than .* edge 1 \(0, 1\).*sort"),
        ({"edges": [(1, 2), (0, 3), (1, 3), (2, 3)]}, r"smaller than .* edge 1 \(0, 3\)"),
        ({"boundary": (0.1, 0.2)}, r"expected 4 values in boundary"),
        ({"sizes": (1,)}, r"expected 4 values in sizes"),
        ({"edges": [0, 1, 2, 3]}, r"shape \(m, 2\)"),
        ({"dtype": float}, r"expected integer edges"),
        ({"n_nodes": -1}, r"found -1"),
    ],
)
def test_a_bad_graph_is_refused_in_one_line_that_names_the_first_edge(changes, message):
    with pytest.raises(BadInput, match=message) as caught:
        build(**changes)
    assert "\n" not in str(caught.value)


def test_an_id_beyond_int64_is_refused_and_not_wrapped_around():
    with pytest.raises(BadInput, match="name a node outside"):
        Graph(4, np.array([[0, 2**63 + 1]], dtype=np.uint64), np.array([0.5]), np.array([1.0]))


def test_a_mean_that_misses_one_by_its_rounding_is_accepted():
    assert build(boundary=(0, 1 + 1e-7, 1, 0.5)).boundary[1] > 1


def test_components_are_numbered_by_their_smallest_node():
    edges = np.array([(0, 5), (1, 4), (2, 3), (4, 5)])
    assert connected(6, edges, np.array([1, 1, 1, 1], bool)).tolist() == [0, 0, 1, 1, 0, 0]
    assert connected(6, edges, np.array([1, 1, 0, 0], bool)).tolist() == [0, 1, 2, 3, 1, 0]
    assert connected(6, edges, np.zeros(4, bool)).tolist() == list(range(6))


def test_components_equal_those_of_scipy():
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(0)
    edges = rng.integers(0, 500, (450, 2))
    joined = rng.random(450) < 0.8
    u, v = edges[joined].T
    matrix = coo_array((np.ones(len(u)), (u, v)), shape=(500, 500))
    expected = connected_components(matrix, directed=False)[1]
    first = np.unique(expected, return_index=True)[1]
    assert connected(500, edges, joined).tolist() == np.argsort(np.argsort(first))[expected].tolist()


def test_a_label_in_two_places_becomes_two_segments():
    result = partition(build(), np.array([7, 7, 3, 7]), energy=-1.5)
    assert result.labels.tolist() == [0, 0, 1, 2]
    assert result.n_segments == 3
    assert result.facts == {"nodes": 4, "edges": 4, "edges_cut": 3, "segments": 3, "energy": -1.5}


def a_graph(**further):
    return Graph(3, np.array([[0, 1], [1, 2]]), np.array([0.1, 0.2]), np.ones(2), **further)


def test_further_pairs_of_other_nodes_are_refused():
    for further in (Lifted(4, np.array([[0, 2]]), np.array([-1.0])), replace(a_graph(), n_nodes=4)):
        name = "lifted" if isinstance(further, Lifted) else "long_range"
        with pytest.raises(BadInput, match="same 3 nodes, found pairs of 4"):
            a_graph(**{name: further})


@pytest.mark.parametrize(
    ("edges", "attraction", "message"),
    [
        ([[0, 2]], [np.nan], "found nan at pair 0"),
        ([[0, 1], [0, 2]], [0.5, -1.5], "found -1.5 at pair 1"),
        ([[2, 0]], [1.0], "larger node first"),
        ([[0, 3]], [1.0], "outside 0..2"),
    ],
)
def test_bad_lifted_pairs_are_refused(edges, attraction, message):
    with pytest.raises(BadInput, match=message):
        Lifted(3, np.array(edges), np.array(attraction))
