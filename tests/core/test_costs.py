import numpy as np
import pytest

from cellflow.core.costs import multicut_costs, signed_weights

P = np.array([0.0, 0.0005, 0.25, 0.5, 0.75, 1.0])


def test_costs_are_the_log_odds_by_hand():
    nines, thirds = np.log(999), np.log(3)
    assert multicut_costs(P, 0.5) == pytest.approx([nines, nines, thirds, 0, -thirds, -nines])


def test_probability_and_beta_balance_where_they_sum_to_one():
    for beta in (0.1, 0.3, 0.8):
        boundary = np.array([1 - beta])
        assert multicut_costs(boundary, beta) == pytest.approx([0], abs=1e-12)
        assert signed_weights(boundary, beta) == pytest.approx([0], abs=1e-12)


def test_both_kinds_fall_with_the_boundary_and_with_beta():
    inner = P[2:5]
    for values in (multicut_costs, signed_weights):
        assert (np.diff(values(inner, 0.4)) < 0).all()
        assert (values(inner, 0.6) < values(inner, 0.4)).all()


def test_size_weights_scale_costs_by_the_share_of_the_largest_size():
    sizes = np.array([1.0, 2, 4, 5, 8, 10])
    assert multicut_costs(P, 0.3, sizes) == pytest.approx(multicut_costs(P, 0.3) * sizes / 10)


def test_no_edges_have_no_costs():
    none = np.zeros(0)
    assert multicut_costs(none, 0.5, none).shape == signed_weights(none, 0.5).shape == (0,)


def test_the_input_is_left_as_it_was():
    boundary, sizes = P.copy(), np.arange(1.0, 7)
    multicut_costs(boundary, 0.5, sizes)
    signed_weights(boundary, 0.5)
    assert np.array_equal(boundary, P)
    assert np.array_equal(sizes, np.arange(1.0, 7))
