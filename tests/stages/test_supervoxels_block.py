from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage
from scipy.spatial import KDTree

from cellflow.core.grid import Grid, whole
from cellflow.stages.supervoxels import Independent, Params, supervoxels_block
from cellflow.stages.supervoxels.block import landscape

CUBE = (1.0, 1.0, 1.0)


def cells(shape=(40, 48, 56), count=30, seed=0):
    """Boundary probabilities of Voronoi cells with noise: 255 where two nearest points are equally far."""
    rng = np.random.default_rng(seed)
    points = rng.random((count, 3)) * shape
    grid = np.stack(np.indices(shape), -1)
    near, _ = KDTree(points).query(grid, k=2)
    probability = 1 / (1 + np.exp(2 * (near[..., 1] - near[..., 0] - 2))) + rng.normal(0, 0.05, shape)
    return (255 * np.clip(probability, 0, 1)).astype(np.uint8)


MAP = cells()
EASY = Params(min_size=0)


def assert_complete(labels, mask):
    assert labels.dtype == np.uint32
    assert np.array_equal(labels > 0, mask)
    assert np.array_equal(np.unique(labels[mask]), np.arange(1, labels.max() + 1))


def test_voronoi_cells_are_found_with_one_supervoxel_or_few_each():
    labels = supervoxels_block(MAP, Params(), CUBE)
    assert_complete(labels, np.ones(MAP.shape, bool))
    assert 20 <= labels.max() <= 60


@pytest.mark.parametrize("value", [0, 101, 102, 255])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 40), (30, 1, 40), (30, 40, 1), (12, 13, 14)])
def test_a_constant_map_is_one_supervoxel_and_one_per_slice(value, shape):
    flat = np.full(shape, value, np.uint8)
    assert (supervoxels_block(flat, Params(), CUBE) == 1).all()
    per_slice = supervoxels_block(flat, Params(per_slice=True), CUBE)
    assert np.array_equal(per_slice, np.broadcast_to(np.arange(1, shape[0] + 1)[:, None, None], shape))


@settings(max_examples=25, deadline=None)
@given(
    number=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    share=st.sampled_from([0.0, 0.05, 0.6, 1.0]),
    per_slice=st.booleans(),
    sigma=st.sampled_from([0.0, 1.5]),
)
def test_exactly_the_unmasked_voxels_get_dense_labels(number, shape, share, per_slice, sigma):
    rng = np.random.default_rng(number)
    mask = rng.random(shape) < share
    p = Params(per_slice=per_slice, sigma_seeds=sigma, sigma_heights=sigma, min_size=5)
    labels = supervoxels_block(rng.integers(0, 256, shape, dtype=np.uint8), p, (2.0, 1.0, 1.0), mask)
    assert_complete(labels, mask)


def test_labels_do_not_cross_the_mask():
    mask = np.ones(MAP.shape, bool)
    mask[:, 20:22] = False
    labels = supervoxels_block(MAP, Params(), CUBE, mask)
    assert_complete(labels, mask)
    assert not np.intersect1d(labels[:, :20], labels[:, 22:]).size


def test_labels_of_slices_do_not_span_slices():
    labels = supervoxels_block(MAP, Params(per_slice=True), CUBE)
    assert all(not np.intersect1d(a, b).size for a, b in pairwise(labels))
    alone = [supervoxels_block(s[None], Params(per_slice=True), CUBE)[0] for s in MAP]
    offsets = np.cumsum([0, *(s.max() for s in alone)])
    assert np.array_equal(labels, [s + o for s, o in zip(alone, offsets, strict=False)])


def test_no_supervoxel_is_smaller_than_the_minimum():
    few = supervoxels_block(MAP, Params(sigma_seeds=0.5, min_size=100), CUBE)
    many = supervoxels_block(MAP, Params(sigma_seeds=0.5, min_size=0), CUBE)
    assert np.bincount(few.ravel())[1:].min() >= 100
    assert np.bincount(many.ravel())[1:].min() < 100


def test_each_supervoxel_is_connected():
    labels = supervoxels_block(MAP, Params(), CUBE)
    boxes = ndimage.find_objects(labels)
    assert all(ndimage.label(labels[box] == i)[1] == 1 for i, box in enumerate(boxes, 1))


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0.6},
        {"sigma_seeds": 0.5},
        {"sigma_heights": 1.0},
        {"min_size": 2000},
        {"max_distance": 4.0},
        {"anisotropic": False},
        {"per_slice": True},
    ],
)
def test_every_parameter_changes_the_supervoxels(change):
    base = Params()
    assert set(change) <= set(Params.model_fields)
    before = supervoxels_block(MAP, base, (3.0, 1.0, 1.0))
    assert not np.array_equal(before, supervoxels_block(MAP, base.model_copy(update=change), (3.0, 1.0, 1.0)))
    assert np.array_equal(before, supervoxels_block(MAP, base, (3.0, 1.0, 1.0)))


