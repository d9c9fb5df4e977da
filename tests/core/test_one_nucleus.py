"""A cell has one nucleus: what is divided, what is joined, and that nothing else moves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellflow.core.graphs import connected
from cellflow.core.nuclei import Held
from cellflow.core.one_nucleus import at_home, join, nuclei_of, split
from cellflow.core.segments import touching


def known(nucleus, overlap=None):
    ids = np.array(nucleus, np.uint64)
    voxels = np.ones(ids.size, np.int64) if overlap is None else np.array(overlap)
    return Held(ids, voxels, np.zeros(ids.size, np.bool_))


def chain(*values):
    """A row of nodes and the boundary between each two."""
    return np.array([[i, i + 1] for i in range(len(values))]).reshape(-1, 2), np.array(values, np.float64)


@st.composite
def partitions(draw):
    """A graph, its segments (connected, 1..k), boundaries with ties, a nucleus for some nodes."""
    n = draw(st.integers(1, 9))
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=16)) if pairs else []
    edges = np.array(sorted(edges), np.int64).reshape(-1, 2)
    joined = np.array(draw(st.lists(st.booleans(), min_size=len(edges), max_size=len(edges))), np.bool_)
    boundary = np.array(draw(st.lists(st.integers(0, 3), min_size=len(edges), max_size=len(edges))), float)
    nucleus = draw(st.lists(st.sampled_from([0, 0, 4, 6, 2**63]), min_size=n, max_size=n))
    overlap = draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))
    return edges, boundary, connected(n, edges, joined) + 1, known(nucleus, overlap)


@given(partitions())
def test_a_nucleus_is_at_home_where_most_of_it_is(case):
    _, _, segments, nuclei = case
    found = at_home(segments, nuclei)
    for one in set(nuclei.nucleus.tolist()) - {0}:
        own = nuclei.nucleus == one
        voxels = {int(s): int(nuclei.overlap[own & (segments == s)].sum()) for s in segments[own]}
        home = min(voxels, key=lambda s: (-voxels[s], s))
        np.testing.assert_array_equal(found == one, own & (segments == home))


@given(partitions())
def test_after_a_split_no_segment_has_two_nuclei_and_others_are_as_before(case):
    edges, boundary, segments, nuclei = case
    nucleus = at_home(segments, nuclei)
    found = split(edges, boundary, segments, nucleus)
    assert (found > 0).all()
    assert (nuclei_of(found, nucleus) <= 1).all()
    one = nuclei_of(segments, nucleus)[segments] <= 1
    np.testing.assert_array_equal(found[one], segments[one])
    for new in set(found[~one].tolist()):
        assert len(set(segments[found == new].tolist())) == 1  # no new segment reaches over an old one
        assert len(set(nucleus[found == new].tolist()) - {0}) == 1  # and each has its nucleus
        inside = (found[edges] == new).all(axis=1)
        # Pieces of one nucleus that do not touch stay one segment: they are one nucleus.
        roots = set(connected(found.size, edges, inside)[found == new].tolist())
        holders = set(connected(found.size, edges, inside)[(found == new) & (nucleus > 0)].tolist())
        assert roots == holders


def test_a_cell_is_divided_at_its_strongest_boundary_between_two_nuclei():
    edges, boundary = chain(0.1, 0.2, 0.6, 0.1)
    found = split(edges, boundary, np.ones(5, np.int64), known([3, 0, 0, 0, 8]).nucleus)
    assert found.tolist() == [2, 2, 2, 3, 3]


def test_a_split_takes_nothing_from_a_neighbour_and_gives_it_nothing():
    edges, boundary = np.array([[0, 1], [1, 2], [1, 3]]), np.array([0.5, 0.6, 0.0])
    found = split(edges, boundary, np.array([1, 1, 1, 2]), known([3, 0, 8, 0]).nucleus)
    assert found.tolist() == [3, 3, 4, 2]


def test_one_nucleus_is_never_divided_by_a_split():
    edges, boundary = chain(0.9, 0.1)
    found = split(edges, boundary, np.ones(3, np.int64), known([3, 3, 8]).nucleus)
    assert found.tolist() == [2, 2, 3]


@given(partitions(), st.data())
def test_an_orphan_joins_whole_and_stays_where_it_touches_nothing(case, data):
    edges, boundary, segments, _ = case
    orphan = np.array(data.draw(st.lists(st.booleans(), min_size=10, max_size=10)))[: segments.max() + 1]
    found = join(edges, boundary, np.ones(len(edges), np.int64), segments, orphan)
    np.testing.assert_array_equal(found[~orphan[segments]], segments[~orphan[segments]])
    for s in set(segments.tolist()):
        assert len(set(found[segments == s].tolist())) == 1
    kept = set(segments[~orphan[segments]].tolist())
    pieces = connected(segments.size, edges, np.ones(len(edges), np.bool_))
    for s in np.flatnonzero(orphan):
        within = set(segments[np.isin(pieces, pieces[segments == s])].tolist())
        if s in segments and within & kept:
            assert found[segments == s][0] in kept
        elif s in segments:
            assert found[segments == s][0] == s


def test_the_mean_over_the_whole_contact_decides_and_not_its_weakest_spot():
    #    1 - 2 touch by 1 pair of 0.0 and 9 of 1.0; 2 - 3 by 10 pairs of 0.5
    edges = np.array([[0, 2], [1, 2], [2, 3]])
    boundary, contacts = np.array([0.0, 1.0, 0.5]), np.array([1, 9, 10])
    segments, orphan = np.array([1, 1, 2, 3]), np.array([False, False, True, False])
    assert join(edges, boundary, contacts, segments, orphan).tolist() == [1, 1, 3, 3]


def test_an_orphan_behind_an_orphan_follows_it():
    edges, boundary = chain(0.1, 0.5, 0.9)
    orphan = np.array([False, False, True, True, False])
    found = join(edges, boundary, np.ones(3, np.int64), np.array([1, 2, 3, 4]), orphan)
    assert found.tolist() == [1, 1, 1, 4]


@given(partitions())
def test_rows_that_touch_no_segment_to_be_mended_may_be_left_out(case):
    edges, boundary, segments, nuclei = case
    nucleus = at_home(segments, nuclei)
    several = nuclei_of(segments, nucleus) > 1
    kept, values = touching(edges, boundary, several[segments])
    found = split(edges, boundary, segments, nucleus)
    np.testing.assert_array_equal(split(kept, values, segments, nucleus), found)
    orphan, contacts = nuclei_of(found, nucleus) == 0, np.arange(1, len(edges) + 1)
    rows = orphan[found][edges].any(axis=1)
    joined = join(edges, boundary, contacts, found, orphan)
    np.testing.assert_array_equal(join(edges[rows], boundary[rows], contacts[rows], found, orphan), joined)
