import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.segmentation import watershed as skimage_watershed

from cellflow.core.distance import boundary_distance
from cellflow.core.forest import block as forest
from cellflow.core.forest import join as forest_join
from cellflow.core.forest import keys as forest_keys
from cellflow.core.forest import seams as forest_seams
from cellflow.core.forest.block import forest_block
from cellflow.core.forest.join import supervoxel_tables
from cellflow.core.forest.keys import NOTHING, altitudes, framed
from cellflow.core.forest.trees import WAY, grow_trees
from cellflow.core.grid import Grid
from cellflow.core.seeds import local_maxima
from cellflow.core.smoothing import smooth

CAP, SIGMA, BOUNDARY = 4.0, 1.0, 102
HALO = 4 + 3 + 1

numbers = st.integers(0, 2**32 - 1)
sides = st.tuples(st.integers(1, 8), st.integers(1, 9), st.integers(1, 12))
blocks = st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(1, 7))
filters = st.tuples(st.sampled_from([0, 5, 30]), st.booleans(), st.sampled_from([None, 0.5, 0.9]))


def ground(boundaries, mask=None, planar=False):
    """Altitude and smoothed distance of a box of boundary probabilities."""
    inside = boundaries < BOUNDARY
    inside &= True if mask is None else mask
    distance = boundary_distance(inside, (1, 1, 1), CAP, planar=planar)
    depth = boundary_distance(~inside, (1, 1, 1), CAP, planar=planar)
    smoothed = smooth(distance, (0 if planar else SIGMA, SIGMA, SIGMA))
    if mask is not None:
        smoothed[~mask] = -np.inf
    return altitudes(boundaries, smoothed, depth, CAP), smoothed


def labels_of(grid, part_of, min_size):
    """The labels of a volume; `part_of` gives components and part of a block."""
    made = {block.id: part_of(block) for block in grid}
    tables, count = supervoxel_tables(grid, {n: part for n, (_, part) in made.items()}, min_size)
    out = np.zeros(grid.shape, np.uint64)
    for block in grid:
        out[block.core] = tables[block.id][made[block.id][0]]
    assert out.max(initial=0) == count
    return out


def from_ground(altitude, smoothed, block, min_size=0, planar=False):
    """Labels by blocks that are cut from maps of the whole volume."""

    def part_of(block):
        outer = [
            framed(a[block.outer], block.crop, fill) for a, fill in ((altitude, NOTHING), (smoothed, -np.inf))
        ]
        return forest_block(*outer, block, altitude.shape, min_size, planar=planar)

    return labels_of(Grid(altitude.shape, block, (1, 1, 1)), part_of, min_size)


def from_boundaries(boundaries, block, mask=None, min_size=0, planar=False):
    """Labels by blocks that read their halo of boundary probabilities and nothing else."""
    grid = Grid(boundaries.shape, block, (0 if planar else HALO, HALO, HALO))

    def part_of(block):
        inside = None if mask is None else mask[block.outer]
        altitude, smoothed = ground(boundaries[block.outer], inside, planar)
        outer = framed(altitude, block.crop, NOTHING), framed(smoothed, block.crop, -np.inf)
        return forest_block(*outer, block, boundaries.shape, min_size, planar=planar)

    return labels_of(grid, part_of, min_size)


def reference(altitude, smoothed, min_size=0, planar=False):
    """Kruskal's forest over all pairs of voxels in their order, twice: without and with the small seeds."""
    exists = altitude != NOTHING
    seeds = local_maxima(smoothed, exists, planar=planar)[0].ravel()
    index, height, pairs = np.arange(altitude.size).reshape(altitude.shape), altitude.ravel().tolist(), []
    for axis in range(planar, 3):
        lines = np.moveaxis(index, axis, 0)
        for u, v in zip(lines[:-1].ravel().tolist(), lines[1:].ravel().tolist(), strict=True):
            if exists.flat[u] and exists.flat[v]:
                pairs.append((max(height[u], height[v]), min(height[u], height[v]), 3 * u + axis, u, v))
    pairs.sort()
    every = np.unique(seeds[seeds > 0])
    tree = grow(seeds, set(every.tolist()), pairs)
    sizes = np.bincount(tree)
    large = {n for n in every.tolist() if sizes[tree[np.flatnonzero(seeds == n)[0]]] >= min_size}
    tree = grow(seeds, large, pairs)
    out, number = np.zeros(altitude.size, np.uint64), {}
    for i in np.flatnonzero(exists):
        out[i] = number.setdefault(tree[i], len(number) + 1)
    return out.reshape(altitude.shape)


