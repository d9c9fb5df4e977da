"""Which nucleus a supervoxel holds: hand-made volumes, and any cut of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellflow.core.contingency import contingency_block, merge
from cellflow.core.nuclei import between, held, merge_sizes, nucleus_sizes


def of(supervoxels, nuclei, overlap=0.2):
    table = contingency_block(np.array(supervoxels, np.uint64), np.array(nuclei, np.uint64))
    return held(table, 1, int(np.max(supervoxels)) + 1, nucleus_sizes(table), overlap)


def line(*runs):
    """Labels along x from (label, length)."""
    return np.concatenate([np.full(length, label, np.uint64) for label, length in runs])


def test_a_small_nucleus_in_a_large_supervoxel_is_held():
    found = of(line((1, 100)), line((0, 90), (7, 10)))
    assert found.nucleus.tolist() == [7]
    assert found.overlap.tolist() == [10]
    assert not found.contested.any()


def test_a_large_nucleus_is_held_by_all_small_supervoxels_in_it():
    small = [(label, 5) for label in range(1, 11)]
    found = of(line(*small, (11, 85)), line((7, 50), (0, 85)))
    assert found.nucleus.tolist() == [7] * 10 + [0]


@pytest.mark.parametrize(("reach", "expected"), [(4, 0), (5, 7)])
def test_a_nucleus_that_reaches_over_a_membrane_counts_from_a_fifth_on(reach, expected):
    found = of(line((1, 100), (2, 25)), line((0, 75 + reach), (7, 25), (0, 25 - reach)))
    assert found.nucleus.tolist() == [7, expected]


def test_the_larger_overlap_wins_and_then_the_smaller_id():
    supervoxels = line((1, 40), (2, 40))
    found = of(supervoxels, line((8, 12), (9, 13), (0, 15), (9, 20), (8, 20)))
    assert found.nucleus.tolist() == [9, 8]
    assert found.contested.tolist() == [True, True]


def test_a_higher_overlap_leaves_more_supervoxels_without():
    supervoxels, nuclei = line((1, 50), (2, 50)), line((0, 40), (7, 20), (0, 40))
    assert of(supervoxels, nuclei, 0.5).nucleus.tolist() == [7, 7]
    assert of(supervoxels, nuclei, 0.51).nucleus.tolist() == [0, 0]


def test_what_is_masked_belongs_to_no_nucleus():
    table = contingency_block(line((0, 10), (1, 10)), line((5, 12), (0, 8)))
    sizes = nucleus_sizes(table)
    assert (sizes.id.tolist(), sizes.size.tolist()) == ([5], [2])


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 9))
def test_no_cut_into_blocks_or_ranges_changes_anything(seed, blocks, length):
    rng = np.random.default_rng(seed)
    supervoxels = np.repeat(rng.integers(0, 9, 40), rng.integers(1, 6, 40)).astype(np.uint64)
    nuclei = rng.choice(np.array([0, 3, 2**60, 11], np.uint64), supervoxels.size)
    total = int(supervoxels.max())
    parts = [
        contingency_block(a, b)
        for a, b in zip(np.array_split(supervoxels, blocks), np.array_split(nuclei, blocks), strict=True)
    ]
    sizes = merge_sizes(nucleus_sizes(part) for part in parts)
    ranges = []
    for start in range(1, total + 1, length):
        stop = min(start + length, total + 1)
        ranges.append(held(merge(between(part, start, stop) for part in parts), start, stop, sizes, 0.3))
    expected = of(supervoxels, nuclei, 0.3)
    for name in ("nucleus", "overlap", "contested"):
        found = np.concatenate([getattr(r, name) for r in ranges])
        np.testing.assert_array_equal(found, getattr(expected, name))
