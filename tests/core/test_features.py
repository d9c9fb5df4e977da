"""Edge features of blocks add up to those of the volume, whatever the blocks."""

from collections import defaultdict
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cellflow.core import features
from cellflow.core.affinities import reach
from cellflow.core.edge_table import between, merge, statistics
from cellflow.core.errors import BadInput
from cellflow.core.features import edges_block, edges_block_affinities
from cellflow.core.grid import Grid

FIELDS = ("edges", "first", "value", "count")
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


def listed(rows):
    """The rows one by one: (u, v, value, count)."""
    edges = np.repeat(rows.edges, np.diff(rows.first), axis=0)
    return [(*e, w, n) for e, w, n in zip(edges.tolist(), rows.value, rows.count, strict=True)]


def expected_rows(found):
    return [
        (*edge, value, values.count(value)) for edge, values in found.items() for value in sorted(set(values))
    ]


@untimed
@given(volumes())
def test_the_rows_are_the_histograms_of_all_samples(volume):
    assert listed(whole(*volume)) == expected_rows(samples(*volume))


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
    assert len(merge(parts(labels, boundaries, (1, 1, 1), beyond=0)).edges) == 0
    assert len(merge(parts(labels, boundaries, (1, 1, 1))).edges) == 1


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
@given(volumes(), st.lists(st.sampled_from([0, 1, 7, 8, 2**40, 2**64 - 1]), max_size=3))
def test_ranges_of_smaller_labels_cut_the_table_in_pieces(volume, cuts):
    rows, bounds = whole(*volume), [0, *sorted(cuts), 2**64 - 1]  # no smaller label is the largest id
    pieces = [between(rows, a, b) for a, b in pairwise(bounds)]
    assert [row for piece in pieces for row in listed(piece)] == listed(rows)
    assert same(merge(pieces), rows)


def test_hand_checked_contact():
    labels = np.array([[[5, 5, 2], [5, 0, 2]]], np.uint64)
    boundaries = np.array([[[9, 10, 30], [9, 200, 40]]], np.uint8)
    rows = whole(labels, boundaries)
    assert [getattr(rows, f).tolist() for f in FIELDS] == [[[2, 5]], [0, 2], [10, 30], [1, 1]]


@pytest.mark.parametrize("label", [0, 4])
def test_a_constant_volume_has_no_edges(label):
    rows = whole(np.full((3, 4, 5), label, np.uint64), np.zeros((3, 4, 5), np.uint8))
    assert rows.value.size == 0
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


def test_room_for_more_edges_is_not_taken_for_edges():
    """Fresh memory holds what was there before: edges of another block, for instance."""
    u = np.full(64, 5, np.uint64)
    u[:2] = 3, 4
    _, _, _, table = features._double(u, u + np.uint64(1), np.zeros(64, np.int64), 2)
    assert sorted(table[table >= 0].tolist()) == [0, 1]


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


offsets = st.lists(
    st.tuples(*[st.integers(-4, 4)] * 3).filter(any) | st.sampled_from([(0, 0, 1), (0, -1, 0), (-1, 0, 0)]),
    min_size=1,
    max_size=4,
)


@st.composite
def affine_volumes(draw):
    labels, _ = draw(volumes())
    steps = draw(offsets)
    elements = st.sampled_from([0, 1, 2, 128, 254, 255])
    return labels, draw(arrays(np.uint8, (len(steps), *labels.shape), elements=elements)), steps


def affine_samples(labels, affinities, steps, *, direct):
    """255 - affinity of every pair of two labels, by plain Python, of direct neighbours or of all others."""
    found = defaultdict(list)
    for channel, step in zip(affinities, steps, strict=True):
        for i in np.ndindex(labels.shape):
            j = tuple(np.add(i, step).tolist())
            inside = all(0 <= n < size for n, size in zip(j, labels.shape, strict=True))
            if not inside or (sum(map(abs, step)) == 1) != direct:
                continue
            a, b = int(labels[i]), int(labels[j])
            if a != b and a and b:
                found[min(a, b), max(a, b)].append(255 - int(channel[i]))
    return dict(sorted(found.items()))