def grow(seeds, kept, pairs):
    parent, holds, member = list(range(seeds.size)), [False] * seeds.size, {}

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i in np.flatnonzero(seeds).tolist():
        parent[i] = member.setdefault(seeds[i], i)
        holds[parent[i]] = int(seeds[i]) in kept
    for *_, a, b in pairs:
        u, v = root(a), root(b)
        if u != v and not (holds[u] and holds[v]):
            parent[u], holds[v] = v, holds[u] or holds[v]
    return np.array([root(i) for i in range(seeds.size)])


def scaled(values):
    values = values - values.min()
    return (255 * values / max(values.max(), 1e-9)).astype(np.uint8)


def boundary_map(kind, shape, rng):
    if kind == "few levels":
        return (rng.integers(0, 4, shape) * 70).astype(np.uint8)
    if kind == "sparse":
        return np.where(rng.random(shape) < 0.05, 255, 0).astype(np.uint8)
    if kind == "smooth":
        return scaled(smooth(rng.random(shape, np.float32), (2, 2, 2)))
    if kind == "thick":
        return np.where(smooth(rng.random(shape, np.float32), (1, 1, 1)) > 0.5, 255, 0).astype(np.uint8)
    if kind == "constant":
        return np.full(shape, rng.choice([0, 60, 255]), np.uint8)
    return rng.integers(0, 256, shape, dtype=np.uint8)


kinds = st.sampled_from(["few levels", "sparse", "smooth", "thick", "constant", "random"])


@settings(max_examples=40, deadline=None)
@given(numbers, kinds, sides, blocks, filters)
def test_labels_are_those_of_kruskals_forest_whatever_the_blocks(number, kind, shape, block, filtered):
    min_size, planar, share = filtered
    rng = np.random.default_rng(number)
    boundaries = boundary_map(kind, shape, rng)
    mask = None if share is None else rng.random(shape) < share
    expected = reference(*ground(boundaries, mask, planar), min_size, planar)
    for cut in (shape, block):
        assert np.array_equal(from_boundaries(boundaries, cut, mask, min_size, planar), expected)
    if mask is not None:
        assert np.array_equal(expected > 0, mask)


@settings(max_examples=30, deadline=None)
@given(numbers, st.integers(1, 3), st.integers(1, 3), blocks, st.booleans())
def test_ties_and_plateaus_fall_the_same_way_in_all_blocks(number, levels, values, block, planar):
    rng = np.random.default_rng(number)
    shape = (5, 9, 8)
    altitude = (rng.integers(0, levels, shape) << 3).astype(np.uint32)
    smoothed = (rng.integers(0, values, shape) * (rng.random(shape) < 0.3)).astype(np.float32)
    expected = reference(altitude, smoothed, 4, planar)
    assert np.array_equal(from_ground(altitude, smoothed, block, 4, planar), expected)


@settings(max_examples=100, deadline=None)
@given(numbers, st.tuples(st.just(1), st.integers(6, 12), st.integers(7, 14)), st.sampled_from([0, 9]))
def test_pieces_of_plateaus_join_nothing_before_it_is_known_whether_they_are_seeds(number, block, min_size):
    rng, shape = np.random.default_rng(number), (1, 12, 14)
    altitude = (rng.integers(0, 20, shape) << 3).astype(np.uint32)
    islands = smooth(rng.random(shape, np.float32), (0.7, 0.7, 0.7))
    smoothed = (islands > np.median(islands)).astype(np.float32)
    smoothed[rng.random(shape) < 0.02] = 2
    expected = reference(altitude, smoothed, min_size)
    assert np.array_equal(from_ground(altitude, smoothed, block, min_size), expected)


