"""Node tables of blocks add up to that of the volume, whatever the blocks."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cellflow.core.errors import BadInput
from cellflow.core.nodes import merge, nodes_block

FIELDS = ("id", "size", "lower", "upper", "sums")
IDS = np.array([0, 7, 1, 2**40, 2**63 + 1, 2**64 - 1], np.uint64)

untimed = settings(deadline=None)  # the first example compiles
shapes = st.tuples(*[st.integers(1, 6)] * 3)
volumes = shapes.flatmap(lambda s: arrays(np.uint8, s, elements=st.integers(0, len(IDS) - 1))).map(IDS.take)


def parts(labels, block, overlap=0):
    starts = product(*(range(0, n, b) for n, b in zip(labels.shape, block, strict=True)))
    return [
        nodes_block(
            labels[tuple(slice(s, s + b + overlap) for s, b in zip(start, block, strict=True))], start
        )
        for start in starts
    ]


def whole(labels):
    return nodes_block(labels, (0, 0, 0))


def same(a, b):
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in FIELDS)


@untimed
@given(volumes, st.tuples(*[st.integers(0, 10**6)] * 3))
def test_nodes_are_those_counted_voxel_by_voxel(labels, origin):
    table = nodes_block(labels, origin)
    assert table.id.tolist() == sorted(set(labels.ravel().tolist()) - {0})
    for row, label in enumerate(table.id):
        voxels = np.argwhere(labels == label) + origin
        assert table.size[row] == len(voxels)
        assert np.array_equal(table.lower[row], voxels.min(0))
        assert np.array_equal(table.upper[row], voxels.max(0) + 1)
        assert np.array_equal(table.sums[row], voxels.sum(0))
        assert table.centroid[row] == pytest.approx(voxels.mean(0))


@untimed
@given(volumes, shapes)
def test_nodes_do_not_depend_on_the_blocking(labels, block):
    assert same(merge(parts(labels, block)), whole(labels))


def test_a_voxel_counted_by_two_blocks_is_noticed():
    labels = np.ones((4, 4, 4), np.uint64)
    assert merge(parts(labels, (2, 4, 4), overlap=1)).size.tolist() == [64 + 16]
    assert not same(merge(parts(labels, (2, 4, 4), overlap=1)), whole(labels))


@untimed
@given(volumes, shapes, st.randoms())
def test_parts_merge_in_any_order_and_grouping(labels, block, random):
    cut = parts(labels, block)
    expected = merge(cut)
    random.shuffle(cut)
    middle = random.randint(0, len(cut))
    assert same(merge([merge(cut[:middle]), merge(cut[middle:])]), expected)


def test_masked_voxels_are_no_node():
    assert whole(np.zeros((2, 3, 4), np.uint64)).id.size == 0
    assert same(whole(np.zeros((0, 3, 4), np.uint64)), merge([]))
    assert merge([]).lower.shape == (0, 3)


def test_many_nodes_outgrow_the_first_table():
    labels = np.random.default_rng(0).permutation(20**3).reshape(20, 20, 20).astype(np.uint64) << np.uint64(
        45
    )
    table = whole(labels)
    assert np.array_equal(table.id, np.sort(labels.ravel())[1:])
    assert (table.size == 1).all()
    assert np.array_equal(table.lower, table.sums)


def test_read_only_and_strided_arrays_give_the_same_nodes():
    labels = np.random.default_rng(1).integers(0, 4, (4, 5, 6), np.uint64)
    expected = whole(labels)
    assert same(whole(np.asfortranarray(labels)), expected)
    labels.flags.writeable = False
    assert same(whole(labels), expected)


@pytest.mark.parametrize("labels", [np.zeros((2, 2, 2), np.int64), np.zeros((2, 2), np.uint64)])
def test_wrong_arrays_are_refused(labels):
    with pytest.raises(BadInput, match=r"expected uint64 \(z, y, x\)"):
        nodes_block(labels, (0, 0, 0))
