"""Z-order (Morton 1966): one number for a place in space, such that near numbers are near in space."""

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]


def morton(z: NDArray[np.integer], y: NDArray[np.integer], x: NDArray[np.integer]) -> U64:
    """The bits of three coordinates (0 to 2**21 - 1) interleaved, z first."""
    return _spread(z) << np.uint64(2) | _spread(y) << np.uint64(1) | _spread(x)


def _spread(values: NDArray[np.integer]) -> U64:
    """The lower 21 bits, two zeros between each."""
    bits: U64 = np.asarray(values).astype(np.uint64) & np.uint64(0x1FFFFF)
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        bits = (bits | bits << np.uint64(shift)) & np.uint64(mask)
    return bits
