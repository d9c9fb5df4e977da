"""Series of moves between two clusters: what is said of them is what they do."""

import numpy as np
import pytest
from hypothesis import given, settings
from signed_multicuts import cut, drawn, numbers, random_segments

from cellflow.core.multicut.clusters import NONE, clusters
from cellflow.core.multicut.exchange import Search, exchange
from cellflow.core.multicut.neighbours import neighbours


def search(graph, labels):
    """Before the first pair of clusters is looked at."""
    n = graph.n_nodes
    near = neighbours(n, graph.edges, graph.cost, graph.local)
    none, awake = np.zeros(n, np.int64), np.zeros(n + 1, np.int32)
    seen, piece = np.full(n + 1, NONE, np.int64), np.empty(len(labels) if graph.local.size else 0, np.int32)
    return Search(near, clusters(labels), none, none.copy(), none.copy(), awake, seen, 2**60, piece)


@pytest.mark.parametrize("lifted", [False, True], ids=["local", "lifted"])
@given(number=numbers)
@settings(max_examples=200, deadline=None)
def test_gains_are_differences_of_energies_and_nothing_is_moved(lifted, number):
    graph = drawn(number, most=14, lifted=lifted)
    labels = random_segments(graph, number)
    s, before = search(graph, labels), cut(graph, labels)
    empty = int(labels.max()) + 1
    for pair, (x, y) in enumerate(np.ndindex(empty, empty + 1), start=1):
        if x >= y or s.to.size[x] > (s.to.size[y] or graph.n_nodes):
            continue
        moves, gain, joint = exchange(s, x, y, pair)
        after = labels.copy()
        after[moves] = x + y - after[moves]
        assert gain == before - cut(graph, after) >= 0
        assert np.isin(labels[moves], (x, y)).all()
        assert len(set(moves.tolist())) == len(moves)
        # Found from x, so that all edges between the two are met.
        assert joint == before - cut(graph, np.where(labels == x, y, labels))
        assert s.to.of.tolist() == labels.tolist()