def test_only_the_proportions_of_the_voxel_count():
    fine, coarse = (supervoxels_block(MAP, EASY, (0.3 * u, 0.1 * u, 0.1 * u)) for u in (1, 8))
    assert np.array_equal(fine, coarse)


def test_the_threshold_itself_is_boundary():
    row = np.zeros((1, 1, 41), np.uint8)
    row[..., 20] = 102  # 0.4 * 255
    assert supervoxels_block(row, EASY, CUBE).max() == 2
    row[..., 20] = 101
    assert supervoxels_block(row, EASY, CUBE).max() == 1


def test_smoothed_heights_close_a_gap_without_wrapping_at_255():
    solid = np.full((8, 9, 60), 255, np.uint8)
    solid[..., 5:20] = solid[..., 30:50] = 0
    labels = supervoxels_block(solid, Params(sigma_heights=3.0), CUBE)
    assert labels.max() == 2
    assert len(np.unique(labels[..., 5:20])) == len(np.unique(labels[..., 30:50])) == 1


@pytest.mark.parametrize(
    ("change", "voxel", "halo"),
    [
        ({}, CUBE, (23, 23, 23)),
        ({}, (2.0, 0.5, 0.5), (7, 23, 23)),
        ({"anisotropic": False}, (2.0, 0.5, 0.5), (23, 23, 23)),
        ({"per_slice": True}, (2.0, 0.5, 0.5), (0, 23, 23)),
        ({"max_distance": 10.0, "sigma_heights": 9.0}, CUBE, (28, 28, 28)),
        ({"blocks": Independent(halo=False)}, CUBE, (0, 0, 0)),
    ],
)
def test_halo_is_cap_and_kernel_and_one_neighbour(change, voxel, halo):
    assert Params(**change).halo(voxel) == halo


@pytest.mark.parametrize("enough", [True, False])
def test_with_the_halo_small_cells_are_cut_the_same_in_a_block_and_in_the_whole(enough):
    volume = cells((24, 90, 110), 120)
    p = Params(max_distance=8.0, sigma_seeds=1.0, min_size=0)
    # The radius of a cell more: its seed may lie beyond the core.
    halo = p.halo(CUBE)[2] + 8 if enough else 1
    core, outer = np.s_[:, :, 30:70], np.s_[:, :, 30 - halo : 70 + halo]
    whole = supervoxels_block(volume, p, CUBE)[core]
    cut = supervoxels_block(volume[outer], p, CUBE)[..., halo : halo + 40]
    pairs = len(np.unique(np.stack([whole, cut]).reshape(2, -1), axis=1).T)
    assert (pairs == len(np.unique(whole)) == len(np.unique(cut))) == enough


@pytest.mark.parametrize("change", [{}, {"per_slice": True}, {"sigma_heights": 1.0}])
@pytest.mark.parametrize("enough", [True, False])
def test_the_landscape_of_a_block_is_that_of_the_whole(change, enough):
    p, voxel = Params(max_distance=5.5, sigma_seeds=1.0, **change), (1.7, 1.0, 1.0)
    mask = np.random.default_rng(4).random(MAP.shape) < 0.995
    expected = landscape(MAP, p, voxel, mask, whole(MAP.shape))
    halo = p.halo(voxel) if enough else (0 if p.per_slice else 2, 2, 2)
    same = []
    for block in Grid(MAP.shape, (20, 20, 25), halo):
        found = landscape(MAP[block.outer], p, voxel, mask[block.outer], block.crop)
        frame = tuple(slice(s.start, s.stop + 2) for s in block.core)
        kept = np.s_[1:-1] if p.per_slice else np.s_[:]  # slices alone: nothing is read beyond
        same += [np.array_equal(a[kept], b[frame][kept]) for a, b in zip(found, expected, strict=True)]
    assert all(same) == enough


def test_nonsense_is_refused():
    for wrong in ({"threshold": 1.5}, {"sigma_seeds": -1}, {"max_distance": 0}, {"treshold": 0.5}):
        with pytest.raises(ValidationError):
            Params(**wrong)
