"""Euclidean distance to the nearest boundary, saturated at a cap so that a finite halo makes it exact.

Squared distance is separable: rows along x are scanned, then every line along y and z takes the smallest
of `f[j] + (pitch * (i - j))**2` (Saito and Toriwaki 1994). The minimum is taken over all offsets below the
cap, nearest first, and ends as soon as no voxel of the strip can improve. A minimum does not depend on
the order of its candidates, so a voxel has the same bits in every box that holds its neighbourhood; the
lower-envelope method computes where parabolas meet and has no such guarantee on anisotropic voxels.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.schema import Voxel3

STRIP = 256


def boundary_distance(
    inside: NDArray[np.bool_], pitch: Voxel3, cap: float, *, planar: bool = False
) -> NDArray[np.float32]:
    """Distance of each voxel to the nearest voxel that is not `inside`, at most `cap`: float32 (z, y, x).

    `pitch` is the voxel size along z, y, x in the unit of `cap`; with `planar` each z slice stands alone.
    What lies beyond the array is unknown, not boundary: without any boundary every voxel has `cap`.
    A voxel further than `cap` from the array's border has the same bits in every larger array. Equals the
    exact transform to float32 rounding. Memory: the result; time grows with the distances, at worst with
    `cap`.
    """
    z, y, x = inside.shape
    out = np.empty((z, y, x), np.float32)
    _scan_rows(np.ascontiguousarray(inside).reshape(z * y, x), _squares(pitch[2], cap), out.reshape(z * y, x))
    _lower(out, _squares(pitch[1], cap))
    if not planar:
        _lower(out.reshape(1, z, y * x), _squares(pitch[0], cap))
    return np.sqrt(out, out=out)


def _squares(step: float, cap: float) -> NDArray[np.float32]:
    """Squared distances of 0, 1, 2 … voxels as long as they are below the cap, and the squared cap."""
    below = np.square(np.arange(int(cap / step) + 2) * step)
    return np.append(below[below < cap**2], cap**2).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _scan_rows(inside: NDArray[np.bool_], squares: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Squared distance along x alone."""
    rows, n = inside.shape
    far = len(squares) - 1
    steps = np.empty(n, np.int32)
    for row in range(rows):
        since = far
        for x in range(n):
            since = min(since + 1, far) if inside[row, x] else 0
            steps[x] = since
        since = far
        for x in range(n - 1, -1, -1):
            since = min(since + 1, far) if inside[row, x] else 0
            out[row, x] = squares[min(since, steps[x])]


@numba.njit(cache=True, nogil=True)
def _lower(volume: NDArray[np.float32], squares: NDArray[np.float32]) -> None:
    """Take, in place, the nearest over the lines along the middle axis; strips of them fit the cache."""
    outer, n, inner = volume.shape
    strip = np.empty((n, min(inner, STRIP)), np.float32)
    for o in range(outer):
        for left in range(0, inner, STRIP):
            right = min(left + STRIP, inner)
            for i in range(n):
                strip[i, : right - left] = volume[o, i, left:right]
            for i in range(n):
                _nearest(strip, i, squares, volume[o, i, left:right])


@numba.njit(cache=True, nogil=True)
def _nearest(
    strip: NDArray[np.float32], i: int, squares: NDArray[np.float32], best: NDArray[np.float32]
) -> None:
    n, far = len(strip), len(squares) - 1
    for k in range(1, min(far, n)):
        step = squares[k]
        below, above = strip[max(i - k, 0)], strip[min(i + k, n - 1)]
        # Beyond the end the last line is taken: it was compared before at a smaller step, so it never wins.
        improvable = 0
        for x in range(len(best)):
            best[x] = min(min(below[x], above[x]) + step, best[x])
            improvable |= best[x] > squares[k + 1]
        if not improvable:
            return
