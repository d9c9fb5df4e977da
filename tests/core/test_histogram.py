import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellflow.core.histogram import Bins

percents = st.one_of(st.sampled_from([0, 1.0, 50, 99.8, 100]), st.floats(0, 100))


def _bins(values, **more):
    return Bins(values.min().item(), values.max().item(), integer=values.dtype.kind in "iu", **more)


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16, np.int16]), st.integers(1, 60)), percents)
def test_percentiles_of_integers_are_exact(values, percent):
    bins = _bins(values)
    if int(values.max()) - int(values.min()) < 65536:
        assert bins.percentile(bins.count(values), percent) == np.percentile(
            values, percent, method="inverted_cdf"
        )


@given(hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32)), percents)
def test_percentiles_of_floats_are_within_half_a_bin(values, percent):
    bins = _bins(values, most=64)
    found = bins.percentile(bins.count(values), percent)
    exact = float(np.percentile(values.astype(np.float64), percent, method="inverted_cdf"))
    assert abs(found - exact) <= bins.width * 0.5 * (1 + 1e-6) + 1e-9 * abs(exact)


@given(hnp.arrays(np.uint16, (4, 6, 5)), st.integers(1, 3))
def test_counts_add_up_over_blocks(values, at):
    bins = _bins(values)
    parts = [bins.count(part) for part in (values[:at], values[at:, :2], values[at:, 2:])]
    np.testing.assert_array_equal(sum(parts[::-1]), bins.count(values))


def test_every_voxel_is_counted_once(rng):
    values = rng.normal(size=1000)
    bins = _bins(values, most=10)
    assert bins.count(values).sum() == 1000
    assert bins.count(values[:0]).sum() == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
@pytest.mark.parametrize("value", [0, 7, 100])
def test_a_constant_volume_has_that_value(dtype, value):
    values = np.full(50, value, dtype)
    bins = _bins(values)
    counts = bins.count(values)
    assert bins.percentile(counts, 1) == pytest.approx(value)
    assert bins.percentile(counts, 99.8) == pytest.approx(value)
    assert bins.mean_std(counts) == (pytest.approx(value), pytest.approx(0, abs=1e-12))


def test_mean_and_deviation_are_those_of_the_voxels(rng):
    values = rng.integers(0, 5000, 3000).astype(np.uint16)
    bins = _bins(values)
    mean, std = bins.mean_std(bins.count(values))
    assert mean == pytest.approx(values.mean(), rel=1e-12)
    assert std == pytest.approx(values.std(), rel=1e-12)


def test_a_wide_integer_range_is_binned_within_half_a_bin(rng):
    values = rng.integers(0, 2**32 - 1, 500).astype(np.uint32)
    bins = _bins(values)
    exact = np.percentile(values, 30, method="inverted_cdf")
    assert abs(bins.percentile(bins.count(values), 30) - exact) <= bins.width / 2
