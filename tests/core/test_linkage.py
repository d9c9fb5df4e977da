"""Strength compared in whole numbers, against fractions."""

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from cellflow.core.linkage import LARGEST_SIZE, LARGEST_WEIGHT, order

WEIGHTS = st.integers(-LARGEST_WEIGHT + 1, LARGEST_WEIGHT - 1)
SIZES = st.integers(1, LARGEST_SIZE - 1)


def compared(a, b):
    # As kernels divide: weights are rounded to doubles before.
    x, y = float(a[0]) / a[1], float(b[0]) / b[1]
    return order(x - y, max(abs(x), abs(y)), a, b)


def exactly(a, b):
    x, y = Fraction(*a), Fraction(*b)
    return (x > y) - (x < y)


@given(WEIGHTS, SIZES, WEIGHTS, SIZES)
@example(LARGEST_WEIGHT - 1, LARGEST_SIZE - 1, LARGEST_WEIGHT - 2, LARGEST_SIZE - 1)
@example(0, 1, 0, 7)
def test_any_two_values_are_compared_exactly(weight, size, other, other_size):
    assert compared((weight, size), (other, other_size)) == exactly((weight, size), (other, other_size))


@given(st.integers(1, LARGEST_WEIGHT - 1), SIZES, SIZES, st.integers(-2, 2), st.booleans())
def test_values_that_are_one_double_are_told_apart(weight, size, other_size, step, negative):
    """The other weight is the one that comes closest to the same value, or one or two beside it."""
    other = min(weight * other_size // size, LARGEST_WEIGHT - 3) + step
    a, b = (
        (-weight, size) if negative else (weight, size),
        (-other, other_size) if negative else (other, other_size),
    )
    assert compared(a, b) == exactly(a, b)


def test_doubles_alone_would_call_these_equal_or_order_them_wrongly():
    a, b = (2**61, 2**49), (2**61 + 1, 2**49)
    assert a[0] / a[1] == b[0] / b[1]
    assert compared(a, b) == -1
    assert compared(b, a) == 1
    a, b = (1961932524230792437, 497), (469758491717231991, 119)
    assert float(a[0]) / a[1] < float(b[0]) / b[1]
    assert compared(a, b) == exactly(a, b) == 1
