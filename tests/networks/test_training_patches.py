"""Samples: where they lie, that they are lazy, the same for the same number, and what is refused."""

import pickle

import numpy as np
import pytest
from training_toys import PLAIN, SHAPE, Held, learning, task, tissue, volume

from cellflow.core.errors import BadInput
from cellflow.networks.normalisation import Fixed, MeanStd, Percentile
from cellflow.networks.training.patches import Patches, check
from cellflow.networks.training.statistics import offset_and_scale


def samples(volumes=None, **more):
    return task(learning(**more), volumes).samples


def test_a_sample_is_a_function_of_its_number():
    first, again = samples(), pickle.loads(pickle.dumps(samples()))  # noqa: S301 - our own
    for key in ((0, 0), (0, 1), (1, 0)):
        image, ((values, known),) = first[key]
        assert image.shape == (1, 8, 16, 16)
        assert values.shape == known.shape == (1, 8, 16, 16)
        assert {a.dtype for a in (image, values, known)} == {np.dtype(np.float32)}
        assert all(
            np.array_equal(a, b)
            for a, b in zip((image, values), (again[key][0], again[key][1][0][0]), strict=True)
        )
    assert not np.array_equal(first[0, 0][0], first[0, 1][0])
    assert not np.array_equal(first[0, 0][0], first[1, 0][0])
    assert not np.array_equal(first[0, 0][0], samples(seed=1)[0, 0][0])


def test_no_more_is_read_than_a_patch_with_its_margin():
    one = volume()
    made = samples((one,))
    made[0, 0]
    boxes = [*one.raw.boxes, *one.labels["truth"].boxes]
    assert boxes
    assert max(np.prod([s.stop - s.start for s in box]) for box in boxes) <= 16 * 24 * 24


def test_a_patch_is_a_piece_of_the_normalised_volume():
    one = volume()
    image = samples((one,), augmentation=PLAIN)[0, 3].image[0]
    whole = ((tissue()["raw"].astype(np.float32)) - np.float32(one.offset)) / np.float32(one.scale)
    windows = np.lib.stride_tricks.sliding_window_view(whole, image.shape)
    assert (windows == image).all(axis=(3, 4, 5)).sum() == 1


def test_places_without_labels_are_left_out():
    truth = tissue()["truth"].copy()
    truth[:, :, 20:] = 0
    half = volume(truth=truth)

    def shares(**more):
        made = samples((half,), patches=Patches(shape=(8, 16, 16), **more))
        found = []
        for i in range(60):
            _, box, around = made._place(np.random.default_rng(i))
            inner = tuple(slice(s.start + m, s.stop - m) for s, m in zip(box, around, strict=True))
            found.append((truth[inner] > 0).mean())
        return np.array(found)

    assert shares(accept_other=0.0).min() >= 0.6
    assert shares(least_labelled=0.0).min() < 0.1
    some = (shares(accept_other=0.2) < 0.6).mean()
    assert 0.05 < some < 0.6


def test_volumes_are_drawn_by_their_size():
    small = volume(2, **{n: v[:8, :16, :16] for n, v in tissue(2).items()})
    made = samples((small, volume(1)), patches=Patches(shape=(8, 16, 16), least_labelled=0))
    drawn = [made._place(np.random.default_rng(i))[0] for i in range(100)]
    assert 80 < sum(drawn) <= 100


def test_the_ignore_label_reaches_the_mask():
    truth = np.where(np.arange(SHAPE[2]) < 20, tissue()["truth"], 5)
    made = samples(
        (volume(truth=truth, ignore=5),),
        augmentation=PLAIN,
        patches=Patches(shape=(16, 40, 40), least_labelled=0),
    )
    known = made[0, 0].maps[0][1][0]
    assert known[:, :, :18].all()
    assert not known[:, :, 18:].any()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((8, 16, 15), "patches.shape along x: found 15, expected a multiple of 2.*use 16"),
        ((16, 40, 48), r"found \(16, 40, 48\), expected at most \(16, 40, 40\)"),
    ],
)
def test_patches_that_cannot_be_are_refused(shape, said):
    made = samples(patches=Patches(shape=shape, batch=1))
    with pytest.raises(BadInput, match=said):
        check(made, (2, 2, 2))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_statistics_are_those_of_the_whole_volume(dtype, rng):
    values = (rng.gamma(2, 60, (70, 40, 30)) + 5).astype(dtype)
    held = Held(values)
    offset, scale = offset_and_scale(held, MeanStd())
    assert offset == pytest.approx(values.mean(), rel=1e-4)
    assert scale == pytest.approx(values.std(), rel=1e-4)
    offset, scale = offset_and_scale(held, Percentile(low=5, high=90))
    low, high = np.percentile(values, [5, 90], method="inverted_cdf")
    assert offset == pytest.approx(low, abs=0.02)
    assert scale == pytest.approx(high - low, abs=0.04)
    assert offset_and_scale(held, Fixed(offset=3, scale=2)) == (3, 2)
    assert offset_and_scale(Held(np.full((4, 4, 4), 7, dtype)), MeanStd())[1] == 1
    assert max(b[0].stop - b[0].start for b in held.boxes) <= 70
