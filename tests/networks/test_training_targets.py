"""What networks learn from labels: against scikit-image and the whole volume, without what is ignored."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.segmentation import find_boundaries
from training_toys import PITCH, SHAPE, tissue, volume

from cellflow.core.affinities import affinities
from cellflow.networks.heads import Affinities, Boundary, Foreground, Nuclei, Output
from cellflow.networks.training.labels import IGNORED, patch_labels, thick_boundary
from cellflow.networks.training.patches import made
from cellflow.networks.training.targets import (
    AffinityTarget,
    BoundaryTarget,
    DistanceTarget,
    ForegroundTarget,
    NucleiTarget,
    margin,
)

OFFSETS = ((-1, 0, 0), (0, 0, 1), (0, -3, 2))
TARGETS = (BoundaryTarget(), DistanceTarget(largest=4), ForegroundTarget(), NucleiTarget(), AffinityTarget())
HEADS = (Boundary(), Output(activation="none"), Foreground(), Nuclei(channels=2), Affinities(offsets=OFFSETS))
WHOLE = tuple(slice(0, n) for n in SHAPE)


def labels_of(name="truth"):
    return patch_labels(tissue()[name], None)


def test_thick_boundaries_are_those_of_scikit_image(rng):
    for labels in (labels_of(), rng.integers(0, 3, (5, 6, 7)).astype(np.int32)):
        assert np.array_equal(thick_boundary(labels), find_boundaries(labels, connectivity=2, mode="thick"))


def test_boundaries_are_smoothed_and_cut_as_in_the_thesis():
    thick = find_boundaries(labels_of(), connectivity=2, mode="thick").astype(np.float32)
    expected = gaussian_filter(thick, [1 / step for step in PITCH], truncate=3)
    values, known = BoundaryTarget().maps({"truth": labels_of()}, PITCH, Boundary())
    sure = np.abs(expected - 0.5) > 1e-4
    assert known.all()
    assert np.array_equal(values[0][sure], (expected >= 0.5)[sure])
    assert 0.2 < values.mean() < 0.8


def test_a_boundary_that_is_not_cut_is_highest_beside_the_other_cell():
    labels = np.ones((9, 12, 12), np.int32)
    labels[..., 6:] = 2
    soft = BoundaryTarget(sigma=0.7, threshold=None)
    values, _ = soft.maps({"truth": labels}, PITCH, Boundary())
    middle = values[0, 4, 6]
    assert np.array_equal(middle, middle[::-1])
    assert (np.diff(middle[:6]) >= 0).all()
    assert 0.5 < middle[5] < 1
    assert 0 < middle[4] < 0.5
    cut, _ = BoundaryTarget(sigma=0.7).maps({"truth": labels}, PITCH, Boundary())
    assert set(np.unique(cut)) == {0, 1}


def test_affinities_are_those_of_the_package():
    head = HEADS[-1]
    values, known = AffinityTarget().maps({"truth": labels_of()}, PITCH, head)
    assert np.array_equal(values * 255, affinities(labels_of(), OFFSETS))
    assert not known[0, 0].any()
    assert known[0, 1:].all()
    assert not known[2, :, :3].any()
    assert not known[2, :, :, -2:].any()


@pytest.mark.parametrize("which", range(len(TARGETS)), ids=[t.name for t in TARGETS])
def test_the_target_of_a_patch_is_that_of_the_volume(which):
    target, head = TARGETS[which], HEADS[which]
    found = volume()
    around = margin(TARGETS, PITCH, flat=False)
    whole = made((target,), (head,), _read(found, WHOLE, around), PITCH, around)[0]
    if target.name != "affinities":  # beyond the volume there is its mirror image, which adds nothing
        alone = target.maps({name: labels_of(name) for name in ("truth", "nuclei")}, PITCH, head)
        assert all(np.array_equal(a, b) for a, b in zip(whole, alone, strict=True))
    for corner in ((0, 0, 0), (5, 11, 3), (8, 24, 24)):
        box = tuple(slice(c, c + n) for c, n in zip(corner, (8, 16, 16), strict=True))
        values, known = made((target,), (head,), _read(found, box, around), PITCH, around)[0]
        both = (known > 0) & (whole[1][(slice(None), *box)] > 0)
        assert both.mean() > 0.6
        assert np.array_equal(values[both], whole[0][(slice(None), *box)][both])
        if target.name != "affinities":
            assert both.all()


def test_a_patch_without_margin_would_differ():
    """What the test above would find if labels were read without the margin."""
    found = volume()
    box = (slice(4, 12), slice(8, 24), slice(8, 24))
    around = margin(TARGETS[:1], PITCH, flat=False)
    right = made(TARGETS[:1], HEADS[:1], _read(found, box, around), PITCH, around)[0][0]
    wrong = BoundaryTarget().maps(found.labelled(box), PITCH, Boundary())[0]
    assert not np.array_equal(right, wrong)


def _read(found, box, around):
    return found.labelled(tuple(slice(s.start - m, s.stop + m) for s, m in zip(box, around, strict=True)))


def test_nothing_is_known_where_the_ignore_label_could_matter(rng):
    stored = tissue()["truth"].copy()
    hidden = rng.random(stored.shape) < 0.002
    labels = patch_labels(np.where(hidden, 7777, stored), 7777)
    other = patch_labels(np.where(hidden, 1 << 60, stored), None)
    for target, head in zip(TARGETS, HEADS, strict=True):
        both = {"truth": labels, "nuclei": labels}
        values, known = target.maps(both, PITCH, head)
        assert not known[:, hidden].any()
        assert 0 < known.mean() < 1
        if target.name != "distance":
            continue
        without, _ = target.maps({"truth": labels_of()}, PITCH, head)
        assert np.abs(values - without)[known].max() < 1e-6
        assert np.abs(target.maps({"truth": other}, PITCH, head)[0] - without).max() > 0.1


def test_a_boundary_with_the_ignored_is_none():
    labels = np.full((9, 12, 12), 1, np.int32)
    labels[:, :, 6:] = IGNORED
    values, known = BoundaryTarget().maps({"truth": labels}, PITCH, Boundary())
    assert not values.any()
    assert known[..., :4].all()
    assert not known[..., 4:].any()


def test_labels_beyond_what_floats_hold_stay_apart():
    stored = np.array([[[0, 2**63, 2**63 + 1, 5]]], np.uint64)
    assert patch_labels(stored, None).tolist() == [[[0, 2, 3, 1]]]
    assert patch_labels(stored, 5).tolist() == [[[0, 1, 2, IGNORED]]]
    assert patch_labels(np.array([[[-1, 0, 3]]], np.int64), -1).tolist() == [[[IGNORED, 0, 1]]]
    assert patch_labels(np.array([[[0, 3]]], np.uint8), 0).tolist() == [[[IGNORED, 1]]]


def test_distances_grow_from_boundaries_to_the_middle():
    values, _ = DistanceTarget(largest=4).maps({"truth": labels_of()}, PITCH, HEADS[1])
    assert values.min() == 0
    assert values.max() == 1
    assert not values[0][thick_boundary(labels_of())].any()
