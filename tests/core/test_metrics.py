"""Scores checked by hand, against scikit-image, and against the rules any such score obeys."""

import json
from itertools import pairwise
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import adapted_rand_error as skimage_rand
from skimage.metrics import variation_of_information as skimage_voi

from cellflow.core.contingency import contingency_block, merge, without
from cellflow.core.errors import BadInput
from cellflow.core.metrics import adapted_rand_error, average_precision, scores, seg_score, voi

TRUTH = np.array([[0, 1, 1, 1], [0, 1, 1, 1], [2, 2, 2, 2], [2, 2, 3, 3]])
"""Background 2, cell 1 of 6, cell 2 of 6, cell 3 of 2 pixels."""
SEGMENTS = np.array([[5, 5, 5, 5], [0, 5, 5, 7], [7, 7, 7, 7], [7, 7, 9, 9]])
"""5 holds five pixels of cell 1 and one of background, 7 one of cell 1 and all of cell 2, 9 is cell 3."""
HUGE = 2**63 - 5


def table(truth, segments):
    return contingency_block(np.asarray(truth), np.asarray(segments))


def rows(found):
    return list(zip(found.truth.tolist(), found.segment.tolist(), found.count.tolist(), strict=True))


def blobs(rng, cells=30, size=24):
    """Label a cube by its nearest of some random points, from 1."""
    points = rng.random((cells, 3)) * size
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1)
    return np.argmin(((grid[..., None, :] - points) ** 2).sum(-1), -1) + 1


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_the_table_holds_every_pair_sorted():
    assert rows(table(TRUTH, SEGMENTS)) == [(0, 0, 1), (0, 5, 1), (1, 5, 5), (1, 7, 1), (2, 7, 6), (3, 9, 2)]


def test_labels_up_to_2_to_the_64_are_kept_apart():
    truth = np.array([HUGE, HUGE, 2**33, 2**64 - 1], np.uint64)
    segments = np.array([2**40, 2**40 + 1, 2**40, 0], np.uint64)
    assert rows(table(truth, segments)) == [
        (2**33, 2**40, 1), (HUGE, 2**40, 1), (HUGE, 2**40 + 1, 1), (2**64 - 1, 0, 1)
    ]  # fmt: skip


def test_a_table_of_many_pairs_equals_numpy(rng):
    truth, segments = rng.integers(0, 300, (2, 40, 30, 20))
    pairs, count = np.unique(np.stack([truth.ravel(), segments.ravel()]), axis=1, return_counts=True)
    expected = [(*p, n) for p, n in zip(pairs.T.tolist(), count, strict=True)]
    assert rows(table(truth.astype(np.int16), segments.astype(np.uint32))) == expected


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_table_does_not_depend_on_how_the_volume_is_cut(data):
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    seed = data.draw(st.integers(0, 2**32 - 1))
    truth, segments = np.random.default_rng(seed).integers(0, 2**62, (2, 6))[
        np.arange(2)[:, None, None, None], np.random.default_rng(seed + 1).integers(0, 6, (2, *shape))
    ]
    cuts = [sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=3))}) for n in shape]
    boxes = [
        (slice(*z), slice(*y), slice(*x))
        for z in pairwise(cuts[0]) for y in pairwise(cuts[1]) for x in pairwise(cuts[2])
    ]  # fmt: skip
    parts = [table(truth[b], segments[b]) for b in data.draw(st.permutations(boxes))]
    half = len(parts) // 2
    assert rows(merge([merge(parts[:half]), merge(parts[half:])])) == rows(table(truth, segments))


def test_a_block_counted_twice_is_seen():
    whole = table(TRUTH, SEGMENTS)
    assert rows(merge([whole, table(TRUTH[:1], SEGMENTS[:1])])) != rows(whole)


def test_size_is_judged_on_the_whole_table():
    halves = [table(TRUTH[:, :3], SEGMENTS[:, :3]), table(TRUTH[:, 3:], SEGMENTS[:, 3:])]
    assert set(without(merge(halves), min_truth_size=6).truth.tolist()) == {1, 2}
    assert set(without(merge(halves), ignore=(), min_truth_size=3).truth.tolist()) == {0, 1, 2}
    assert set(without(merge(halves), ignore=(1,)).truth.tolist()) == {0, 2, 3}


def test_adapted_rand_error_by_hand():
    found = adapted_rand_error(without(table(TRUTH, SEGMENTS)))
    both = 5 * 4 + 1 * 0 + 6 * 5 + 2 * 1  # ordered pairs per overlap
    joined = 5 * 4 + 7 * 6 + 2 * 1
    true = 6 * 5 + 6 * 5 + 2 * 1
    assert found.precision == both / joined
    assert found.recall == both / true
    assert found.error == pytest.approx(1 - 2 * both / (joined + true))


def test_voi_by_hand():
    found = voi(without(table(TRUTH, SEGMENTS)))
    assert found.split == pytest.approx((5 * log2(6 / 5) + log2(6)) / 14)
    assert found.merge == pytest.approx((6 * log2(7 / 6) + log2(7)) / 14)


def test_seg_by_hand():
    # Cell 1: five of its six in 5, which has one more outside; cell 2: six of the seven of 7.
    assert seg_score(table(TRUTH, SEGMENTS)) == pytest.approx((5 / 7 + 6 / 7 + 1) / 3)
    assert seg_score(table([1, 1, 1, 1], [2, 2, 3, 3])) == 0  # half is not more than half


