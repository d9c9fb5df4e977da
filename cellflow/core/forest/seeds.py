"""Seeds of a forest inside one block: plateaus of local maxima, and those that a face leaves undecided.

A plateau (connected voxels of one value, 26 neighbours) is a seed if none of its neighbours is higher. A
block sees the piece that lies in its core and one voxel beyond. If that voxel has the same value, the
plateau goes on in another block, which may know a higher neighbour: the piece is *undecided*. ::

    |. . 7 7|7 9     the left block cannot see the 9: its piece is undecided
    |. . 7 7|7 7|3   here all pieces are peaks: together they are one seed
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.seeds import mark_peaks

I32 = NDArray[np.int32]
F32 = NDArray[np.float32]
PEAK = -1


class Pieces(NamedTuple):
    """Plateaus of peaks in a framed core."""

    voxels: I32
    """Framed (z, y, x): i for the voxels of the decided seed i, -1 - i for the undecided piece i, else 0."""
    undecided: NDArray[np.bool_]
    """Row i is piece i; row 0 is none."""
    face: NDArray[np.int64]
    """Voxels of undecided pieces with an equal neighbour beyond the core: C-order index in the frame."""
    links: NDArray[np.uint32]
    """For each of `face` a bit for each such neighbour: `9 * (dz + 1) + 3 * (dy + 1) + dx + 1`."""


def pieces(smoothed: F32, *, planar: bool) -> Pieces:
    """Seeds and undecided pieces of the core inside `smoothed`, framed, -inf where there is no voxel.

    Numbered in C order of their first voxel. Memory beyond the result: 4 B a voxel of the largest plateau.
    """
    voxels = np.zeros(smoothed.shape, np.int32)
    mark_peaks(smoothed, 0 if planar else 1, voxels)
    for axis in range(3):
        edge = np.moveaxis(voxels, axis, 0)
        edge[0] = edge[-1] = 0
    found = _walk(smoothed, 0 if planar else 1, voxels, np.empty(smoothed.size, np.int32))
    return Pieces(voxels, *found)


@numba.njit(cache=True, nogil=True)
def _walk(
    smoothed: F32, reach: int, voxels: I32, members: I32
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.uint32]]:
    nz, ny, nx = smoothed.shape
    flat = voxels.ravel()
    undecided = np.zeros(64, np.bool_)
    face, links = np.empty(64, np.int64), np.empty(64, np.uint32)
    count, linked = 0, 0
    for start in range(flat.size):
        if flat[start] != PEAK:
            continue
        count += 1
        if count == undecided.size:
            undecided = np.concatenate((undecided, np.zeros_like(undecided)))
        flat[start] = count
        members[0], done, found, is_maximum, kept = start, 0, 1, True, linked
        while done < found:
            voxel = members[done]
            z, rest = divmod(voxel, ny * nx)
            y, x = divmod(rest, nx)
            done += 1
            bits = np.uint32(0)
            for zz in range(z - reach, z + reach + 1):
                for yy in range(y - 1, y + 2):
                    for xx in range(x - 1, x + 2):
                        if voxels[zz, yy, xx] == PEAK:  # two neighbouring peaks have the same value
                            voxels[zz, yy, xx] = count
                            members[found] = (zz * ny + yy) * nx + xx
                            found += 1
                        elif voxels[zz, yy, xx] != count and smoothed[zz, yy, xx] == smoothed[z, y, x]:
                            if 0 < zz < nz - 1 and 0 < yy < ny - 1 and 0 < xx < nx - 1:
                                is_maximum = False
                            else:
                                direction = 9 * (zz - z + 1) + 3 * (yy - y + 1) + xx - x + 1
                                bits |= np.uint32(1) << np.uint32(direction)
            if bits:
                if linked == face.size:
                    face, links = np.concatenate((face, face)), np.concatenate((links, links))
                face[linked], links[linked] = voxel, bits
                linked += 1
        undecided[count] = linked > kept
        if not is_maximum or linked > kept:
            value = -1 - count if is_maximum else 0
            for i in range(found):
                flat[members[i]] = value
        if not is_maximum:
            undecided[count] = False
            count, linked = count - 1, kept
    return undecided[: count + 1], face[:linked], links[:linked]
