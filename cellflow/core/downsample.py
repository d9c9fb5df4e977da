"""Halve a volume along some axes: the mean of intensities, the commonest label of labels."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Triple


def mean(values: NDArray[Any], step: Triple) -> NDArray[Any]:
    """Means over cells of `step` voxels, rounded for integers; a cut cell counts the voxels it has."""
    total = values.astype(np.float64)
    count = np.ones((1, 1, 1))
    for axis, k in enumerate(step):
        if k == 1:
            continue
        at = np.arange(0, values.shape[axis], k)
        total = np.add.reduceat(total, at, axis=axis)
        sizes = np.diff([*at, values.shape[axis]])
        count = count * sizes.reshape([-1 if a == axis else 1 for a in range(3)])
    result = total / count
    return (np.rint(result) if values.dtype.kind in "iu" else result).astype(values.dtype)


def mode(labels: NDArray[Any], step: Triple) -> NDArray[Any]:
    """The commonest label of each cell of `step` voxels; of several the one that comes first in C order."""
    shape = tuple(-(-n // k) for n, k in zip(labels.shape, step, strict=True))
    out = np.zeros(shape, labels.dtype)
    _mode(np.ascontiguousarray(labels), out, step[0], step[1], step[2])
    return out


@numba.njit(cache=True, nogil=True)
def _mode(labels: NDArray[Any], out: NDArray[Any], kz: int, ky: int, kx: int) -> None:
    cell = np.empty(kz * ky * kx, labels.dtype)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                n = 0
                same = True
                for a in range(z * kz, min((z + 1) * kz, labels.shape[0])):
                    for b in range(y * ky, min((y + 1) * ky, labels.shape[1])):
                        for c in range(x * kx, min((x + 1) * kx, labels.shape[2])):
                            cell[n] = labels[a, b, c]
                            same = same and cell[n] == cell[0]
                            n += 1
                if same:
                    out[z, y, x] = cell[0]
                    continue
                best = 0
                for i in range(n):
                    votes = 0
                    for j in range(n):
                        votes += cell[i] == cell[j]
                    if votes > best:
                        best = votes
                        out[z, y, x] = cell[i]
