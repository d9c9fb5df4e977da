"""Halve a volume along some axes: the mean of intensities, the commonest label of labels."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Triple


def mean(values: NDArray[Any], step: Triple) -> NDArray[Any]:
    """Means over cells of `step` voxels, rounded for integers; a cut cell counts the voxels it has."""
    out = np.empty(_coarser(values.shape, step), values.dtype)
    _mean(np.ascontiguousarray(values), out, *step, values.dtype.kind in "iu")
    return out


def mode(labels: NDArray[Any], step: Triple) -> NDArray[Any]:
    """The commonest label of each cell of `step` voxels; of several the one that comes first in C order."""
    out = np.empty(_coarser(labels.shape, step), labels.dtype)
    _mode(np.ascontiguousarray(labels), out, *step)
    return out


def _coarser(shape: tuple[int, ...], step: Triple) -> tuple[int, ...]:
    return tuple(-(-n // k) for n, k in zip(shape, step, strict=True))


@numba.njit(cache=True, nogil=True)
def _mean(values: NDArray[Any], out: NDArray[Any], kz: int, ky: int, kx: int, rounded: int) -> None:
    nz, ny, nx = values.shape
    whole = nx // kx  # cells along x that are not cut
    total = np.empty(out.shape[2], np.float64)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            total[:] = 0
            planes, rows = min((z + 1) * kz, nz) - z * kz, min((y + 1) * ky, ny) - y * ky
            for a in range(z * kz, z * kz + planes):
                for b in range(y * ky, y * ky + rows):
                    row = values[a, b]
                    for c in range(kx):
                        for x in range(whole):
                            total[x] += row[x * kx + c]
                    for x in range(whole * kx, nx):
                        total[whole] += row[x]
            for x in range(len(total)):
                total[x] /= planes * rows * (kx if x < whole else nx - whole * kx)
            for x in range(len(total)):
                out[z, y, x] = np.rint(total[x]) if rounded else total[x]


@numba.njit(cache=True, nogil=True)
def _mode(labels: NDArray[Any], out: NDArray[Any], kz: int, ky: int, kx: int) -> None:
    nz, ny, nx = labels.shape
    cell = np.empty(kz * ky * kx, labels.dtype)
    same = np.empty(out.shape[2], np.bool_)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            above, behind = min((z + 1) * kz, nz), min((y + 1) * ky, ny)
            first = labels[z * kz, y * ky]
            same[:] = True
            for a in range(z * kz, above):
                for b in range(y * ky, behind):
                    row = labels[a, b]
                    for c in range(kx):
                        for x in range((nx - c + kx - 1) // kx):
                            same[x] &= row[x * kx + c] == first[x * kx]
            for x in range(len(same)):
                if same[x]:
                    out[z, y, x] = first[x * kx]
                    continue
                n = 0
                for a in range(z * kz, above):
                    for b in range(y * ky, behind):
                        for c in range(x * kx, min((x + 1) * kx, nx)):
                            cell[n] = labels[a, b, c]
                            n += 1
                out[z, y, x] = _commonest(cell, n)


@numba.njit(cache=True, nogil=True)
def _commonest(cell: NDArray[Any], n: int) -> Any:  # noqa: ANN401 - a label of any integer type
    best, votes = cell[0], 0
    for i in range(n):
        count = 0
        for j in range(n):
            count += cell[i] == cell[j]
        if count > votes:
            best, votes = cell[i], count
    return best
