"""Learning rates and ends, worked out from histories."""

import pytest

from cellflow.networks.training.schedule import Constant, Cosine, Plateau, waited


def test_the_rate_falls_when_nothing_gets_better():
    p = Plateau(factor=0.5, patience=2)
    assert [p.rate([3.0, 2.0, *([2.0] * n)], 0) for n in range(8)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert p.rate([3, 2, 2, 2, 1.9, 2, 2], 0) == 1
    assert p.rate([], 0) == 1


def test_the_cosine_rises_then_falls_to_its_last_share():
    p = Cosine(warm_up=0.1, last=0.02)
    rates = [p.rate([], share / 100) for share in range(101)]
    assert max(rates) == rates[10] == pytest.approx(1)
    assert rates[0] == 0.02
    assert rates[-1] == pytest.approx(0.02)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert Cosine(warm_up=0).rate([], 0) == 1


def test_the_constant_is_one():
    assert Constant().rate([1, 2], 0.5) == 1


def test_epochs_since_the_best_are_counted_from_its_first():
    assert [waited(s) for s in ([], [1], [1, 2], [1, 2, 1], [2, 1])] == [0, 0, 1, 2, 0]
