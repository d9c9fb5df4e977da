from functools import lru_cache
from hashlib import sha256

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import find_objects
from scipy.spatial import ConvexHull

from cellflow.core.errors import BadInput
from cellflow.core.noise import count_photons, gaussian_taps, mix, normal_table
from cellflow.core.phantom import Phantom, phantom_block

SMALL = Phantom(shape=(14, 26, 30), cell_um=3, seed=5)
TISSUE = Phantom(shape=(64, 96, 96), cell_um=5)
OUTPUTS = ("raw", "labels", "boundaries", "nuclei")


@lru_cache
def whole(p):
    return phantom_block(p, tuple(slice(0, n) for n in p.shape))


def dense(labels):
    """Labels 1 .. n, 0 stays 0."""
    ids, inverse = np.unique(labels, return_inverse=True)
    return (inverse.reshape(labels.shape) + (ids[0] != 0)).astype(np.uint32)


def touching_the_border(labels):
    return np.unique(np.concatenate([np.take(labels, [0, -1], axis).ravel() for axis in range(3)]))


@st.composite
def boxes(draw):
    ends = [
        sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in SMALL.shape
    ]
    return tuple(slice(a, b) for a, b in ends)


@given(boxes())
@settings(max_examples=30, deadline=None)
def test_a_box_computed_alone_has_the_bits_it_has_in_the_whole_volume(box):
    alone = phantom_block(SMALL, box)
    for name in OUTPUTS:
        np.testing.assert_array_equal(getattr(alone, name), getattr(whole(SMALL), name)[box], name)


def test_the_volume_of_that_comparison_has_something_to_compare():
    block = whole(SMALL)
    assert np.unique(block.labels).size > 20
    assert 0 in block.labels
    assert np.unique(block.nuclei).size > 10
    assert np.unique(block.boundaries).size > 100
    assert np.unique(block.raw).size > 100


def test_an_irregular_volume_with_holes_does_not_depend_on_the_cut_either():
    p = SMALL.model_copy(update={"holes": 0.3, "irregularity": 2.0, "voxel_size_um": (0.4, 0.3, 0.2)})
    z, y, x = p.shape
    for cut in (1, 5, 9):
        for name in OUTPUTS:
            parts = [phantom_block(p, (s, slice(0, y), slice(0, x))) for s in (slice(0, cut), slice(cut, z))]
            np.testing.assert_array_equal(
                np.concatenate([getattr(b, name) for b in parts]), getattr(whole(p), name), name
            )


def test_noise_drawn_by_position_in_the_box_would_be_noticed():
    light = np.ones((1, 4, 8), np.float32)
    here = count_photons(light, gaussian_taps(0), 50.0, 4.0, 100.0, 1, 0, (0, 0, 0), normal_table())
    there = count_photons(
        light[:, :, 4:], gaussian_taps(0), 50.0, 4.0, 100.0, 1, 0, (0, 0, 4), normal_table()
    )
    wrong = count_photons(
        light[:, :, 4:], gaussian_taps(0), 50.0, 4.0, 100.0, 1, 0, (0, 0, 0), normal_table()
    )
    np.testing.assert_array_equal(there, here[:, :, 4:])
    assert (wrong != there).any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", (14, 26, 34)),
        ("voxel_size_um", (0.5, 0.25, 0.3)),
        ("seed", 6),
        ("cell_um", 3.5),
        ("irregularity", 0.5),
        ("tissue", 0.5),
        ("membrane_um", 0.6),
        ("blur_um", (0.5, 0.3)),
        ("photons", 20),
        ("staining", 0.1),
        ("holes", 0.2),
        ("nuclei", 0.6),
        ("background", 0.2),
        ("illumination", 0.1),
    ],
)
def test_every_field_changes_the_image(field, value):
    other = phantom_block(
        Phantom(**{**SMALL.model_dump(), field: value}), tuple(slice(0, n) for n in SMALL.shape)
    )
    assert (other.raw != whole(SMALL).raw).mean() > 0.01


def test_that_list_of_fields_is_complete():
    mark = next(m for m in test_every_field_changes_the_image.pytestmark if m.name == "parametrize")
    assert [field for field, _ in mark.args[1]] == list(Phantom.model_fields)


def test_seeds_give_unrelated_tissues():
    other = whole(SMALL.model_copy(update={"seed": 6}))
    both = (other.labels > 0) & (whole(SMALL).labels > 0)
    assert (other.labels[both] != whole(SMALL).labels[both]).mean() > 0.3


def test_every_cell_within_the_volume_has_a_nucleus_of_its_own():
    block = whole(TISSUE)
    inner = np.setdiff1d(block.labels, touching_the_border(block.labels))
    assert inner.size > 80
    assert np.isin(inner, block.nuclei).all()
    in_nucleus = block.nuclei > 0
    np.testing.assert_array_equal(block.nuclei[in_nucleus], block.labels[in_nucleus])
    assert 0.02 < in_nucleus.mean() < 0.3


def test_boundaries_lie_on_the_interfaces_of_labels_and_nowhere_else():
    block = whole(TISSUE)
    interface = np.zeros(TISSUE.shape, bool)
    for axis in range(3):
        step = np.diff(block.labels, axis=axis) != 0
        pad = [(0, 0)] * 3
        for pad[axis] in ((0, 1), (1, 0)):
            interface |= np.pad(step, pad)
    assert np.percentile(block.boundaries[interface], 0.2) > 25
    assert np.median(block.boundaries[interface]) > 180
    assert (block.boundaries[~interface] > 128).mean() < 0.1
    assert block.boundaries[block.nuclei > 0].mean() < 10


