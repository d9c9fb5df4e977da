"""Agglomeration against its definition, and in parts against at once."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signed_graphs import (
    LINKAGES,
    in_parts,
    interactions_of,
    reference,
    rows_of,
    selected,
    signed_graph,
    signed_graphs,
)

from cellflow.core.agglomeration import agglomerate, solve, unfinished
from cellflow.core.errors import BadInput

WAYS = [(linkage, cannot_link) for linkage in LINKAGES for cannot_link in (False, True)]
ways = pytest.mark.parametrize(("linkage", "cannot_link"), WAYS)
certain_ways = pytest.mark.parametrize(("linkage", "cannot_link"), [way for way in WAYS if way[0] != "sum"])
paces = pytest.mark.parametrize("pace", [0, 2**60], ids=["one by one", "in rounds"])


@contextmanager
def only(pace):
    """Rows one by one from the first round on, or rounds until nothing is certain any more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solve, "WORTHWHILE", pace)
        yield


@paces
@ways
@given(drawn=signed_graphs())
def test_it_follows_its_definition(pace, linkage, cannot_link, drawn):
    n, rows = drawn
    with only(pace):
        found = agglomerate(n, rows, linkage, cannot_link=cannot_link)
    assert found.labels.tolist() == reference(n, rows, linkage, cannot_link=cannot_link)
    assert found.interactions is rows


