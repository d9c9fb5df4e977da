import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellflow.core.morton import morton, place, point

coordinates = st.integers(0, 2**21 - 1)


@given(coordinates, coordinates, coordinates)
def test_bits_are_interleaved_z_first(z, y, x):
    bits = "".join("".join(b) for b in zip(*(f"{n:021b}" for n in (z, y, x)), strict=True))
    assert int(morton(np.array([z]), np.array([y]), np.array([x]))[0]) == int(bits, 2)
    assert place(z, y, x) == int(bits, 2)
    assert point(place(z, y, x)) == (z, y, x)


@given(st.integers(0, 10**6), st.integers(0, 2))
def test_a_step_towards_the_origin_lowers_the_number(number, axis):
    at = list(point(number))
    at[axis] = max(at[axis] - 1, 0)
    assert place(*at) <= number
