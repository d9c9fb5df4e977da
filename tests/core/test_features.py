"""Edge features of blocks add up to those of the volume, whatever the blocks."""

from collections import defaultdict
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cellflow.core.errors import BadInput
from cellflow.core.features import EdgeHistograms, edges_block, merge, statistics

FIELDS = ("u", "v", "value", "count")
IDS = np.array([0, 7, 1, 2**40, 2**63 + 1, 2**64 - 1], np.uint64)  # 0 is masked; far beyond any dense range
QUANTILES = (0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 1.0)

untimed = settings(deadline=None)  # the first example compiles
shapes = st.tuples(*[st.integers(1, 6)] * 3)


@st.composite
def volumes(draw):
    shape = draw(shapes)
    labels = IDS[draw(arrays(np.uint8, shape, elements=st.integers(0, len(IDS) - 1)))]
    boundaries = draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 128, 254, 255])))
    return labels, boundaries


def samples(labels, boundaries):
    """Every boundary value at every edge, by plain Python: {(u, v): [value, ...]}."""
    found = defaultdict(list)
    for i in np.ndindex(labels.shape):
        for axis in range(3):
            j = tuple(n + (a == axis) for a, n in enumerate(i))
            if j[axis] == labels.shape[axis]:
                continue
            a, b = int(labels[i]), int(labels[j])
            if a != b and a and b:
                found[min(a, b), max(a, b)] += [int(boundaries[i]), int(boundaries[j])]
    return dict(sorted(found.items()))


def parts(labels, boundaries, block, beyond=1):
    """The blocks of a volume, each read with `beyond` voxels above its upper faces."""
    cut = []
    for start in product(*(range(0, n, b) for n, b in zip(labels.shape, block, strict=True))):
        core = tuple(min(b, n - s) for s, b, n in zip(start, block, labels.shape, strict=True))
        box = tuple(slice(s, s + c + beyond) for s, c in zip(start, core, strict=True))
        owned = core if beyond == 1 else labels[box].shape
        cut.append(edges_block(labels[box], boundaries[box], owned))
    return cut


def whole(labels, boundaries):
    return edges_block(labels, boundaries, labels.shape)


def same(a, b):
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in FIELDS)


@untimed
@given(volumes())
def test_the_rows_are_the_histograms_of_all_samples(volume):
    rows = whole(*volume)
    expected = [
        (*edge, value, values.count(value))
        for edge, values in samples(*volume).items()
        for value in sorted(set(values))
    ]
    found = zip(*(getattr(rows, f).tolist() for f in FIELDS), strict=True)
    assert list(found) == expected


@untimed
@given(volumes(), shapes)
def test_edges_do_not_depend_on_the_blocking(volume, block):
    assert same(merge(parts(*volume, block)), whole(*volume))


def test_a_pair_counted_by_both_blocks_is_noticed():
    rng = np.random.default_rng(0)
    volume = IDS[rng.integers(1, len(IDS), (5, 5, 5))], rng.integers(0, 256, (5, 5, 5), np.uint8)
    greedy = merge(parts(*volume, (2, 2, 2), beyond=2))  # blocks that also own the pairs above their faces
    assert not same(greedy, whole(*volume))
    assert greedy.count.sum() > whole(*volume).count.sum()


def test_a_pair_across_blocks_that_nobody_reads_is_noticed():
    labels = np.array([1, 2], np.uint64).reshape(2, 1, 1)
    boundaries = np.zeros((2, 1, 1), np.uint8)
    assert len(merge(parts(labels, boundaries, (1, 1, 1), beyond=0)).u) == 0
    assert len(merge(parts(labels, boundaries, (1, 1, 1))).u) == 1


@untimed
@given(volumes(), shapes, st.randoms())
def test_parts_merge_in_any_order_and_grouping(volume, block, random):
    cut = parts(*volume, block)
    expected = merge(cut)
    random.shuffle(cut)
    middle = random.randint(0, len(cut))
    assert same(merge([merge(cut[:middle]), merge(cut[middle:])]), expected)


@untimed
@given(volumes())
def test_statistics_are_those_of_all_samples(volume):
    table, expected = statistics(whole(*volume), QUANTILES), samples(*volume)
    assert [tuple(e) for e in table.edges.tolist()] == list(expected)
    for row, values in enumerate(expected.values()):
        x = np.array(values, np.uint8)
        assert table.size[row] == x.size // 2
        assert table.mean[row] == pytest.approx((x / 255).mean(), abs=1e-15)
        assert table.variance[row] == pytest.approx((x / 255).var(), abs=1e-15)
        assert (table.minimum[row], table.maximum[row]) == (x.min() / 255, x.max() / 255)
        assert np.array_equal(table.quantiles[row], np.quantile(x, QUANTILES, method="inverted_cdf") / 255)


