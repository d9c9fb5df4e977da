"""Pairs of supervoxels with nuclei, against a search written down as one would say it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellflow.core.lifted import nuclei_pairs

PLENTY = 10**6


@st.composite
def graphs(draw, most=9):
    """Sorted unique edges of a small graph, and the nucleus of each node, some without."""
    n = draw(st.integers(1, most))
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=14)) if pairs else []
    nucleus = draw(st.lists(st.sampled_from([0, 0, 5, 2**63, 7]), min_size=n, max_size=n))
    return n, np.array(sorted(edges), np.int64).reshape(-1, 2), np.array(nucleus, np.uint64)


def steps_from(start, n, edges):
    """Steps from one node to every other it leads to."""
    steps, now = {start: 0}, {start}
    for distance in range(1, n + 1):
        beside = {int(b) for a, b in edges if a in now} | {int(a) for a, b in edges if b in now}
        now = beside - steps.keys()
        steps |= dict.fromkeys(now, distance)
    return steps


def expected(n, edges, nucleus, depth):
    found = {}
    for u in range(n):
        for v, distance in steps_from(u, n, edges).items():
            if u < v and distance <= depth and nucleus[u] and nucleus[v]:
                found[u, v] = 1.0 if nucleus[u] == nucleus[v] else -1.0
    return found


@given(graphs(), st.integers(1, 5))
def test_pairs_are_those_of_a_search_by_hand(graph, depth):
    n, edges, nucleus = graph
    pairs, reached = nuclei_pairs(n, edges, nucleus, depth, PLENTY)
    assert reached == depth
    assert pairs.n_nodes == n
    found = {(int(u), int(v)): a for (u, v), a in zip(pairs.edges, pairs.attraction, strict=True)}
    assert found == expected(n, edges, nucleus, depth)
    assert [tuple(e) for e in pairs.edges.tolist()] == sorted(found)  # sorted, and none twice


@given(graphs(), st.integers(1, 5), st.integers(0, 12))
def test_never_more_pairs_than_asked_for_and_whole_steps_only(graph, depth, most):
    n, edges, nucleus = graph
    pairs, reached = nuclei_pairs(n, edges, nucleus, depth, most)
    assert len(pairs.edges) <= most
    assert len(pairs.edges) == len(expected(n, edges, nucleus, reached))
    if reached < depth:
        assert len(expected(n, edges, nucleus, reached + 1)) > most


@given(graphs())
def test_as_many_pairs_as_edges_always_leave_those_that_touch(graph):
    n, edges, nucleus = graph
    assert nuclei_pairs(n, edges, nucleus, 5, len(edges))[1] >= 1


@given(graphs(), st.randoms(use_true_random=False))
def test_other_numbers_of_nodes_give_the_same_pairs(graph, random):
    n, edges, nucleus = graph
    number = list(range(n))
    random.shuffle(number)
    new = np.array(number, np.int64)
    turned = np.sort(new[edges], axis=1)
    turned = turned[np.lexsort((turned[:, 1], turned[:, 0]))]
    moved = np.empty_like(nucleus)
    moved[new] = nucleus
    before, after = (nuclei_pairs(n, e, k, 3, 4) for e, k in ((edges, nucleus), (turned, moved)))
    assert before[1] == after[1]
    ends = {tuple(sorted(pair)) for pair in new[before[0].edges].tolist()}
    assert ends == {tuple(pair) for pair in after[0].edges.tolist()}


def test_nuclei_two_steps_apart_over_a_node_without_one_are_a_pair():
    edges = np.array([[0, 1], [1, 2]])
    nucleus = np.array([4, 0, 4], np.uint64)
    assert nuclei_pairs(3, edges, nucleus, 1, PLENTY)[0].edges.size == 0
    found = nuclei_pairs(3, edges, nucleus, 2, PLENTY)[0]
    assert found.edges.tolist() == [[0, 2]]
    assert found.attraction.tolist() == [1.0]


@pytest.mark.parametrize("n", [0, 3])
def test_no_nucleus_no_pair(n):
    found, _ = nuclei_pairs(n, np.empty((0, 2), np.int64), np.zeros(n, np.uint64), 4, PLENTY)
    assert found.edges.shape == (0, 2)