def test_average_precision_by_hand():
    whole = table(TRUTH, SEGMENTS)  # IoU 5/7 = .71, 6/7 = .86, 1
    assert average_precision(whole, [0.5, 0.75, 0.9]) == [3 / 3, 2 / 4, 1 / 5]
    assert scores(whole)["mean_average_precision"] == pytest.approx((5 * 1 + 3 * 2 / 4 + 2 * 1 / 5) / 10)


def test_an_overlap_equal_to_the_threshold_is_no_match():
    assert average_precision(table([1] * 20, [1] * 11 + [0] * 9), [0.5, 0.55]) == [1, 0]


def test_a_threshold_that_allows_two_matches_is_refused():
    with pytest.raises(BadInput, match=r"found 0\.3"):
        average_precision(table(TRUTH, SEGMENTS), [0.3])


def test_rand_and_voi_equal_scikit_image_with_segment_0_as_a_segment(rng):
    truth = np.where(rng.random((24, 24, 24)) < 0.2, 0, blobs(rng))
    segments = np.where(rng.random((24, 24, 24)) < 0.2, 0, blobs(rng))
    inside = without(table(truth, segments))
    error, recall, precision = skimage_rand(truth, segments, ignore_labels=(0,))
    found = adapted_rand_error(inside)
    assert (found.error, found.precision, found.recall) == pytest.approx((error, precision, recall))
    cut, joined = skimage_voi(truth, segments, ignore_labels=(0,))  # H(second|first), H(first|second)
    assert (voi(inside).split, voi(inside).merge) == pytest.approx((cut, joined))


def test_renaming_labels_changes_no_bit_of_any_score(rng):
    truth, segments = blobs(rng), blobs(rng)
    names = np.concatenate([[0], rng.choice(2**62, 60, replace=False)])
    assert scores(table(names[truth], names[segments + 20])) == scores(table(truth, segments))


def test_a_perfect_segmentation_scores_perfectly(rng):
    truth = blobs(rng) - 1
    found = scores(table(truth, truth * 1000))
    assert found["cells_found"] == found["cells_true"] == 29
    assert (found["adapted_rand_error"], found["voi_split"], found["voi_merge"]) == (0, 0, 0)
    assert (found["seg"], found["mean_average_precision"], found["average_precision_75"]) == (1, 1, 1)


def test_cutting_cells_raises_only_split_and_recall_error(rng):
    truth = blobs(rng)
    found = scores(table(truth, truth * 2 + (np.indices(truth.shape)[0] % 12 < 6)))
    assert found["voi_split"] > 0.3
    assert found["voi_merge"] == 0
    assert found["adapted_rand_recall"] < found["adapted_rand_precision"] == 1


def test_joining_cells_raises_only_merge_and_precision_error(rng):
    truth = blobs(rng)
    found = scores(table(truth, (truth + 1) // 2))
    assert found["voi_merge"] > 0.3
    assert found["voi_split"] == 0
    assert found["adapted_rand_precision"] < found["adapted_rand_recall"] == 1


def test_random_labels_score_like_noise(rng):
    truth = blobs(rng)
    found = scores(table(truth, rng.integers(1, 31, truth.shape)))
    assert found["adapted_rand_error"] > 0.9
    assert found["voi_split"] > 0.95 * log2(30)
    assert found["mean_average_precision"] == found["seg"] == 0


@pytest.mark.parametrize(
    ("truth", "segments", "expected"),
    [
        ([0, 0, 0], [0, 0, 0], {"seg": None, "mean_average_precision": None, "adapted_rand_error": None}),
        ([], [], {"seg": None, "voi_split": None, "voi_merge": None, "adapted_rand_recall": None}),
        ([0, 0, 0], [0, 4, 4], {"seg": None, "mean_average_precision": 0, "voi_merge": None}),
        ([1, 1, 2, 2], [0] * 4, {"seg": 0, "mean_average_precision": 0, "voi_split": 0, "voi_merge": 1}),
        ([1, 2, 3, 0], [4, 5, 6, 0], {"seg": 1, "mean_average_precision": 1, "adapted_rand_error": None}),
        ([1, 1, 2, 2], [4, 5, 6, 7], {"adapted_rand_error": 1, "adapted_rand_precision": None, "seg": 0}),
    ],
    ids=["both empty", "no voxel", "no truth", "no segment", "one-voxel cells", "one-voxel segments"],
)
def test_a_score_without_anything_to_judge_is_none_and_json_has_no_nan(truth, segments, expected):
    found = scores(table(np.array(truth, int), np.array(segments, int)))
    assert {key: found[key] for key in expected} == expected
    json.dumps(found, allow_nan=False)


def test_unlabelled_truth_turns_segments_there_into_no_error():
    truth, segments = [0, 0, 1, 1], [7, 7, 8, 8]
    assert scores(table(truth, segments))["mean_average_precision"] == 0.5
    assert scores(table(truth, segments), unlabelled=(0,))["mean_average_precision"] == 1
    assert scores(table(truth, segments), unlabelled=(0,))["cells_found"] == 1


def test_large_volumes_do_not_overflow():
    part = table(np.ones(8, int), np.ones(8, int))
    many = part
    for _ in range(40):  # 8 * 2**40 voxels of one cell; its pairs do not fit 64 bits
        many = merge([many, many])
    assert adapted_rand_error(many).error == 0


@pytest.mark.parametrize(
    ("truth", "segments", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "one shape"),
        (np.zeros(3), np.zeros(3, int), "integer labels: found float64"),
        (np.zeros(3, int), np.array([0, -1, 2]), "labels from 0: found -1"),
    ],
)
def test_arrays_that_are_no_labels_are_refused(truth, segments, message):
    with pytest.raises(BadInput, match=message):
        contingency_block(truth, segments)