def affine_parts(labels, affinities, steps, block, halo=None):
    grid = Grid(labels.shape, block, reach(steps) if halo is None else halo)
    return [edges_block_affinities(labels[b.outer], affinities[:, *b.core], steps, b.crop) for b in grid]


def affine_whole(labels, affinities, steps):
    return edges_block_affinities(labels, affinities, steps, tuple(slice(0, n) for n in labels.shape))


@untimed
@given(affine_volumes())
def test_affinities_give_local_and_long_range_edges_all_their_samples(volume):
    found = affine_whole(*volume)
    assert listed(found.local) == expected_rows(affine_samples(*volume, direct=True))
    assert listed(found.long_range) == expected_rows(affine_samples(*volume, direct=False))


@untimed
@given(affine_volumes(), shapes)
def test_edges_of_affinities_do_not_depend_on_the_blocking(volume, block):
    cut, expected = affine_parts(*volume, block), affine_whole(*volume)
    assert same(merge([part.local for part in cut]), expected.local)
    assert same(merge([part.long_range for part in cut]), expected.long_range)


@pytest.mark.parametrize("step", [(0, 0, 3), (0, 0, -3)])
def test_a_halo_shorter_than_the_offset_is_noticed(step):
    volume = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.uint64).reshape(1, 1, 8), np.zeros((1, 1, 1, 8), np.uint8)
    for halo, edges in ((0, 2), (2, 4), (3, 5)):
        cut = affine_parts(*volume, [step], (1, 1, 4), (0, 0, halo))
        assert len(merge([part.long_range for part in cut]).edges) == edges


def test_the_opposite_offset_at_the_other_voxel_is_the_same_pair():
    rng = np.random.default_rng(4)
    labels, forward = IDS[rng.integers(0, 6, (4, 5, 6))], rng.integers(0, 256, (1, 4, 5, 6), np.uint8)
    backward = np.roll(forward, (1, -2, 3), axis=(1, 2, 3))
    found = [affine_whole(labels, *given) for given in ((forward, [(1, -2, 3)]), (backward, [(-1, 2, -3)]))]
    assert same(found[0].long_range, found[1].long_range)
    assert not same(found[0].long_range, affine_whole(labels, forward, [(-1, 2, -3)]).long_range)


def test_direct_affinities_are_a_boundary_map_with_one_sample_a_pair():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 5, (5, 6, 7), np.uint64)
    constant = np.full(labels.shape, 55, np.uint8)
    affinities = np.full((3, *labels.shape), 200, np.uint8)
    found = affine_whole(labels, affinities, [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
    expected, table = statistics(whole(labels, constant)), statistics(found.local, samples_per_pair=1)
    for field in ("edges", "size", "mean", "minimum", "maximum", "quantiles"):
        assert np.array_equal(getattr(table, field), getattr(expected, field))
    assert found.long_range.edges.shape == (0, 2)


def test_wrong_affinities_are_refused():
    labels, crop = np.zeros((3, 3, 4), np.uint64), (slice(1, 3), slice(0, 3), slice(0, 3))
    affinities, steps = np.zeros((2, 2, 3, 3), np.uint8), [(0, 0, 1), (-1, 0, 0)]
    edges_block_affinities(labels, affinities, steps, crop)
    with pytest.raises(BadInput, match="affinities float32"):
        edges_block_affinities(labels, affinities.astype(np.float32), steps, crop)
    with pytest.raises(BadInput, match=r"expected .* \(1, 2, 3, 3\), one channel per offset"):
        edges_block_affinities(labels, affinities, steps[:1], crop)
    with pytest.raises(BadInput, match="affinities of the core"):
        edges_block_affinities(labels, np.zeros((2, 3, 3, 4), np.uint8), steps, crop)
    with pytest.raises(BadInput, match="around the core"):
        edges_block_affinities(labels[:2], affinities, steps, crop)
    with pytest.raises(BadInput, match="none of them 0, 0, 0"):
        edges_block_affinities(labels, affinities, [(0, 0, 1), (0, 0, 0)], crop)
