"""Quick cells and their error."""

import numpy as np
import pytest
from training_toys import SHAPE, tissue

from cellflow.networks.heads import Affinities, Boundary, Foreground
from cellflow.networks.training.labels import patch_labels, thick_boundary
from cellflow.networks.training.validation import best, boundaries, quick_cells, rand_error, window

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


def test_cells_are_cut_out_of_true_boundaries():
    truth = patch_labels(tissue()["truth"], None)
    perfect = np.uint8(255) * thick_boundary(truth)
    (error,) = rand_error(perfect, truth, (0.5,))
    assert quick_cells(perfect, 0.5).min() == 1
    assert error < 0.2
    assert rand_error(np.zeros(SHAPE, np.uint8), truth, (0.5,))[0] > 0.5
    noise = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    assert rand_error(noise, truth, (0.5,))[0] > 0.5


def test_the_threshold_with_the_lowest_mean_counts():
    assert best([[0.3, 0.1, 0.5], [0.3, 0.3, 0.1]], (0.4, 0.5, 0.6)) == (pytest.approx(0.2), 0.5)


def test_boundaries_come_from_their_head_or_from_affinities():
    p = np.zeros((1, 2, 3, 4), np.float32)
    p[0, 0, 0, 0] = 1
    assert boundaries({"boundary": p}, [Boundary()])[0, 0, 0] == 255
    near = np.ones((3, 2, 3, 4), np.float32)
    near[2, 0, 0, 2] = 0
    found = boundaries({"affinities": near}, [Affinities(offsets=OFFSETS)])
    assert found[0, 0].tolist() == [0, 255, 255, 0]
    assert boundaries({"foreground": p}, [Foreground()]) is None


def test_the_window_lies_in_the_middle_and_is_of_whole_poolings():
    assert window((20, 50, 51), (64, 32, 256), (4, 4, 4)) == (slice(0, 20), slice(9, 41), slice(1, 49))