@paces
@certain_ways
@given(drawn=signed_graphs(), seed=st.integers(0, 1000))
def test_in_parts_it_is_the_same_as_at_once(pace, linkage, cannot_link, drawn, seed):
    """Three cuttings, each coarser than the one before; finished nodes are dropped on the way."""
    n, rows = drawn
    group = np.random.default_rng(seed).integers(0, 4, n)
    expected = reference(n, rows, linkage, cannot_link=cannot_link)
    with only(pace):
        for cuts in ([np.arange(n), group, group // 2], [group]):
            assert in_parts(n, rows, linkage, cuts, cannot_link=cannot_link).tolist() == expected


@paces
@certain_ways
def test_larger_graphs_come_out_the_same_in_parts(pace, linkage, cannot_link):
    # The last ones are rare: far evidence or a frozen node that nothing attracts decides.
    for seed in (*range(30), 86, 135, 169, 307, 364):
        n, rows = signed_graph(seed, 80, 20, degree=10)
        group = np.random.default_rng(seed).integers(0, 4, n)
        whole = agglomerate(n, rows, linkage, cannot_link=cannot_link).labels
        with only(pace):
            found = in_parts(n, rows, linkage, [group, group // 2], cannot_link=cannot_link)
        assert found.tolist() == whole.tolist()


def test_chains_come_out_as_one_by_one_where_far_evidence_only_repels():
    differ = 0
    for seed in range(60):
        n, rows = signed_graph(seed, 80, 20, degree=10)
        expected = reference(n, repelling(rows), "abs_max")
        found = agglomerate(n, repelling(rows), "abs_max", far_repels=True)
        assert found.labels.tolist() == expected
        group = np.random.default_rng(seed).integers(0, 4, n)
        parts = in_parts(n, repelling(rows), "abs_max", [group, group // 2], far_repels=True)
        assert parts.tolist() == expected
        wrong = agglomerate(n, rows, "abs_max", far_repels=True).labels.tolist()
        differ += wrong != reference(n, rows, "abs_max")
    assert differ > 2  # where far evidence attracts, chains are not certain


def repelling(rows):
    """The rows, with far evidence turned round where it attracts."""
    return replace(rows, weight=np.where(rows.local, rows.weight, -np.abs(rows.weight)))


@ways
def test_a_tree_whose_rows_never_combine_follows_the_definition_too(linkage, cannot_link):
    """Every merge gives the hash table a new pair, so that it must be filled anew."""
    rng = np.random.default_rng(1)
    rows = [(int(rng.integers(0, v)), v, int(rng.integers(-2, 9)), 1, v, True, False) for v in range(1, 150)]
    tree = interactions_of(rows)
    with only(0):
        found = agglomerate(150, tree, linkage, cannot_link=cannot_link).labels.tolist()
    assert found == reference(150, tree, linkage, cannot_link=cannot_link)


@ways
@given(drawn=signed_graphs())
def test_a_finished_node_stays_alone_and_its_rows_change_nothing(linkage, cannot_link, drawn):
    n, rows = drawn
    left = unfinished(n, rows)
    positive = [row[:2] for row in rows_of(rows) if row[2] > 0 and not row[6]]
    assert left.tolist() == [any(node in pair for pair in positive) for node in range(n)]
    labels = agglomerate(n, rows, linkage, cannot_link=cannot_link).labels
    assert all(labels[node] == node and (labels == node).sum() == 1 for node in np.flatnonzero(~left))
    dropped = selected(rows, left[rows.edges].all(axis=1))
    assert agglomerate(n, dropped, linkage, cannot_link=cannot_link).labels.tolist() == labels.tolist()


@paces
@given(drawn=signed_graphs(), seed=st.integers(0, 1000))
def test_sums_in_a_part_leave_frozen_nodes_and_those_that_are_drawn_to_them(pace, drawn, seed):
    """A node is left too if a frozen one draws it more than all others together could, once combined."""
    n, rows = drawn
    frozen = np.random.default_rng(seed).random(n) < 0.3
    with only(pace):
        labels = agglomerate(n, rows, "sum", frozen=frozen).labels
    assert (labels[frozen] == np.flatnonzero(frozen)).all()
    assert not frozen[labels[~frozen]].any()
    drawn_to = np.zeros((n, n), np.int64)
    for u, v, weight, _, _, local, forbidden in rows_of(rows):
        drawn_to[u, v] = drawn_to[v, u] = max(weight, 0) * (not forbidden)
        if not local and frozen[u] != frozen[v]:
            drawn_to[u, v] = drawn_to[v, u] = 0
    for node in np.flatnonzero(~frozen):
        if 2 * (drawn_to[node] * frozen).max() > drawn_to[node].sum():
            assert (labels == labels[node]).sum() == 1


@given(drawn=signed_graphs())
def test_the_strongest_evidence_needs_no_constraints(drawn):
    """As the mutex watershed: what repels more than all that attracts is never outweighed anyway."""
    n, rows = drawn
    local = selected(rows, rows.local)
    free, constrained = (agglomerate(n, local, "abs_max", cannot_link=also).labels for also in (False, True))
    assert free.tolist() == constrained.tolist()


@ways
def test_graphs_without_anything_to_merge(linkage, cannot_link):
    for rows in ([], [(0, 1, -5, 1, 0, True, False), (1, 2, 0, 1, 1, True, False)]):
        for n in (3, 5):
            found = agglomerate(n, interactions_of(rows), linkage, cannot_link=cannot_link)
            assert found.labels.tolist() == list(range(n))
    for n in (0, 1):
        assert agglomerate(n, interactions_of([]), linkage).labels.tolist() == list(range(n))


@ways
def test_where_all_is_tied_and_attracts_all_is_one(linkage, cannot_link):
    rows = [(u, v, 4, 2, 10 * u + v, True, False) for u in range(6) for v in range(u + 1, 6)]
    found = agglomerate(7, interactions_of(rows), linkage, cannot_link=cannot_link)
    assert found.labels.tolist() == [0, 0, 0, 0, 0, 0, 6]


@paces
@pytest.mark.parametrize("linkage", LINKAGES)
def test_weights_up_to_the_limit_are_compared_to_the_last_unit(pace, linkage):
    """1 goes to the neighbour that attracts it by one unit more; as doubles the two are equal."""
    most = 2**61 - 4
    for left, right, labels in [(most, most - 1, [0, 0, 2]), (most - 1, most, [0, 1, 1])]:
        rows = [
            (0, 1, left, 1, 1, True, False),
            (0, 2, -1, 1, 2, True, True),
            (1, 2, right, 1, 0, True, False),
        ]
        with only(pace):
            assert agglomerate(3, interactions_of(rows), linkage).labels.tolist() == labels


def test_a_pair_found_to_be_apart_is_forbidden_for_other_parts():
    """0 and 1 repel more than anything attracts them: nothing that 2 brings along may merge them."""
    rows = interactions_of(
        [(0, 1, -5, 1, 0, True, False), (0, 2, 4, 1, 1, True, False), (1, 2, 3, 9, 2, True, False)]
    )
    found = agglomerate(3, rows, "mean", cannot_link=True, frozen=np.array([False, False, True]))
    assert found.labels.tolist() == [0, 1, 2]
    assert found.interactions.forbidden.tolist() == [True, False, False]
    assert agglomerate(3, rows, "mean", frozen=np.array([False, False, True])).interactions is rows


def test_wrong_nodes_and_flags_are_refused():
    rows = interactions_of([(0, 3, 1, 1, 0, True, False)])
    with pytest.raises(BadInput, match=r"found node 3, expected nodes 0\.\.2"):
        agglomerate(3, rows, "mean")
    with pytest.raises(BadInput, match=r"found frozen bool \(3,\), expected bool \(4,\)"):
        agglomerate(4, rows, "mean", frozen=np.zeros(3, bool))
    with pytest.raises(BadInput, match=r"found frozen int64 \(4,\)"):
        agglomerate(4, rows, "mean", frozen=np.zeros(4, int))
    with pytest.raises(BadInput, match=r"fewer than 2\^31"):
        agglomerate(2**31, rows, "mean")
