import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellflow.core.grid import Grid, around, box_shape, whole, within

lengths = st.tuples(*[st.integers(1, 24)] * 3)
blocks = st.tuples(*[st.integers(2, 20)] * 3)
halos = st.tuples(*[st.integers(0, 30)] * 3)


@given(lengths, blocks)
def test_cores_tile_the_volume_exactly(shape, block):
    covered = np.zeros(shape, np.int64)
    for b in Grid(shape, block):
        covered[b.core] += 1
    assert (covered == 1).all()


@given(lengths, blocks, halos)
def test_crop_of_outer_is_the_core(shape, block, halo):
    numbers = np.arange(np.prod(shape)).reshape(shape)
    for b in Grid(shape, block, halo):
        np.testing.assert_array_equal(numbers[b.outer][b.crop], numbers[b.core])
        for outer, core, n, h in zip(b.outer, b.core, shape, halo, strict=True):
            assert (outer.start, outer.stop) == (max(0, core.start - h), min(n, core.stop + h))


@given(lengths, blocks)
def test_cores_start_at_multiples_of_the_block_and_none_is_thin(shape, block):
    for b in Grid(shape, block):
        for core, n, size in zip(b.core, shape, block, strict=True):
            assert core.start % size == 0
            length = core.stop - core.start
            assert 4 * length >= size or length == n
            assert length < 1.25 * size


@pytest.mark.parametrize(
    ("n", "starts"),
    [
        (256, [0]),
        (257, [0]),
        (319, [0]),
        (320, [0, 256]),
        (512, [0, 256]),
        (575, [0, 256]),
        (576, [0, 256, 512]),
        (63, [0]),
    ],
)
def test_a_thin_remainder_is_joined_to_its_neighbour(n, starts):
    assert Grid((n, 1, 1), (256, 256, 256)).starts[0] == starts


@given(lengths, blocks, halos)
def test_a_block_by_number_is_that_of_the_list(shape, block, halo):
    grid = Grid(shape, block, halo)
    listed = list(grid)
    assert len(grid) == len(listed)
    assert [b.id for b in listed] == list(range(len(grid)))
    assert [grid[i] for i in range(len(grid))] == listed
    with pytest.raises(IndexError):
        grid[len(grid)]


@given(lengths, blocks, halos)
def test_the_largest_boxes_are_those_of_the_blocks(shape, block, halo):
    grid = Grid(shape, block, halo)
    listed = list(grid)
    assert grid.largest_outer == tuple(np.max([box_shape(b.outer) for b in listed], axis=0))
    assert grid.largest_core == tuple(np.max([box_shape(b.core) for b in listed], axis=0))


@given(lengths, blocks, halos)
def test_the_boxes_of_a_block_are_its_core_grown_and_seen_from_outside(shape, block, halo):
    everything = whole(shape)
    assert box_shape(everything) == shape
    for b in Grid(shape, block, halo):
        assert around(b.core, halo, shape) == b.outer
        assert within(b.core, b.outer) == b.crop
        assert within(b.core, everything) == b.core