@settings(max_examples=15, deadline=None)
@given(numbers, blocks)
def test_labels_follow_cubes_of_the_volume_and_not_the_blocks(number, block):
    rng, shape = np.random.default_rng(number), (5, 9, 8)
    boundaries = boundary_map("random", shape, rng)
    plain = from_boundaries(boundaries, shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forest_join, "CUBE", 2)
        found = from_boundaries(boundaries, shape)
        assert np.array_equal(from_boundaries(boundaries, block), found)
    assert len(np.unique(np.stack([plain, found], 3).reshape(-1, 2), axis=0)) == plain.max()
    first = np.unique(found, return_index=True)[1]
    z, y, x = np.unravel_index(first, shape)
    cubes = [tuple(c) for c in np.stack([z // 2, y // 2, x // 2], 1).tolist()]
    order = [cube for cube, _ in itertools.groupby(cubes)]
    assert order == sorted(set(cubes), key=lambda cube: [[n >> bit & 1 for n in cube] for bit in (2, 1, 0)])


def flat_ground_with_few_seeds():
    """Only pair ids decide where its supervoxels meet."""
    altitude = np.full((6, 16, 16), 8, np.uint32)
    return altitude, smooth(np.random.default_rng(5).random(altitude.shape, np.float32), (2, 2, 2))


def test_ties_that_fall_by_order_of_arrival_are_caught(monkeypatch):
    altitude, smoothed = flat_ground_with_few_seeds()
    expected = from_ground(altitude, smoothed, altitude.shape)
    assert np.array_equal(from_ground(altitude, smoothed, (3, 5, 6)), expected)
    for module in (forest_join, forest_seams):
        monkeypatch.setattr(module, "ascending", lambda key, pair: np.argsort(key, kind="stable"))
    assert not np.array_equal(from_ground(altitude, smoothed, (3, 5, 6)), expected)


def test_pair_ids_counted_inside_a_block_are_caught(monkeypatch):
    altitude, smoothed = flat_ground_with_few_seeds()
    expected = from_ground(altitude, smoothed, altitude.shape)

    def in_block(self, local):
        return np.maximum(local, 0).astype(np.uint64)

    def unsettled(grid, number, parts, seeds, min_size):
        own = forest_seams._own_nodes(number, parts[number], seeds, min_size)
        return own, forest_seams._contribution(parts[number], own)

    # Exits are pair ids too: without `settle`, which only saves work, nothing but the tie rule is broken.
    monkeypatch.setattr(forest_join, "settle", unsettled)
    assert np.array_equal(from_ground(altitude, smoothed, (3, 5, 6)), expected)
    monkeypatch.setattr(forest._Place, "pair", in_block)
    assert not np.array_equal(from_ground(altitude, smoothed, (3, 5, 6)), expected)


def test_equals_flooding_where_every_minimum_is_a_seed_and_no_heights_are_equal():
    """Then the flood rises evenly and takes each voxel from its lowest neighbour, as the forest does.

    Where a minimum has no seed, a queue enters it late over its pass, and a voxel above it may be taken
    first from a higher neighbour that was reached before; the forest still takes its lowest pair.
    """
    compared = 0
    for number in range(20):
        rng = np.random.default_rng(number)
        values = smooth(rng.random((12, 14, 16), np.float32), (2.5, 2.5, 2.5))
        rank = np.argsort(np.argsort(values.ravel(), kind="stable")).reshape(values.shape)
        altitude, smoothed = (rank << 3).astype(np.uint32), -rank.astype(np.float32)
        seeds, count = local_maxima(smoothed)
        padded = np.pad(rank, 1, constant_values=rank.size)
        around = [np.roll(padded, s, a)[1:-1, 1:-1, 1:-1] for a in range(3) for s in (1, -1)]
        if (rank < np.min(around, axis=0)).sum() > count:
            continue
        compared += 1
        expected = skimage_watershed(rank, seeds)
        found = from_ground(altitude, smoothed, (5, 4, 7))
        pairs = np.unique(np.stack([expected.ravel(), found.ravel().astype(np.int64)]), axis=1)
        assert pairs.shape[1] == count == found.max()
    assert compared >= 5


def test_two_symmetric_seeds_share_the_room_between_them():
    z, y, x = np.indices((13, 13, 25)) - 6
    room = np.minimum(z**2 + y**2 + x**2, z**2 + y**2 + (x - 12) ** 2) < 30
    labels = from_boundaries(np.where(room, 0, 255).astype(np.uint8), (5, 13, 9))
    one, two = np.bincount(labels.ravel().astype(int))[1:]
    assert abs(one - two) < 0.05 * (one + two)
    assert np.array_equal(labels[:, :, :12] == 1, np.ones((13, 13, 12), bool))


@pytest.mark.parametrize("thickness", [3, 5, 7])
def test_a_thick_saturated_membrane_is_split_in_its_middle(thickness):
    boundaries = np.zeros((6, 9, 12 + thickness), np.uint8)
    boundaries[:, :, 6:-6] = 255
    labels = from_boundaries(boundaries, (3, 4, 5))
    half = 6 + thickness // 2
    assert labels.max() == 2
    assert (labels[:, :, :half] == 1).all()
    assert (labels[:, :, half + 1 :] == 2).all()


def test_a_supervoxel_in_many_small_pieces_is_as_large_as_it_is():
    boundaries = np.full((3, 9, 20), 255, np.uint8)
    boundaries[1, 4, 1:12] = 0
    boundaries[1, 4, 15:17] = 0
    whole = from_boundaries(boundaries, (3, 9, 20), min_size=150)
    assert whole.max() == 2
    assert np.array_equal(from_boundaries(boundaries, (1, 2, 2), min_size=150), whole)
    smallest = np.bincount(whole.ravel().astype(int))[1:].min()
    assert from_boundaries(boundaries, (1, 2, 2), min_size=int(smallest)).max() == 2
    assert from_boundaries(boundaries, (1, 2, 2), min_size=int(smallest) + 1).max() == 1


@pytest.mark.parametrize("block", [(4, 4, 4), (1, 3, 50), (3, 40, 2)])
def test_a_saturated_plateau_over_many_blocks_is_one_supervoxel(block):
    assert (from_boundaries(np.zeros((12, 14, 16), np.uint8), block) == 1).all()


def test_a_plateau_with_a_higher_voxel_in_another_block_is_no_seed():
    smoothed = np.ones((4, 6, 30), np.float32)
    smoothed[2, 3, 28] = 2
    smoothed[:, :, :4] = [0, 3, 3, 0]
    altitude = np.full(smoothed.shape, 8, np.uint32)
    labels = from_ground(altitude, smoothed, (2, 3, 4))
    assert labels.max() == 2
    assert np.array_equal(labels, reference(altitude, smoothed))


def test_islands_of_the_mask_without_room_for_a_seed_are_supervoxels():
    mask = np.ones((4, 5, 12), bool)
    mask[:, :, 6] = False
    labels = from_boundaries(np.full(mask.shape, 255, np.uint8), (2, 2, 5), mask, min_size=10**6)
    assert (labels[:, :, :6] == 1).all()
    assert (labels[:, :, 6] == 0).all()
    assert (labels[:, :, 7:] == 2).all()


def test_supervoxels_are_numbered_by_their_first_voxels(rng):
    labels = from_boundaries(boundary_map("smooth", (8, 20, 20), rng), (3, 6, 5))
    found, first = np.unique(labels, return_index=True)
    assert found.tolist() == list(range(1, len(found) + 1))
    assert len(found) > 3
    assert (np.diff(first) > 0).all()


@pytest.mark.parametrize("kind", ["few levels", "constant", "sparse"])
def test_the_order_of_the_blocks_does_not_matter(kind, rng):
    boundaries = boundary_map(kind, (8, 12, 12), rng)
    grid = Grid(boundaries.shape, (3, 5, 4), (1, 1, 1))
    altitude, smoothed = ground(boundaries)
    parts = {}
    for block in grid:
        outer = [
            framed(a[block.outer], block.crop, fill) for a, fill in ((altitude, NOTHING), (smoothed, -np.inf))
        ]
        parts[block.id] = forest_block(*outer, block, grid.shape, 5, planar=False)[1]
    tables, count = supervoxel_tables(grid, parts, 5)
    backwards, same = supervoxel_tables(grid, dict(reversed(parts.items())), 5)
    assert count == same
    assert all(np.array_equal(tables[n], backwards[n]) for n in tables)


def test_ascending_compares_pairs_only_where_keys_are_equal(rng):
    key, pair = rng.integers(0, 4, 500).astype(np.uint64), rng.permutation(500)
    assert np.array_equal(forest_keys.ascending(key, pair), np.lexsort((pair, key)))


def test_altitude_is_height_first_and_then_distance_from_the_middle():
    heights = np.array([[[0, 0, 0, 1, 255, 255, 9]]], np.uint8)
    smoothed = np.array([[[4, 2, 0, 4, 0, 0, -np.inf]]], np.float32)
    depth = np.array([[[0, 0, 0, 0, 1, 4, 0]]], np.float32)
    found = altitudes(heights, smoothed, depth, 4.0)[0, 0]
    assert (np.diff(found.astype(np.int64)) > 0).all()
    assert found[-1] == NOTHING
    assert (found & 7 == 0).all()


@pytest.mark.parametrize("length", [2, WAY - 1, WAY, WAY + 1, 4 * WAY])
def test_ways_down_of_any_length_end_in_their_tree(length):
    """Two slopes, each falling towards the end of the row that is scanned last, and a wall between them."""
    altitude = np.full((3, 3, 2 * length + 3), NOTHING, np.uint32)
    altitude[1, 1, 1 : length + 1] = altitude[1, 1, length + 2 : -1] = np.arange(length, 0, -1) << 3
    trees = np.zeros(altitude.shape, np.int32)
    piece = grow_trees(altitude, trees, np.zeros(1, bool), planar=False)
    expected = np.zeros(altitude.shape, np.int32)
    expected[1, 1, 1 : length + 1], expected[1, 1, length + 2 : -1] = 1, 2
    assert (trees == expected).all()
    assert piece.tolist() == [0, 0, 0]


def test_a_frame_is_filled_beyond_the_volume_alone():
    volume = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    core = (slice(0, 2), slice(1, 2), slice(1, 3))
    frame = framed(volume, core, -1)
    assert np.array_equal(frame[1:3], volume)
    assert (frame[[0, 3]] == -1).all()
    inner = np.moveaxis(np.arange(64).reshape(4, 4, 4), 0, 2)
    assert framed(inner, (slice(1, 3),) * 3, 0) is inner
