"""Augmentation moves image and labels together, and only what it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_toys import PITCH, PLAIN, tissue

from cellflow.networks.training.augmentation import Augmentation
from cellflow.networks.training.labels import IGNORED, patch_labels

SHAPE = (16, 24, 24)
ALL = Augmentation(flips=0.5, turns=1, rotation={"probability": 1}, elastic={"probability": 1})
SHADES = {
    "intensity": {"probability": 1},
    "blur": {"probability": 1},
    "gaussian_noise": {"probability": 1},
    "poisson_noise": {"probability": 1},
    "missing_slices": {"probability": 1, "share": 0.3},
}


def labels():
    return patch_labels(tissue()["truth"][: SHAPE[0], : SHAPE[1], : SHAPE[2]], None)


def shown(values):
    """An image that says where each label is: brightness by a shuffled number."""
    return ((values * 37) % 101).astype(np.float32)


def agreement(image, values):
    """Share of voxels, away from borders and of those known, whose brightness is that of their label."""
    inner = np.ones(values.shape, bool)
    for axis in range(3):
        for step in (-2, -1, 1, 2):
            inner &= np.roll(values, step, axis) == values
    inner[:2], inner[-2:], inner[:, :2], inner[:, -2:], inner[:, :, :2], inner[:, :, -2:] = (False,) * 6
    inner &= values != IGNORED
    assert inner.sum() > 100
    return float((np.abs(image - shown(values))[inner] < 0.5).mean())


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_image_and_labels_move_together(seed):
    for pitch in (PITCH, (1.0, 1.0, 1.0)):
        image, moved = ALL.move(shown(labels()), {"truth": labels()}, pitch, np.random.default_rng(seed))
        assert image.shape == SHAPE
        assert agreement(image, moved["truth"]) > 0.97


@pytest.mark.parametrize("step", ["flips", "turns", "rotation", "elastic"])
def test_moving_one_of_both_would_be_seen(step):
    """Breaks on purpose what the test above relies on."""
    strong = {"probability": 1} if step == "rotation" else {"probability": 1, "displacement": 4}
    one = PLAIN.model_copy(
        update={step: 1 if step in ("flips", "turns") else type(getattr(PLAIN, step))(**strong)}
    )
    image, moved = one.move(shown(labels()), {"truth": labels()}, PITCH, np.random.default_rng(5))
    assert agreement(image, moved["truth"]) > 0.97
    assert agreement(shown(labels()), moved["truth"]) < 0.8
    assert agreement(image, labels()) < 0.8


def test_what_comes_from_beyond_is_ignored():
    turned = PLAIN.model_copy(update={"rotation": type(PLAIN.rotation)(probability=1, degrees=45)})
    full = np.ones(SHAPE, np.int32)
    shares = [
        (
            turned.move(shown(full), {"truth": full}, PITCH, np.random.default_rng(s))[1]["truth"] == IGNORED
        ).mean()
        for s in range(8)
    ]
    assert 0.05 < max(shares) < 0.3
    _, moved = turned.move(shown(full), {"truth": full}, PITCH, np.random.default_rng(0))
    assert set(np.unique(moved["truth"])) == {IGNORED, 1}


def test_quarter_turns_spare_axes_that_are_unlike():
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32)[:, None, None], (16, 16, 16))
    turning = PLAIN.model_copy(update={"turns": 1})
    found = {p: set() for p in ((1.0, 1.0, 1.0), (2.0, 1.0, 1.0))}
    for pitch, axes in found.items():
        for seed in range(20):
            image, _ = turning.move(ramp, {}, pitch, np.random.default_rng(seed))
            axes.add(
                int(
                    np.argmax(
                        [np.ptp(np.diff(image, axis=a)) + np.ptp(image, axis=a).max() for a in range(3)]
                    )
                )
            )
    assert found[(2.0, 1.0, 1.0)] == {0}
    assert found[(1.0, 1.0, 1.0)] == {0, 1, 2}


def test_flat_patches_stay_in_their_plane():
    image, moved = ALL.move(shown(labels()[:1]), {"truth": labels()[:1]}, PITCH, np.random.default_rng(1))
    assert image.shape == (1, *SHAPE[1:])
    assert (moved["truth"] != IGNORED).mean() > 0.5


@pytest.mark.parametrize("step", SHADES)
def test_each_change_of_intensity_changes_intensities_and_no_more(step, rng):
    image = rng.normal(0, 1, SHAPE).astype(np.float32)
    one = PLAIN.model_copy(update={step: type(getattr(PLAIN, step))(**SHADES[step])})
    found = one.shade(image, PITCH, np.random.default_rng(3))
    assert found.shape == image.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert not np.array_equal(found, image)
    assert np.array_equal(one.move(image, {}, PITCH, np.random.default_rng(3))[0], image)
    assert np.array_equal(found, one.shade(image, PITCH, np.random.default_rng(3)))
    assert not np.array_equal(found, one.shade(image, PITCH, np.random.default_rng(4)))


def test_nothing_is_done_where_nothing_is_asked(rng):
    image = rng.normal(0, 1, SHAPE).astype(np.float32)
    moved, kept = PLAIN.move(image, {"truth": labels()}, PITCH, rng)
    assert np.array_equal(moved, image)
    assert np.array_equal(kept["truth"], labels())
    assert np.array_equal(PLAIN.shade(image, PITCH, rng), image)


@pytest.mark.parametrize(
    ("step", "key", "value"),
    [
        ("rotation", "degrees", 5.0),
        ("elastic", "spacing", 8.0),
        ("elastic", "displacement", 4.0),
        ("intensity", "gain", 0.0),
        ("intensity", "offset", 1.0),
        ("intensity", "gamma", 0.0),
        ("blur", "sigma", 3.0),
        ("gaussian_noise", "deviation", 1.0),
        ("poisson_noise", "photons", 3.0),
        ("missing_slices", "share", 0.8),
    ],
)
def test_every_number_changes_the_patch(step, key, value, rng):
    image = rng.normal(0, 1, SHAPE).astype(np.float32)
    kind = type(getattr(PLAIN, step))

    def done(**more):
        one = PLAIN.model_copy(update={step: kind(probability=1, **more)})
        draw = np.random.default_rng(2)
        return one.shade(one.move(image, {}, PITCH, draw)[0], PITCH, draw)

    assert not np.array_equal(done(), done(**{key: value}))


def test_dark_slices_are_whole(rng):
    image = rng.normal(0, 1, SHAPE).astype(np.float32)
    some = PLAIN.model_copy(update={"missing_slices": type(PLAIN.missing_slices)(probability=1, share=0.3)})
    found = some.shade(image, PITCH, np.random.default_rng(0))
    dark = (found == image.min()).all(axis=(1, 2))
    assert 0 < dark.sum() < len(dark)
    assert np.array_equal(found[~dark], image[~dark])


def test_counting_photons_keeps_the_mean(rng):
    image = np.full(SHAPE, 0.5, np.float32)
    image[0, 0, 0], image[-1, -1, -1] = 0, 1
    from cellflow.networks.training.intensity import counted

    found = counted(image, 20, rng)
    assert found.mean() == pytest.approx(0.5, abs=0.01)
    assert found.var() == pytest.approx(0.5 / 20, rel=0.1)
