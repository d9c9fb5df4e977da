"""Components of a mask do not depend on how it is cut, and are those of scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from cellflow.core.components import components_block, numbered, touching
from cellflow.core.forest.seams import across_faces
from cellflow.core.grid import Grid


def blockwise(mask, block, min_size, *, join=True):
    """Components of a mask as a stage finds them."""
    grid = Grid(mask.shape, block)
    made = [
        components_block(mask[b.core], tuple(s.start for s in b.core), mask.shape, min_size) for b in grid
    ]
    rows = np.cumsum([0, *(part.size.size for _, part in made)])
    pairs = [np.empty((0, 2), np.int64)]
    for b in grid:
        for (side, name), there in across_faces(grid, b.id).items():
            if side == "high" and join:
                axis = "zyx".index(name)
                own, other = (np.moveaxis(made[k][0], axis, 0) for k in (b.id, there))
                pairs.append(touching(own[-1], other[0]) - 1 + rows[[b.id, there]])
    table = numbered([part for _, part in made], np.concatenate(pairs), min_size)
    found = np.zeros(mask.shape, np.uint64)
    for b in grid:
        own = np.append(np.zeros(1, np.uint64), table[rows[b.id] : rows[b.id + 1]])
        found[b.core] = own[made[b.id][0]]
    return found


def by_scipy(mask, min_size):
    """Components in C order of their first voxels, small ones left out."""
    labels, count = ndimage.label(mask)
    size = np.bincount(labels.ravel(), minlength=count + 1)
    kept = (size >= min_size) & (np.arange(count + 1) > 0)
    table = np.where(kept, np.cumsum(kept), 0)
    return table[labels].astype(np.uint64)


@st.composite
def masks(draw):
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    share = draw(st.sampled_from([0.2, 0.5, 0.7, 1.0]))
    seed = draw(st.integers(0, 10**6))
    return np.random.default_rng(seed).random(shape) < share


@given(masks(), st.tuples(*[st.integers(1, 8)] * 3), st.integers(0, 5))
def test_any_cut_gives_the_components_of_the_whole(mask, block, min_size):
    np.testing.assert_array_equal(blockwise(mask, block, min_size), by_scipy(mask, min_size))


def test_without_what_is_said_across_faces_the_cut_shows(rng):
    mask = rng.random((8, 8, 8)) < 0.4
    assert blockwise(mask, (4, 4, 4), 1, join=False).max() > by_scipy(mask, 1).max()


def test_specks_inside_a_block_make_no_rows_and_those_at_its_faces_do():
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = mask[0, 2, 2] = True
    labels, part = components_block(mask, (0, 0, 0), (9, 5, 5), 2)
    assert part.size.tolist() == [1]
    assert np.argwhere(labels).tolist() == [[0, 2, 2]]


def test_corners_do_not_connect():
    mask = np.zeros((1, 2, 2), bool)
    mask[0, 0, 0] = mask[0, 1, 1] = True
    assert by_scipy(mask, 1).max() == blockwise(mask, (1, 1, 1), 1).max() == 2


@pytest.mark.parametrize("value", [False, True])
def test_masks_of_one_value(value):
    mask = np.full((4, 5, 6), value)
    assert (blockwise(mask, (2, 3, 4), 0) == int(value)).all()


def test_numbers_follow_first_voxels_and_not_the_order_of_pairs(rng):
    mask = rng.random((6, 6, 6)) < 0.5
    _, part = components_block(mask, (0, 0, 0), mask.shape, 1)
    pairs = np.array([[0, 2], [1, 2]])
    np.testing.assert_array_equal(numbered([part], pairs, 1), numbered([part], pairs[::-1], 1))
