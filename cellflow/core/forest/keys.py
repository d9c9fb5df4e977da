"""The order in which a forest grows: altitudes of voxels, and keys of pairs of voxels, the same in any box.

A pair of face neighbours has the key `(higher altitude, lower altitude, pair id)`, and the pair id is
`3 * index of its first voxel + axis`, in C order. No two pairs are equal, and nothing depends on the box
in which a pair is seen: the C order of a box is that of the volume. An altitude is 32 bits::

    | height (8) | fairness (21) | 0 (3) |

The height is the boundary map. Where it is flat, fairness lets voxels deep inside a cell be reached before
those near its membrane, and those in the middle of a thick membrane last. The three free bits hold a
direction while the lowest of six neighbours is sought.
"""

from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Box, around, box_shape, within

FAIRNESS_BITS = 21
DIRECTION_BITS = 3
NOTHING = np.uint32(0xFFFFFFF8)
"""Altitude of what does not exist: voxels outside the mask and outside the volume."""

NEVER = np.iinfo(np.uint64).max
"""Key of a pair that does not exist: above all others."""

U32 = NDArray[np.uint32]
F32 = NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)


def framed(outer: NDArray[Scalar], crop: Box, fill: Any) -> NDArray[Scalar]:  # noqa: ANN401 - a scalar
    """The core at `crop` in a frame one voxel wide: its neighbours, and `fill` beyond the volume.

    Where the volume goes on `outer` must reach one voxel beyond the core. If it is the frame, it is returned.
    """
    here = around(crop, (1, 1, 1), outer.shape)
    shape = [c.stop - c.start + 2 for c in crop]
    if list(outer.shape) == shape == list(box_shape(here)):
        return outer
    out = np.full(shape, fill, outer.dtype)
    z, y, x = (slice(s.start + 1, s.stop + 1) for s in within(here, crop))
    out[z, y, x] = outer[here]
    return out


def altitudes(heights: NDArray[np.uint8], smoothed: F32, depth: F32, cap: float) -> U32:
    """Altitude of every voxel: by height, then from the middle of the cells to that of the membranes.

    `smoothed` is the smoothed distance to the nearest boundary, `depth` how deep a voxel lies inside a
    boundary (0 elsewhere), both at most `cap`. Where `smoothed` is -inf there is no voxel: `NOTHING`.
    All arrays have one shape. Fairness has steps of `cap` / 2**20. Made in the memory of `depth`, which must
    be C-contiguous float32.
    """
    out, rows = depth.view(np.uint32), (-1, depth.shape[-1])
    _altitudes(
        np.ascontiguousarray(heights).reshape(rows),
        np.ascontiguousarray(smoothed).reshape(rows),
        depth.reshape(rows),
        np.float32(cap),
        out.reshape(rows),
    )
    return out


@numba.njit(cache=True, nogil=True)
def _altitudes(heights: NDArray[np.uint8], smoothed: F32, depth: F32, cap: np.float32, out: U32) -> None:
    """A row is made apart: `out` is where `depth` is."""
    highest = np.float32(2**FAIRNESS_BITS - 2)
    scale = np.float32(highest / (np.float32(2) * cap))
    codes = np.empty(out.shape[1], np.uint32)
    for row in range(len(out)):
        height, middle, deep = heights[row], smoothed[row], depth[row]
        for x in range(len(codes)):
            inner = min(max((middle[x] - deep[x] + cap) * scale, np.float32(0)), highest)
            fairness = np.uint32(np.int32(highest) - np.int32(inner))
            code = (np.uint32(height[x]) << np.uint32(FAIRNESS_BITS) | fairness) << np.uint32(DIRECTION_BITS)
            codes[x] = NOTHING if middle[x] == -np.inf else code
        out[row] = codes


@numba.njit(cache=True, nogil=True, inline="always")
def pair_key(a: np.uint32, b: np.uint32) -> np.uint64:
    """Both altitudes of a pair, the higher one first: the key without the pair id."""
    return np.uint64(max(a, b)) << np.uint64(32) | np.uint64(min(a, b))


@numba.njit(cache=True, nogil=True, inline="always")
def lower(key: np.uint64, pair: int, other_key: np.uint64, other_pair: int) -> bool:
    """Whether the first (key, pair id) is below the other."""
    return bool(key < other_key or (key == other_key and pair < other_pair))


def ascending(key: NDArray[np.uint64], pair: NDArray[Any]) -> NDArray[np.int64]:
    """The order of rows by (key, pair). Pairs are compared only where keys are equal."""
    order: NDArray[np.int64] = np.argsort(key)
    ranked = key[order]
    same = ranked[1:] == ranked[:-1]
    if same.any():
        tied = np.append(same, False) | np.append(False, same)
        rows = order[tied]
        order[tied] = rows[np.lexsort((pair[rows], key[rows]))]
    return order


def cross_keys(a: U32, b: U32) -> NDArray[np.uint64]:
    """`pair_key` of every pair of two planes of altitudes; the largest key where one does not exist."""
    key = np.maximum(a, b).astype(np.uint64) << np.uint64(32) | np.minimum(a, b)
    key[(a == NOTHING) | (b == NOTHING)] = NEVER
    return key
