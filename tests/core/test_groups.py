from dataclasses import dataclass, replace

import numpy as np
import pytest
from group_levels import by_levels
from hypothesis import given, settings
from hypothesis import strategies as st

from cellflow.core import groups
from cellflow.core.agglomeration import agglomerate
from cellflow.core.graphs import Graph
from cellflow.core.groups import Decided, grouped, taken
from cellflow.core.interactions import of_graph

numbers = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(2, 40), st.integers(1, 6), st.integers(1, 3))
linkages = st.sampled_from(["mean", "max", "min", "abs_max"])


@dataclass(frozen=True)
class Solver:
    combination: str
    cannot_link: bool = False

    def reduce(self, n_nodes, rows, frozen):
        return agglomerate(n_nodes, rows, self.combination, cannot_link=self.cannot_link, frozen=frozen)


def random_graph(rng, n_nodes, levels, far):
    """Boundaries of few values, so that strengths are often equal."""

    def pairs(count):
        edges = np.sort(rng.integers(0, n_nodes, (count, 2)), axis=1)
        edges = np.unique(edges[edges[:, 0] < edges[:, 1]], axis=0)
        boundary = rng.integers(0, levels + 1, len(edges)) / levels
        return edges, boundary, rng.integers(1, 4, len(edges)).astype(float)

    further = Graph(n_nodes, *pairs(n_nodes)) if far else None
    return Graph(n_nodes, *pairs(4 * n_nodes), further)


@settings(max_examples=200, deadline=None)
@given(numbers, linkages, st.booleans(), st.booleans(), sizes)
def test_groups_decide_what_the_whole_graph_decides(number, linkage, cannot_link, far, sizes):
    n, per_group, members = sizes
    rng = np.random.default_rng(number)
    rows = of_graph(random_graph(rng, n, int(rng.integers(1, 8)), far), 0.5, linkage)
    solver = Solver(linkage, cannot_link)
    expected = agglomerate(n, rows, linkage, cannot_link=cannot_link).labels
    assert np.array_equal(by_levels(rows, n, solver, per_group, members), expected)


def disagree(break_it):
    """How many of 40 graphs come out otherwise by groups after something was broken."""
    found = 0
    for number in range(40):
        rng = np.random.default_rng(number)
        rows = of_graph(random_graph(rng, 30, 5, far=True), 0.5, "mean")
        with pytest.MonkeyPatch.context() as patch:
            solver = break_it(patch)
            found += not np.array_equal(
                by_levels(rows, 30, solver, 4, 2), agglomerate(30, rows, "mean").labels
            )
    return found


def test_a_group_that_forgets_its_neighbours_is_caught():
    class Forgetful(Solver):
        def reduce(self, n_nodes, rows, frozen):
            alone = rows if frozen is None else taken(rows, ~frozen[rows.edges].any(axis=1))
            return replace(super().reduce(n_nodes, alone, None), interactions=rows)

    assert disagree(lambda _: Solver("mean")) == 0
    assert disagree(lambda _: Forgetful("mean")) > 5


def test_edges_of_what_is_not_finished_may_not_be_dropped():
    def only_strong(patch):
        patch.setattr(
            groups,
            "unfinished",
            lambda n, rows: np.bincount(rows.edges[rows.weight > 2**24 // 4].ravel(), minlength=n) > 0,
        )
        return Solver("mean")

    assert disagree(only_strong) > 0


def test_forbidden_pairs_are_remembered_across_groups():
    """0 and 3 repel most and may not meet, but 1, which 0 joins, is drawn to 3."""
    edges = np.array([[0, 1], [0, 3], [1, 3]])
    graph = Graph(4, edges, np.array([0.2, 1.0, 0.2]), np.ones(3))
    rows, solver = of_graph(graph, 0.5, "max"), Solver("max", cannot_link=True)
    assert by_levels(rows, 4, solver, 1, 1).tolist() == [0, 0, 2, 3]
    assert by_levels(rows, 4, Solver("max"), 1, 1).tolist() == [0, 0, 2, 0]


def test_groups_are_runs_of_members_within_the_limit_but_never_single():
    found = grouped([0, 10, 20, 30, 40], 55, [5, 5, 5, 50, 1], 10)
    assert [(g.start, g.stop, g.members) for g in found] == [
        (0, 20, (0, 1)),
        (20, 40, (2, 3)),
        (40, 55, (4,)),
    ]
    assert len(grouped([0], 9, [100], 1)) == 1


def test_a_node_without_edges_stays_and_is_finished():
    decided = Decided(np.array([3, 5]), np.array([3, 3]), np.array([True, True]), np.empty(0, np.int64))
    top, goes_on = decided.follow(np.array([2, 3, 5, 9]))
    assert top.tolist() == [2, 3, 3, 9]
    assert goes_on.tolist() == [False, True, True, False]
