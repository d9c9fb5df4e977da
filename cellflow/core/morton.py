"""Z-order (Morton 1966): one number for a place in space, such that near numbers are near in space."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.grid import Triple

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


def morton(z: NDArray[np.integer], y: NDArray[np.integer], x: NDArray[np.integer]) -> U64:
    """(k): the bits of three coordinates (k each, 0 to 2**21 - 1) interleaved, z first."""
    numbers: I64 = _places(*(np.asarray(c).astype(np.int64) for c in (z, y, x)))
    return numbers.view(np.uint64)


@njit(cache=True, nogil=True)
def place(z: int, y: int, x: int) -> int:
    """The same of one place, below 2**63."""
    number: int = _spread(z) << 2 | _spread(y) << 1 | _spread(x)
    return number


@njit(cache=True, nogil=True)
def point(number: int) -> Triple:
    """The coordinates z, y, x of which a number is made."""
    return _gather(number >> 2), _gather(number >> 1), _gather(number)


@njit(cache=True, nogil=True)
def _places(z: I64, y: I64, x: I64) -> I64:
    found = np.empty(z.size, np.int64)
    for i in range(z.size):
        found[i] = place(z[i], y[i], x[i])
    return found


@njit(cache=True, nogil=True, inline="always")
def _spread(coordinate: int) -> int:
    """The lower 21 bits, two zeros between each."""
    bits = coordinate & 0x1FFFFF
    bits = (bits | bits << 32) & 0x1F00000000FFFF
    bits = (bits | bits << 16) & 0x1F0000FF0000FF
    bits = (bits | bits << 8) & 0x100F00F00F00F00F
    bits = (bits | bits << 4) & 0x10C30C30C30C30C3
    return (bits | bits << 2) & 0x1249249249249249


@njit(cache=True, nogil=True)
def _gather(number: int) -> int:
    """Every third bit, from the lowest on: what `_spread` was given."""
    bits = number & 0x1249249249249249
    bits = (bits | bits >> 2) & 0x10C30C30C30C30C3
    bits = (bits | bits >> 4) & 0x100F00F00F00F00F
    bits = (bits | bits >> 8) & 0x1F0000FF0000FF
    bits = (bits | bits >> 16) & 0x1F00000000FFFF
    return (bits | bits >> 32) & 0x1FFFFF
