import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import watershed as skimage_watershed

from cellflow.core.distance import boundary_distance
from cellflow.core.errors import BadInput
from cellflow.core.seeds import local_maxima
from cellflow.core.smoothing import _kernel, smooth, smoothing_radius
from cellflow.core.watershed import merge_small, watershed

seeded = settings(max_examples=25, deadline=None)
numbers = st.integers(0, 2**32 - 1)


@st.composite
def boxed(draw):
    """The shape of an array, and a box in it."""
    shape = draw(st.tuples(*[st.integers(1, 24)] * 3))
    ends = [sorted(draw(st.tuples(*[st.integers(0, n)] * 2).filter(lambda s: s[0] != s[1]))) for n in shape]
    return shape, tuple(slice(a, b) for a, b in ends)


def boundaries(rng, shape, share=0.02):
    return rng.random(shape) >= share


# --- watershed


@seeded
@given(number=numbers, planar=st.booleans(), masked=st.booleans())
def test_watershed_equals_skimage_where_no_heights_are_equal(number, planar, masked):
    rng = np.random.default_rng(number)
    heights = rng.permutation(252).astype(np.uint8).reshape(6, 6, 7)
    seeds = np.where(rng.random(heights.shape) < 0.05, rng.permutation(252).reshape(heights.shape) + 1, 0)
    mask = rng.random(heights.shape) < 0.8 if masked else np.ones(heights.shape, bool)
    structure = ndimage.generate_binary_structure(3, 1)
    if planar:
        structure[[0, 2]] = False
    expected = skimage_watershed(heights, seeds, structure, mask=mask)
    found = watershed(heights, seeds, mask, planar=planar)
    reached = expected > 0
    assert np.array_equal(found[reached], expected[reached])
    assert np.array_equal(found > 0, mask)