def test_holes_take_away_the_wanted_fraction_of_the_membranes():
    full = whole(TISSUE).boundaries > 0
    for holes in (0.2, 0.5, 1.0):
        left = whole(TISSUE.model_copy(update={"holes": holes})).boundaries > 0
        assert not (left & ~full).any()
        assert 1 - left.sum() / full.sum() == pytest.approx(holes, abs=0.08)


def test_the_tissue_fills_the_wanted_fraction():
    for tissue in (0.4, 0.7, 0.9):
        p = TISSUE.model_copy(update={"tissue": tissue})
        assert (whole(p).labels > 0).mean() == pytest.approx(tissue, abs=0.08)
    assert (whole(TISSUE.model_copy(update={"tissue": 1.0})).labels > 0).all()


def mean_solidity(p):
    """Voxels of a cell per voxel volume of the convex hull of its voxel centres, over the inner cells."""
    labels = dense(whole(p).labels)
    border = set(touching_the_border(labels))
    found = []
    for label, box in enumerate(find_objects(labels), 1):
        voxels = np.argwhere(labels[box] == label)
        if label not in border and len(voxels) > 300:
            found.append(len(voxels) / ConvexHull(voxels).volume)
    assert len(found) > 60
    return np.mean(found)


def test_default_cells_are_less_convex_than_voronoi_cells():
    plain = mean_solidity(TISSUE.model_copy(update={"irregularity": 0.0}))
    default = mean_solidity(TISSUE)
    assert default < plain - 0.08


def test_hardly_any_voxel_is_cut_off_from_its_cell():
    labels = dense(whole(TISSUE).labels)
    pieces = cc3d.connected_components(labels, connectivity=6)
    sizes = np.bincount(pieces.ravel())
    owner = np.zeros(sizes.size, np.int64)
    owner[pieces.ravel()] = labels.ravel()
    largest = np.zeros(labels.max() + 1, np.int64)
    np.maximum.at(largest, owner[1:], sizes[1:])
    assert (sizes[1:].sum() - largest.sum()) / labels.size < 0.002


@pytest.mark.parametrize("shape", [(1, 90, 80), (40, 1, 60), (40, 60, 1), (1, 1, 1)])
def test_a_volume_may_be_one_voxel_thick(shape):
    block = whole(Phantom(shape=shape, tissue=1.0, cell_um=4))
    assert all(getattr(block, name).shape == shape for name in OUTPUTS)
    if max(shape) > 1:
        assert np.unique(block.labels).size > 10
        assert block.boundaries.max() > 200


def test_a_plane_with_empty_surroundings_is_still_mostly_tissue():
    labels = whole(Phantom(shape=(1, 200, 200), cell_um=4)).labels
    assert 0.7 < (labels > 0).mean() < 0.97


def test_noise_falls_with_the_square_root_of_the_photons():
    def relative(photons):
        p = Phantom(shape=(20, 80, 80), tissue=0.4, background=1, illumination=0, cell_um=4, photons=photons)
        block = whole(p)
        empty = cc3d.connected_components(block.labels == 0)
        far = np.zeros(p.shape, bool)
        far[3:-3, 8:-8, 8:-8] = (empty > 0)[3:-3, 8:-8, 8:-8]
        far &= block.boundaries == 0
        values = block.raw[far] - 100.0
        middle = values[values < np.percentile(values, 99)]
        return middle.std() / middle.mean()

    assert relative(25) / relative(100) == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("mean", [0.5, 3, 20, 400])
def test_counted_photons_have_nearly_the_mean_and_variance_of_a_poisson_number(mean):
    light = np.ones((1, 300, 300), np.float32)
    raw = count_photons(light, gaussian_taps(0), mean, 100.0, 100.0, 1, 0, (0, 0, 0), normal_table())
    photons = (raw.astype(float) - 100) / 100
    assert photons.mean() == pytest.approx(mean, rel=0.02, abs=0.1)
    assert photons.var() == pytest.approx(mean, rel=0.1, abs=0.2)


def test_the_camera_saturates_and_does_not_wrap():
    light = np.full((1, 1, 4), 1e6, np.float32)
    raw = count_photons(light, gaussian_taps(0), 1.0, 4.0, 100.0, 1, 0, (0, 0, 0), normal_table())
    assert (raw == 65535).all()


def test_the_hash_is_that_of_splitmix64():
    assert mix(np.uint64(0), 0) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("box", [(0, 0), (3, 2), (-1, 4), (0, 15)])
def test_a_box_outside_the_volume_is_refused(box):
    with pytest.raises(BadInput, match="within the volume"):
        phantom_block(SMALL, (slice(*box), slice(0, 4), slice(0, 4)))


def test_the_bits_of_a_known_box_stay_what_they_are():
    block = phantom_block(Phantom(), (slice(90, 98), slice(100, 120), slice(120, 140)))
    digest = sha256(b"".join(getattr(block, name).astype("<u8").tobytes() for name in OUTPUTS))
    assert digest.hexdigest()[:16] == "2c448228b701a86e"
