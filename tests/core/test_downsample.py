from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellflow.core.downsample import mean, mode

shapes = st.tuples(*[st.integers(1, 6)] * 3)
steps = st.tuples(*[st.integers(1, 2)] * 3)


def _cells(values, step):
    shape = tuple(-(-n // k) for n, k in zip(values.shape, step, strict=True))
    for at in product(*(range(n) for n in shape)):
        yield at, values[tuple(slice(i * k, (i + 1) * k) for i, k in zip(at, step, strict=True))]


@given(hnp.arrays(np.uint64, shapes, elements=st.sampled_from([0, 1, 2, 2**60])), steps)
def test_mode_is_the_commonest_label_the_first_of_several(labels, step):
    found = mode(labels, step)
    for at, cell in _cells(labels, step):
        assert found[at] == Counter(cell.ravel().tolist()).most_common(1)[0][0]


@given(hnp.arrays(np.uint16, shapes), steps)
def test_mean_counts_the_voxels_that_a_cut_cell_has(values, step):
    found = mean(values, step)
    assert found.dtype == np.uint16
    for at, cell in _cells(values, step):
        assert found[at] == np.rint(cell.mean())


def test_mean_of_floats_is_not_rounded():
    values = np.array([[[0.0, 0.5, 1.0]]], np.float32)
    np.testing.assert_array_equal(mean(values, (1, 1, 2)), np.array([[[0.25, 1.0]]], np.float32))


@pytest.mark.parametrize("function", [mean, mode])
def test_a_step_of_one_changes_nothing(function, rng):
    values = rng.integers(0, 255, (3, 4, 5)).astype(np.uint8)
    np.testing.assert_array_equal(function(values, (1, 1, 1)), values)