@pytest.mark.parametrize("shape", [(1, 200, 200), (40, 40, 40)])
def test_two_symmetric_seeds_share_a_plateau_fairly(shape):
    seeds = np.zeros(shape, np.int32)
    z, y, x = (n // 2 for n in shape)
    seeds[z, y, x // 2], seeds[z, y, -1 - x // 2] = 1, 2
    labels = watershed(np.full(shape, 7, np.uint8), seeds)
    assert abs(np.mean(labels == 1) - 0.5) < 0.02


def test_a_plateau_is_split_where_the_waves_meet_also_beyond_a_pass():
    heights = np.array([[[0, 9, 9, 9, 9, 9, 0]]], np.uint8)
    assert watershed(heights, np.array([[[4, 0, 0, 0, 0, 0, 5]]])).tolist() == [[[4, 4, 4, 4, 5, 5, 5]]]
    # Behind a pass of 9 the lower voxels are reached at 9: one step each, not before the other seed's wave.
    heights = np.array([[[0, 9, 3, 3, 9, 9, 0]]], np.uint8)
    assert watershed(heights, np.array([[[4, 0, 0, 0, 0, 0, 5]]])).tolist() == [[[4, 4, 4, 4, 5, 5, 5]]]


def test_a_wall_in_the_mask_is_not_crossed_and_an_unseeded_side_gets_the_next_label():
    mask = np.ones((4, 5, 6), bool)
    mask[:, :, 3] = False
    seeds = np.zeros(mask.shape, np.int32)
    seeds[1, 1, 1] = 8
    labels = watershed(np.zeros(mask.shape, np.uint8), seeds, mask)
    assert (labels[:, :, :3] == 8).all()
    assert (labels[:, :, 3] == 0).all()
    assert (labels[:, :, 4:] == 9).all()


def test_heights_254_and_255_flood_too():
    seeds = np.zeros((3, 3, 3), np.int32)
    seeds[0, 0, 0] = 1
    for height in (253, 254, 255):
        assert (watershed(np.full(seeds.shape, height, np.uint8), seeds) == 1).all()


def test_more_voxels_than_a_chunk_wait_at_several_levels():
    rng = np.random.default_rng(3)
    heights = rng.integers(0, 4, (40, 50, 60), dtype=np.uint8) * 60
    seeds = np.zeros(heights.shape, np.int32)
    seeds.ravel()[rng.choice(seeds.size, 3000, replace=False)] = np.arange(1, 3001)
    labels = watershed(heights, seeds)
    assert (labels[seeds > 0] == seeds[seeds > 0]).all()
    _, pieces = ndimage.label(labels == 17)
    assert pieces == 1
    assert labels.min() == 1
    assert np.array_equal(labels, watershed(np.asfortranarray(heights), seeds))


def test_a_box_beyond_int32_is_refused():
    huge = np.broadcast_to(np.uint8(0), (1300, 1300, 1300))
    with pytest.raises(BadInput, match=r"box of \(1300, 1300, 1300\)"):
        watershed(huge, huge)


def test_small_labels_go_to_the_neighbour_behind_the_lower_boundary():
    labels = np.array([[[1, 1, 1, 2, 3, 3, 3]]], np.uint32)
    heights = np.array([[[0, 0, 5, 6, 4, 0, 0]]], np.uint8)
    assert merge_small(labels.copy(), 2, heights).tolist() == [[[1, 1, 1, 2, 2, 2, 2]]]
    assert merge_small(labels.copy(), 1, heights).tolist() == labels.tolist()


def test_if_all_labels_are_small_each_component_becomes_one():
    mask = np.array([[[True, True, True, False, True, True]]])
    labels = np.array([[[1, 2, 2, 0, 3, 4]]], np.uint32)
    heights = np.zeros(mask.shape, np.uint8)
    assert merge_small(labels, 9, heights, mask).tolist() == [[[1, 1, 1, 0, 2, 2]]]


# --- distance


@seeded
@given(
    number=numbers,
    shape=st.tuples(*[st.integers(1, 24)] * 3),
    pitch=st.tuples(*[st.sampled_from([1.0, 1.7, 4.0])] * 3),
    cap=st.sampled_from([1.0, 3.5, 12.0, 500.0]),
)
def test_distance_equals_the_exact_transform_up_to_the_cap(number, shape, pitch, cap):
    inside = boundaries(np.random.default_rng(number), shape)
    inside.ravel()[number % inside.size] = False
    expected = np.minimum(ndimage.distance_transform_edt(inside, pitch), cap)
    assert np.abs(boundary_distance(inside, pitch, cap) - expected).max() <= 1e-6 * cap
    slices = [np.minimum(ndimage.distance_transform_edt(s, pitch[1:]), cap) for s in inside if not s.all()]
    planar = boundary_distance(inside, pitch, cap, planar=True)[[not s.all() for s in inside]]
    assert np.abs(planar - np.reshape(slices, planar.shape)).max() <= 1e-6 * cap


@seeded
@given(
    number=numbers,
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    pitch=st.tuples(*[st.sampled_from([1.0, 1.7, 0.3])] * 3),
    cap=st.sampled_from([1.0, 3.5, 500.0]),
)
def test_distance_has_the_bits_of_the_smallest_sum_over_all_boundaries(number, shape, pitch, cap):
    inside = boundaries(np.random.default_rng(number), shape, 0.1)
    at = np.argwhere(np.ones(shape, bool))
    apart = np.abs(at[:, None] - np.argwhere(~inside)[None])
    z, y, x = (np.square(apart[..., i] * pitch[i]).astype(np.float32) for i in range(3))
    squared = np.minimum((x + y + z).min(axis=1, initial=np.inf), np.float32(cap**2))
    assert np.array_equal(boundary_distance(inside, pitch, cap).ravel(), np.sqrt(squared))


@seeded
@given(
    number=numbers,
    room=boxed(),
    pitch=st.tuples(*[st.sampled_from([1.0, 1.7, 4.0])] * 3),
    planar=st.booleans(),
)
@pytest.mark.parametrize("cap", [1.0, 3.5, 12.0, 500.0])
def test_the_distance_in_a_box_is_that_of_the_whole(cap, number, room, pitch, planar):
    shape, box = room
    inside = boundaries(np.random.default_rng(number), shape)
    expected = boundary_distance(inside, pitch, cap, planar=planar)[box]
    assert np.array_equal(boundary_distance(inside, pitch, cap, planar=planar, box=box), expected)


@pytest.mark.parametrize("cap", [4.0, 40.0])
def test_the_distance_to_one_boundary_is_seen_from_afar_in_all_directions(cap):
    inside = np.ones((30, 31, 300), bool)
    inside[14, 15, 150] = False
    z, y, x = np.indices(inside.shape)
    expected = np.sqrt(np.minimum((z - 14) ** 2 + (y - 15) ** 2 + (x - 150) ** 2, cap**2), dtype=np.float32)
    assert np.array_equal(boundary_distance(inside, (1, 1, 1), cap), expected)


def test_without_boundary_the_distance_is_the_cap():
    assert (boundary_distance(np.ones((3, 4, 300), bool), (1, 1, 1), 2.5) == 2.5).all()
    assert (boundary_distance(np.zeros((3, 4, 5), bool), (1, 1, 1), 2.5) == 0).all()


@pytest.mark.parametrize("reach", [8, 3])
def test_smoothed_distance_has_the_same_bits_wherever_the_block_is_cut(reach):
    inside = boundaries(np.random.default_rng(1), (50, 60, 300), share=0.002)
    pitch, cap, sigma = (2.3, 1.0, 1.3), 12.0, (0.9, 2.0, 1.5)
    whole = smooth(boundary_distance(inside, pitch, cap), sigma)
    halo = [int(-(-cap // p)) + smoothing_radius(s) for p, s in zip(pitch, sigma, strict=True)]
    if reach == 3:  # control: a halo that is too thin is seen
        halo = [h // 4 for h in halo]
    core = (slice(17, 31), slice(19, 40), slice(40, 270))
    outer = tuple(slice(max(c.start - h, 0), c.stop + h) for c, h in zip(core, halo, strict=True))
    crop = tuple(slice(c.start - o.start, c.stop - o.start) for c, o in zip(core, outer, strict=True))
    cut = smooth(boundary_distance(inside[outer], pitch, cap), sigma)
    assert np.array_equal(cut[crop], whole[core]) == (reach == 8)


# --- smoothing


@seeded
@given(
    number=numbers,
    shape=st.tuples(*[st.integers(1, 20)] * 3),
    sigma=st.tuples(*[st.sampled_from([0.0, 0.7, 2.0])] * 3),
)
def test_smoothing_equals_scipy_with_reflection(number, shape, sigma):
    volume = np.random.default_rng(number).random(shape, np.float32)
    radius = tuple(smoothing_radius(s) for s in sigma)
    expected = ndimage.gaussian_filter(volume.astype(float), sigma, mode="reflect", radius=radius)
    assert np.abs(smooth(volume, sigma) - expected).max() < 1e-6


@seeded
@given(number=numbers, room=boxed(), sigma=st.tuples(*[st.sampled_from([0.0, 0.3, 0.7, 2.0])] * 3))
def test_smoothing_has_the_bits_of_sums_from_the_middle_outwards(number, room, sigma):
    shape, box = room
    volume = np.random.default_rng(number).random(shape, np.float32)
    expected = volume
    for axis in range(3):
        kernel = _kernel(sigma[axis])
        reach = len(kernel) - 1
        lines = np.pad(np.moveaxis(expected, axis, 0), [(reach, reach), (0, 0), (0, 0)], "symmetric")
        n = shape[axis]
        total = kernel[0] * lines[reach : reach + n]
        for k in range(1, reach + 1):
            total += kernel[k] * (lines[reach - k :][:n] + lines[reach + k :][:n])
        expected = np.moveaxis(total, 0, axis)
    assert np.array_equal(smooth(volume.copy(), sigma, box), expected[box])
    assert np.array_equal(smooth(volume, sigma), expected)
    assert np.shares_memory(smooth(volume, sigma), volume)


# --- seeds


@seeded
@given(number=numbers, planar=st.booleans(), shape=st.tuples(*[st.integers(1, 9)] * 3))
def test_seeds_are_the_plateaus_without_a_higher_neighbour(number, planar, shape):
    rng = np.random.default_rng(number)
    volume = rng.integers(0, 4, shape).astype(np.float32)
    mask = rng.random(shape) < 0.8
    around = np.ones((3, 3, 3), bool)
    if planar:
        around[[0, 2]] = False
    expected = np.zeros(shape, bool)
    for value in range(4):
        plateaus, n = ndimage.label((volume == value) & mask, around)
        for i in range(1, n + 1):
            beside = ndimage.binary_dilation(plateaus == i, around) & mask
            expected |= (plateaus == i) & (volume[beside].max() == value)
    labels, count = local_maxima(volume, mask, planar=planar)
    assert np.array_equal(labels > 0, expected)
    assert np.array_equal(labels, ndimage.label(expected, around)[0])
    assert labels.max(initial=0) == count


def test_a_constant_map_has_one_seed():
    labels, count = local_maxima(np.zeros((5, 6, 7), np.float32))
    assert count == 1
    assert (labels == 1).all()


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (31, 33)], ids=["1024", "1023"])
def test_no_waiting_voxel_is_lost_when_chunks_of_the_queue_are_used_again(rows, columns):
    """Layers that fill chunks exactly: the end of a level's last chunk once was taken for its beginning."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        widths = rng.integers(1, 6, 12)
        heights = np.full((12, rows, columns * 6), 250, np.uint8)
        for layer, width in enumerate(widths):
            heights[layer, :, : columns * width] = layer * 5 if rng.random() < 0.7 else rng.integers(0, 60)
        seeds = np.zeros(heights.shape, np.int32)
        seeds[0, :, : columns * widths[0]] = 1
        assert watershed(heights, seeds).max() == 1
