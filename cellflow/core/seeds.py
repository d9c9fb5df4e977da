"""Seeds of a watershed: the local maxima of a map, a plateau being one seed.

A voxel is a *peak* if none of its 26 neighbours is higher. A plateau (connected voxels of one value) is a
maximum exactly if all its voxels are peaks, so only plateaus that hold peaks are ever walked.
"""

import numba
import numpy as np
from numpy.typing import NDArray

PEAK = np.int32(-1)


def local_maxima(
    volume: NDArray[np.float32], mask: NDArray[np.bool_] | None = None, *, planar: bool = False
) -> tuple[NDArray[np.int32], int]:
    """Labels 1..n of the local maxima of `volume` (z, y, x), 0 elsewhere, and n.

    A connected plateau (26 neighbours; 8 within a z slice if `planar`) whose neighbours are all lower is
    one maximum; a constant map is one. Numbered in C order of their first voxel. Voxels outside `mask` do
    not exist: they are neither maxima nor higher neighbours. The map must be finite, below 2**31 voxels.
    Memory beyond the result: 4 B per voxel of the largest plateau.
    """
    if mask is not None:
        volume = np.where(mask, volume, np.float32(-np.inf))
    labels = np.zeros(volume.shape, np.int32)
    reach = 0 if planar else 1
    mark_peaks(volume, reach, labels)
    # Pages of this are touched, and so count, only as far as a plateau grows.
    count = _number_plateaus(volume, reach, labels, np.empty(volume.size, np.int32))
    return labels, count


@numba.njit(cache=True, nogil=True)
def mark_peaks(volume: NDArray[np.float32], reach: int, labels: NDArray[np.int32]) -> None:
    nz, ny, nx = volume.shape
    below, beside, above = np.empty((3, nx), np.float32)
    # A border of -inf left and right; rows beyond the border are the border row itself: it cannot win.
    highest = np.full(nx + 2, -np.inf, np.float32)
    for z in range(nz):
        for y in range(ny):
            _highest_of_three(volume[max(z - reach, 0)], y, below)
            _highest_of_three(volume[z], y, beside)
            _highest_of_three(volume[min(z + reach, nz - 1)], y, above)
            for x in range(nx):
                highest[x + 1] = max(below[x], beside[x], above[x])
            own, out = volume[z, y], labels[z, y]
            for x in range(nx):
                around = max(highest[x], highest[x + 1], highest[x + 2])
                out[x] = PEAK if (own[x] >= around) & (own[x] > -np.inf) else 0


@numba.njit(cache=True, nogil=True)
def _highest_of_three(plane: NDArray[np.float32], y: int, out: NDArray[np.float32]) -> None:
    """The highest along y around each voxel of row `y`; into a row of its own: in place costs four times."""
    before, row, after = plane[max(y - 1, 0)], plane[y], plane[min(y + 1, len(plane) - 1)]
    for x in range(len(out)):
        out[x] = max(before[x], row[x], after[x])


@numba.njit(cache=True, nogil=True)
def _number_plateaus(
    volume: NDArray[np.float32], reach: int, labels: NDArray[np.int32], members: NDArray[np.int32]
) -> int:
    """Turn the marks of peaks into labels, 0 for those on a plateau that is not a maximum."""
    nz, ny, nx = volume.shape
    flat = labels.ravel()
    count = 0
    for start in range(flat.size):
        if flat[start] != PEAK:
            continue
        count += 1
        flat[start] = count
        members[0], done, found, is_maximum = start, 0, 1, True
        while done < found:
            z, rest = divmod(members[done], ny * nx)
            y, x = divmod(rest, nx)
            done += 1
            for zz in range(max(z - reach, 0), min(z + reach + 1, nz)):
                for yy in range(max(y - 1, 0), min(y + 2, ny)):
                    for xx in range(max(x - 1, 0), min(x + 2, nx)):
                        if labels[zz, yy, xx] == PEAK:  # two neighbouring peaks have the same value
                            labels[zz, yy, xx] = count
                            members[found] = (zz * ny + yy) * nx + xx
                            found += 1
                        elif labels[zz, yy, xx] != count and volume[zz, yy, xx] == volume[z, y, x]:
                            is_maximum = False
        if not is_maximum:
            count -= 1
            for i in range(found):
                flat[members[i]] = 0
    return count