@untimed
@given(st.lists(st.integers(0, 255), min_size=1, max_size=60), st.lists(st.floats(0, 1), max_size=4))
def test_any_quantile_equals_numpy(values, quantiles):
    value, count = np.unique(np.array(values, np.uint8), return_counts=True)
    ids = np.ones(value.size, np.uint64)
    table = statistics(EdgeHistograms(ids, ids + ids, value, count), quantiles)
    expected = np.quantile(np.array(values, np.uint8), quantiles, method="inverted_cdf") / 255
    assert np.array_equal(table.quantiles[0], expected)


@pytest.mark.parametrize("count", [(10**12, 10**12), (10**12, 1), (1, 1)])
def test_moments_keep_their_digits_for_huge_contacts(count):
    ids, (a, b) = np.ones(2, np.uint64), count
    table = statistics(EdgeHistograms(ids, ids + ids, np.array([254, 255], np.uint8), np.array(count)))
    assert table.mean[0] == pytest.approx((254 * a + 255 * b) / (a + b) / 255, rel=1e-15, abs=0)
    assert table.variance[0] == pytest.approx(a / (a + b) * b / (a + b) / 255**2, rel=1e-12, abs=0)


def test_equal_samples_have_no_variance():
    labels = np.array([[[3, 3, 9, 9]]], np.uint64)
    table = statistics(whole(labels, np.full(labels.shape, 77, np.uint8)))
    assert table.variance.tolist() == [0.0]


def test_hand_checked_contact():
    labels = np.array([[[5, 5, 2], [5, 0, 2]]], np.uint64)
    boundaries = np.array([[[9, 10, 30], [9, 200, 40]]], np.uint8)
    rows = whole(labels, boundaries)
    assert [getattr(rows, f).tolist() for f in FIELDS] == [[2, 2], [5, 5], [10, 30], [1, 1]]


@pytest.mark.parametrize("label", [0, 4])
def test_a_constant_volume_has_no_edges(label):
    rows = whole(np.full((3, 4, 5), label, np.uint64), np.zeros((3, 4, 5), np.uint8))
    assert rows.u.size == 0
    assert statistics(rows).edges.shape == (0, 2)
    assert statistics(rows).quantiles.shape == (0, 5)


def test_nothing_merges_to_nothing():
    assert same(merge([]), whole(np.zeros((0, 4, 5), np.uint64), np.zeros((0, 4, 5), np.uint8)))
    assert merge([]).value.dtype == np.uint8
    assert statistics(merge([])).size.shape == (0,)


def test_many_edges_and_long_rows_outgrow_the_first_tables():
    labels = np.random.default_rng(1).permutation(36_000).astype(np.uint64).reshape(2, 2, 9000) << np.uint64(
        20
    )
    boundaries = np.random.default_rng(2).integers(0, 256, labels.shape, np.uint8)
    rows = whole(labels, boundaries)
    expected = samples(labels, boundaries)
    assert statistics(rows).size.tolist() == [len(x) // 2 for x in expected.values()]
    assert same(rows, merge(parts(labels, boundaries, (1, 2, 5000))))


def test_read_only_and_strided_arrays_give_the_same_rows():
    rng = np.random.default_rng(3)
    labels, boundaries = rng.integers(0, 4, (4, 5, 6), np.uint64), rng.integers(0, 256, (4, 5, 6), np.uint8)
    expected = whole(labels, boundaries)
    assert same(whole(np.asfortranarray(labels), np.asfortranarray(boundaries)), expected)
    labels.flags.writeable = boundaries.flags.writeable = False
    assert same(whole(labels, boundaries), expected)


def test_wrong_arrays_are_refused():
    labels, boundaries = np.zeros((3, 3, 3), np.uint64), np.zeros((3, 3, 3), np.uint8)
    with pytest.raises(BadInput, match="boundaries float32"):
        edges_block(labels, boundaries.astype(np.float32), (3, 3, 3))
    with pytest.raises(BadInput, match="labels int64"):
        edges_block(labels.astype(np.int64), boundaries, (3, 3, 3))
    with pytest.raises(BadInput, match=r"core \(1, 3, 3\)"):
        edges_block(labels, boundaries, (1, 3, 3))
    with pytest.raises(BadInput, match="same box"):
        edges_block(labels, boundaries[1:], (3, 3, 3))
    with pytest.raises(BadInput, match="write the median"):
        statistics(merge([]), (50,))
