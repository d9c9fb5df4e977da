"""Gaussian smoothing whose bits do not depend on where a block was cut.

Every output voxel is the same sum, in the same order, over its neighbourhood: no recursion, no running
sums, no fused multiplication, so two boxes that hold the neighbourhood agree exactly.
"""

from math import ceil

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.schema import Voxel3

STRIP = 256


def smoothing_radius(sigma: float) -> int:
    """How far the kernel of `sigma` reaches, in voxels: three sigma, rounded up."""
    return ceil(3 * sigma)


def smooth(volume: NDArray[np.float32], sigma: Voxel3 | tuple[float, float, float]) -> NDArray[np.float32]:
    """`volume` (z, y, x) itself, smoothed in place by a Gaussian of `sigma` voxels along z, y, x (0: not).

    The volume must be C-contiguous float32. The kernel is cut at three sigma and normalised; at the border
    the volume is mirrored with the border voxel repeated (scipy's `reflect`). A voxel further than the
    radius from the border has the same bits in every larger array. Extra memory: one strip of lines.
    """
    z, y, x = volume.shape
    if sigma[0] > 0:
        _smooth_lines(volume.reshape(1, z, y * x), _kernel(sigma[0]))
    if sigma[1] > 0:
        _smooth_lines(volume, _kernel(sigma[1]))
    if sigma[2] > 0:
        _smooth_rows(volume.reshape(z * y, x), _kernel(sigma[2]))
    return volume


def _kernel(sigma: float) -> NDArray[np.float32]:
    """Weights of the centre and of one side."""
    side = np.exp(-0.5 * np.square(np.arange(smoothing_radius(sigma) + 1) / sigma))
    weights: NDArray[np.float32] = (side / (2 * side.sum() - 1)).astype(np.float32)
    return weights


@numba.njit(cache=True, nogil=True)
def _mirror(i: int, n: int) -> int:
    """The voxel that stands at `i` of a line of `n` mirrored at both ends, as often as needed."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


@numba.njit(cache=True, nogil=True)
def _smooth_lines(volume: NDArray[np.float32], kernel: NDArray[np.float32]) -> None:
    """Smooth along the middle axis; strips of neighbouring lines are copied to fit the cache."""
    outer, n, inner = volume.shape
    radius = len(kernel) - 1
    strip = np.empty((n + 2 * radius, min(inner, STRIP)), np.float32)
    for o in range(outer):
        for left in range(0, inner, STRIP):
            right = min(left + STRIP, inner)
            for i in range(n + 2 * radius):
                strip[i, : right - left] = volume[o, _mirror(i - radius, n), left:right]
            for i in range(n):
                out = volume[o, i, left:right]
                centre = strip[i + radius]
                for x in range(len(out)):
                    out[x] = kernel[0] * centre[x]
                for k in range(1, radius + 1):
                    weight, below, above = kernel[k], strip[i + radius - k], strip[i + radius + k]
                    for x in range(len(out)):
                        out[x] += weight * (below[x] + above[x])


@numba.njit(cache=True, nogil=True)
def _smooth_rows(volume: NDArray[np.float32], kernel: NDArray[np.float32]) -> None:
    """Smooth along the last axis."""
    rows, n = volume.shape
    radius = len(kernel) - 1
    padded = np.empty(n + 2 * radius, np.float32)
    for row in range(rows):
        out = volume[row]
        for i in range(radius):
            padded[i] = out[_mirror(i - radius, n)]
            padded[radius + n + i] = out[_mirror(n + i, n)]
        padded[radius : radius + n] = out
        for x in range(n):
            out[x] = kernel[0] * padded[radius + x]
        for k in range(1, radius + 1):
            weight, below, above = kernel[k], padded[radius - k :], padded[radius + k :]
            for x in range(n):
                out[x] += weight * (below[x] + above[x])
