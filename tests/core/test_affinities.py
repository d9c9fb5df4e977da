"""Affinities say which pairs lie in one object, and lead back to the objects."""

import bioimage_cpp as bic
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cellflow.core.affinities import affinities, checked, is_direct, reach
from cellflow.core.contingency import contingency_block
from cellflow.core.edge_table import statistics
from cellflow.core.errors import BadInput
from cellflow.core.features import edges_block_affinities
from cellflow.core.grid import Grid
from cellflow.core.metrics import scores

DIRECT = [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]
LONG = [(-2, 0, 0), (0, -4, 0), (0, 0, -4), (0, -4, -4), (0, 4, -4), (1, 2, -3)]

shapes = st.tuples(*[st.integers(1, 6)] * 3)
labelled = shapes.flatmap(lambda shape: arrays(np.uint64, shape, elements=st.sampled_from([0, 1, 2, 2**63])))
offsets = st.lists(st.tuples(*[st.integers(-7, 7)] * 3).filter(any), min_size=1, max_size=4)


def cells(shape=(8, 24, 24), n=12):
    """Every voxel belongs to the nearest of n points."""
    rng = np.random.default_rng(0)
    where = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)[..., None, :]
    return 1 + np.argmin(((where - rng.random((n, 3)) * shape) ** 2).sum(-1), -1).astype(np.uint64)


@settings(deadline=None)
@given(labelled, offsets)
def test_255_stands_where_a_pair_has_one_label(labels, steps):
    found = affinities(labels, steps)
    assert found.dtype == np.uint8
    assert found.shape == (len(steps), *labels.shape)
    for k, *i in np.ndindex(found.shape):
        j = np.add(i, steps[k])
        inside = ((j >= 0) & (j < labels.shape)).all()
        one = inside and labels[tuple(i)] == labels[tuple(j)] != 0
        assert found[k, *i] == (255 if one else 0)


@settings(deadline=None)
@given(labelled, offsets, shapes)
def test_blocks_that_read_as_far_as_offsets_reach_give_the_affinities_of_the_volume(labels, steps, block):
    expected = affinities(labels, steps)
    for b in Grid(labels.shape, block, reach(steps)):
        assert np.array_equal(affinities(labels[b.outer], steps)[:, *b.crop], expected[:, *b.core])


def test_a_block_without_halo_misses_pairs():
    labels = np.ones((1, 1, 4), np.uint64)
    assert affinities(labels, [(0, 0, -1)]).ravel().tolist() == [0, 255, 255, 255]
    assert affinities(labels[..., 2:], [(0, 0, -1)]).ravel().tolist() == [0, 255]


def test_the_mutex_watershed_leads_back_to_the_labels():
    labels, steps = cells(), DIRECT + LONG
    given = affinities(labels, steps).astype(np.float32) / 255
    given[len(DIRECT) :] = 1 - given[len(DIRECT) :]  # long-range channels repel
    found = bic.segmentation.mutex_watershed(given, steps, len(DIRECT), strides=[1, 1, 1])
    assert scores(contingency_block(labels, found))["adapted_rand_error"] == 0
    turned = [tuple(-n for n in step) for step in steps]  # the other sign convention is no round trip
    wrong = bic.segmentation.mutex_watershed(given, turned, len(DIRECT), strides=[1, 1, 1])
    assert scores(contingency_block(labels, wrong))["adapted_rand_error"] > 0


def test_edges_between_parts_of_one_cell_are_no_boundary():
    labels = cells()
    left = np.arange(labels.shape[2]) < labels.shape[2] // 2
    parts = 2 * labels + left  # every cell that lies across the middle is cut in two
    whole = tuple(slice(0, n) for n in labels.shape)
    found = edges_block_affinities(parts, affinities(labels, DIRECT + LONG), DIRECT + LONG, whole)
    for rows in found:
        table = statistics(rows, samples_per_pair=1)
        one_cell = table.edges[:, 0] // 2 == table.edges[:, 1] // 2
        assert 0 < one_cell.sum() < one_cell.size
        assert np.array_equal(table.mean, np.where(one_cell, 0.0, 1.0))
        assert not table.variance.any()


def test_one_step_along_one_axis_is_direct():
    steps = [(0, 0, 1), (0, -1, 0), (1, 1, 0), (0, 0, 2), (-1, 0, 0)]
    assert is_direct(steps).tolist() == [True, True, False, False, True]
    assert reach(steps) == (1, 1, 2)


@pytest.mark.parametrize("steps", [[], [(0, 0, 0)], [(0, 1)], [(0.5, 0, 1)], (0, 0, 1)])
def test_what_is_no_list_of_offsets_is_refused(steps):
    with pytest.raises(BadInput, match="whole numbers z, y, x"):
        checked(steps)


@pytest.mark.parametrize("labels", [np.zeros((2, 2), np.uint64), np.zeros((2, 2, 2), np.float32)])
def test_labels_that_are_no_volume_of_integers_are_refused(labels):
    with pytest.raises(BadInput, match="integers along z, y, x"):
        affinities(labels, DIRECT)
