"""Quantiles of the edges of a graph, from histograms that add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cellflow.core.errors import BadInput
from cellflow.core.histogram import BINS
from cellflow.core.thresholds import Beta, Threshold, histogram, number, resolved, resolved_beta


@given(
    st.integers(0, 1000), st.integers(1, 300), st.sampled_from(["q0", "q0.1", "q0.25", "q0.8", "q1", "q1.0"])
)
def test_a_quantile_is_that_of_the_values_to_a_bin_and_the_same_for_any_parts(seed, n, quantile):
    rng = np.random.default_rng(seed)
    values = np.round(rng.random(n), rng.integers(1, 9))
    found = resolved(quantile, histogram(values))
    exact = np.quantile(values, float(quantile[1:]), method="inverted_cdf")
    assert exact - 1 / BINS <= found <= exact
    assert (values < found).mean() < max(float(quantile[1:]), 1e-9)
    cut = rng.integers(0, n + 1)
    assert resolved(quantile, histogram(values[:cut]) + histogram(values[cut:])) == found


def test_a_fraction_means_what_is_written():
    """In doubles 0.55 x 100 is more than 55, and the 56th value would come out."""
    values = (np.arange(100) + 0.5) / 128
    assert resolved("q0.55", histogram(values)) == pytest.approx(values[54], abs=1 / BINS)


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 1.0])
def test_of_equal_boundaries_none_lies_below(value):
    for quantile in ("q0", "q0.5", "q1"):
        assert value - 1 / BINS <= resolved(quantile, histogram(np.full(9, value))) <= value


def test_without_edges_a_quantile_is_the_middle():
    assert resolved("q0.8", histogram(np.empty(0))) == 0.5
    assert resolved_beta("q0.8", histogram(np.empty(0))) == 0.5


def test_numbers_stay_as_they_are_and_beta_is_neutral_at_the_quantile():
    counts = histogram(np.array([0.25, 0.75]))
    assert resolved(0.3, counts) == resolved_beta(0.3, counts) == number(0.3) == 0.3
    assert resolved_beta("q0.5", counts) == 0.75
    with pytest.raises(BadInput, match=r"found the quantile q0\.5, expected a number"):
        number("q0.5")


def test_values_that_miss_the_range_by_rounding_count_at_its_ends():
    counts = histogram(np.array([-1e-7, 1 + 1e-7]))
    assert counts[[0, -1]].tolist() == [1, 1]


@pytest.mark.parametrize(
    "wrong", ["q", "q80", "q1.2", "q-0.1", "Q0.5", "q0.", "q0.5 ", "q.5", "q0,5", "q0.5\n"]
)
def test_other_texts_are_refused(wrong):
    for kind in (Beta, Threshold):
        with pytest.raises(
            ValidationError, match=r"1 validation error(.|\n)*a quantile of the edges such as q0\.8"
        ):
            TypeAdapter(kind).validate_python(wrong)


def test_the_ends_are_thresholds_and_no_betas():
    for value in (0, 1):
        assert TypeAdapter(Threshold).validate_python(value) == value
        with pytest.raises(ValidationError, match="Expected a number between 0 and 1"):
            TypeAdapter(Beta).validate_python(value)
