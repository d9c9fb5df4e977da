"""Gaussian smoothing whose bits do not depend on where a block was cut.

Every output voxel is the same sum, in the same order, over its neighbourhood: no recursion, no running
sums, no fused multiplication, so two boxes that hold the neighbourhood agree exactly.
"""

from math import ceil

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Box, box_shape, whole
from cellflow.core.schema import Voxel3

STRIP = 256

F32 = NDArray[np.float32]


def smoothing_radius(sigma: float) -> int:
    """How far the kernel of `sigma` reaches, in voxels: three sigma, rounded up."""
    return ceil(3 * sigma)


def smooth(volume: F32, sigma: Voxel3 | tuple[float, float, float], box: Box | None = None) -> F32:
    """`volume` (z, y, x) smoothed by a Gaussian of `sigma` voxels along z, y, x (0: not), in place.

    The volume must be C-contiguous float32. The kernel is cut at three sigma and normalised; at the border
    the volume is mirrored with the border voxel repeated (scipy's `reflect`). A voxel further than the
    radius from the border has the same bits in every larger array. Extra memory: one strip of lines.

    With a smaller `box` that part of the result alone, the same bits in a new array; the volume is spoilt.
    """
    everything = whole(volume.shape)
    z, y, x = box = box or everything
    kernels = [_kernel(s) for s in sigma]
    if sigma[0] > 0:
        _smooth_columns(volume.reshape(len(volume), -1), kernels[0], z.start, z.stop)
    if sigma[1] == sigma[2] == 0 and box == everything:
        return volume
    out = volume if box == everything else np.empty(box_shape(box), np.float32)
    _smooth_slices(volume[z], kernels[1], kernels[2], (y.start, x.start), out)
    return out


def _kernel(sigma: float) -> F32:
    """Weights of the centre and of one side."""
    if sigma == 0:
        return np.ones(1, np.float32)
    side = np.exp(-0.5 * np.square(np.arange(smoothing_radius(sigma) + 1) / sigma))
    weights: F32 = (side / (2 * side.sum() - 1)).astype(np.float32)
    return weights


@numba.njit(cache=True, nogil=True)
def _mirror(i: int, n: int) -> int:
    """The voxel that stands at `i` of a line of `n` mirrored at both ends, as often as needed."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


@numba.njit(cache=True, nogil=True)
def _smooth_columns(volume: F32, kernel: F32, start: int, stop: int) -> None:
    """Smooth rows `start` to `stop` along the first axis; strips of columns are copied to fit the cache."""
    n, inner = volume.shape
    radius, width = len(kernel) - 1, min(inner, STRIP)
    strip = np.empty((n + 2 * radius, width), np.float32)
    line = strip.ravel()
    for left in range(0, inner, STRIP):
        right = min(left + STRIP, inner)
        for i in range(n + 2 * radius):
            strip[i, : right - left] = volume[_mirror(i - radius, n), left:right]
        for i in range(start, stop):
            _weigh(line, (i + radius) * width, width, kernel, volume[i, left:right])


@numba.njit(cache=True, nogil=True)
def _smooth_slices(volume: F32, along_y: F32, along_x: F32, corner: tuple[int, int], out: F32) -> None:
    """Smooth each slice along y and then x where `out` is, whose first voxel is at `corner`."""
    ny, nx = volume.shape[1:]
    tall, wide = len(along_y) - 1, len(along_x) - 1
    slab = np.empty((ny + 2 * tall, nx), np.float32)
    line, row = slab.ravel(), np.empty(nx + 2 * wide, np.float32)
    for z in range(len(volume)):
        for y in range(ny + 2 * tall):
            slab[y] = volume[z, _mirror(y - tall, ny)]
        for y in range(out.shape[1]):
            _weigh(line, (corner[0] + y + tall) * nx, nx, along_y, row[wide : wide + nx])
            for i in range(wide):
                row[i] = row[wide + _mirror(i - wide, nx)]
                row[wide + nx + i] = row[wide + _mirror(nx + i, nx)]
            _weigh(row, wide + corner[1], 1, along_x, out[z, y])


@numba.njit(cache=True, nogil=True)
def _weigh(line: F32, at: int, stride: int, kernel: F32, out: F32) -> None:
    """Weighted sums over the voxels `stride` apart in `line`, in which `out` begins `at`; nearest first.

    Two of a side at once, as memory is what it waits for: the order of the sum stays.
    """
    n, radius = len(out), len(kernel) - 1
    centre = line[at : at + n]
    for x in range(n):
        out[x] = kernel[0] * centre[x]
    for k in range(1, radius, 2):
        near, next_ = k * stride, (k + 1) * stride
        weight, next_weight = kernel[k], kernel[k + 1]
        below, above = line[at - near : at - near + n], line[at + near : at + near + n]
        lower, upper = line[at - next_ : at - next_ + n], line[at + next_ : at + next_ + n]
        for x in range(n):
            out[x] = out[x] + weight * (below[x] + above[x]) + next_weight * (lower[x] + upper[x])
    if radius % 2:
        weight, near = kernel[radius], radius * stride
        below, above = line[at - near : at - near + n], line[at + near : at + near + n]
        for x in range(n):
            out[x] += weight * (below[x] + above[x])
