"""Euclidean distance to the nearest boundary, saturated at a cap so that a finite halo makes it exact.

Squared distance is separable: along y steps are counted, then every line along x and z takes the smallest of
`f[j] + (pitch * (i - j))**2` (Saito and Toriwaki 1994). The minimum is taken over all offsets below the
cap, nearest first, and ends as soon as no voxel of the line can improve. A minimum does not depend on
the order of its candidates, so a voxel has the same bits in every box that holds its neighbourhood; the
lower-envelope method computes where parabolas meet and has no such guarantee on anisotropic voxels.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Box, whole
from cellflow.core.schema import Voxel3

STRIP = 256
"""Lines side by side: what a voxel is compared with along z, 31 rows at a cap of 16, fits the first cache."""

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


def boundary_distance(
    inside: NDArray[np.bool_], pitch: Voxel3, cap: float, *, planar: bool = False, box: Box | None = None
) -> F32:
    """Distance of each voxel to the nearest voxel that is not `inside`, at most `cap`: float32 (z, y, x).

    `pitch` is the voxel size along z, y, x in the unit of `cap`; with `planar` each z slice stands alone.
    With `box` the distances of the voxels in there alone, to boundaries anywhere: the same bits.
    What lies beyond the array is unknown, not boundary: without any boundary every voxel has `cap`.
    A voxel further than `cap` from the array's border has the same bits in every larger array. Equals the
    exact transform to float32 rounding. Memory: the result, and on all sides of it `cap` along z; time grows
    with the distances, at worst with `cap`.
    """
    along = [_squares(step, cap, n) for step, n in zip(pitch, inside.shape, strict=True)]
    z, y, x = box or whole(inside.shape)
    reach = 0 if planar else len(along[0]) - 1
    first = max(z.start - reach, 0)
    near = np.ascontiguousarray(inside[first : z.stop + reach]).view(np.uint8)
    out = np.empty((len(near), y.stop - y.start, x.stop - x.start), np.float32)
    _in_slices(near, along[1], along[2], (y.start, x.start), out)
    if planar:
        return np.sqrt(out, out=out)
    kept = slice(z.start - first, z.stop - first)
    _along_z(out.reshape(len(out), -1), along[0], kept.start, kept.stop)
    return out[kept]


def _squares(step: float, cap: float, n: int) -> F32:
    """Squared distances of 0, 1, 2 … of `n` voxels as long as they are below the cap, and the squared cap."""
    below = np.square(np.arange(min(int(cap / step) + 2, n)) * step)
    return np.append(below[below < cap**2], cap**2).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _in_slices(inside: U8, along_y: F32, along_x: F32, corner: tuple[int, int], out: F32) -> None:
    """Squared distance within each slice of the voxels of `out`, whose first one is at `corner`."""
    ny, nx = inside.shape[1:]
    far, left = len(along_x) - 1, len(along_x) - 1 + corner[1]
    steps = np.empty((ny, nx), np.uint16)
    # What is beyond the ends is as far as the cap, so it never wins.
    line = np.full(nx + 2 * far, along_x[far], np.float32)
    for z in range(len(inside)):
        _count_steps(inside[z], len(along_y) - 1, steps)
        for y in range(out.shape[1]):
            row, best = steps[corner[0] + y], out[z, y]
            for x in range(nx):
                line[far + x] = along_y[row[x]]
            best[:] = line[left : left + len(best)]
            _nearest(line, left, 1, along_x, best)


@numba.njit(cache=True, nogil=True)
def _count_steps(inside: U8, most: int, steps: NDArray[np.uint16]) -> None:
    """How many steps along the first axis lead to the nearest voxel that is not inside."""
    one, far = np.uint16(1), np.uint16(most)
    since = np.full(steps.shape[1], far, np.uint16)
    for y in range(len(inside)):
        row, out = inside[y], steps[y]
        for x in range(len(since)):
            # A mask of bits in place of a branch, and no wider number: else nothing is done side by side.
            since[x] = min(np.uint16(since[x] + one), far) & np.uint16(-row[x])
            out[x] = since[x]
    for y in range(len(inside) - 2, -1, -1):
        out, after = steps[y], steps[y + 1]
        for x in range(len(out)):
            out[x] = min(np.uint16(after[x] + one), out[x])


@numba.njit(cache=True, nogil=True)
def _along_z(volume: F32, squares: F32, start: int, stop: int) -> None:
    """From squared distances within slices (rows) to distances, in place, for rows `start` to `stop`."""
    n, inner = volume.shape
    far, width = len(squares) - 1, min(inner, STRIP)
    strip = np.full((n + 2 * far, width), squares[far], np.float32)
    line = strip.ravel()
    for left in range(0, inner, STRIP):
        right = min(left + STRIP, inner)
        for i in range(n):
            strip[far + i, : right - left] = volume[i, left:right]
        for i in range(start, stop):
            best = volume[i, left:right]
            _nearest(line, (far + i) * width, width, squares, best)
            for x in range(len(best)):
                best[x] = np.sqrt(best[x])


@numba.njit(cache=True, nogil=True)
def _nearest(line: F32, at: int, stride: int, squares: F32, best: F32) -> None:
    """Lower `best` to what is nearest over the voxels `stride` apart in `line`, in which it begins `at`.

    Two offsets at once, as memory is what it waits for. The last one may be the cap, which never wins.
    """
    n, far = len(best), len(squares) - 1
    for k in range(1, far, 2):
        near, next_ = k * stride, (k + 1) * stride
        step, next_step, limit = squares[k], squares[k + 1], squares[min(k + 2, far)]
        below, above = line[at - near : at - near + n], line[at + near : at + near + n]
        lower, upper = line[at - next_ : at - next_ + n], line[at + next_ : at + next_ + n]
        for x in range(n):
            nearest = min(best[x], min(below[x], above[x]) + step)
            best[x] = min(nearest, min(lower[x], upper[x]) + next_step)
        improvable = False
        for x in range(n):
            improvable |= best[x] > limit
        if not improvable:
            return
