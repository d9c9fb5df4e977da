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
    """A piece that is seen to be no maximum ends there: what is left of it will see its zeros.

    Indices are unsigned, which saves a test of their sign, and the count is of the voxels' own type.
    """
    flat, value = voxels.ravel(), smoothed.ravel()
    steps, directions = _neighbours(smoothed.shape, reach)
    one = np.uint64(1)
    undecided = np.zeros(64, np.bool_)
    face, links = np.empty(64, np.int64), np.empty(64, np.uint32)
    count, linked = np.int32(0), 0
    start = _next_peak(flat, 0)
    while start < flat.size:
        count += np.int32(1)
        if count == undecided.size:
            undecided = np.concatenate((undecided, np.zeros_like(undecided)))
        flat[start] = count
        members[0], is_maximum, level, kept = start, True, value[start], linked
        done, found = np.uint64(0), one
        while done < found and is_maximum:
            voxel = np.uint64(members[done])
            done += one
            bits = np.uint32(0)
            for i in range(steps.size):
                beside = voxel + steps[i]
                mark = flat[beside]
                if mark == count:
                    continue
                if mark == PEAK:  # two neighbouring peaks have the same value
                    flat[beside] = count
                    members[found] = beside
                    found += one
                elif value[beside] == level:
                    if _in_frame(np.int64(beside), smoothed.shape):
                        bits |= np.uint32(1) << np.uint32(directions[i])
                    else:
                        is_maximum = False
            if bits:
                if linked == face.size:
                    face, links = np.concatenate((face, face)), np.concatenate((links, links))
                face[linked], links[linked] = voxel, bits
                linked += 1
        undecided[count] = is_maximum and linked > kept
        if undecided[count] or not is_maximum:
            mark = -1 - count if is_maximum else 0
            for i in range(found):
                flat[members[i]] = mark
        if not is_maximum:
            count, linked = count - np.int32(1), kept
        start = _next_peak(flat, start + 1)
    return undecided[: count + 1], face[:linked], links[:linked]


@numba.njit(cache=True, nogil=True)
def _next_peak(voxels: I32, start: int) -> int:
    """A loop of its own: in that of `_walk` a voxel takes twenty times as long."""
    while start < voxels.size and voxels[start] != PEAK:
        start += 1
    return start


@numba.njit(cache=True, nogil=True)
def _neighbours(shape: tuple[int, int, int], reach: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Steps to the neighbours of a voxel in C order, and their directions, which are bits of `links`.

    Steps back are below zero: they wrap, and so does a sum with them.
    """
    steps, directions = np.empty(27, np.int64), np.empty(27, np.int64)
    count = 0
    for dz in range(-reach, reach + 1):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if dz != 0 or dy != 0 or dx != 0:
                    steps[count] = (dz * shape[1] + dy) * shape[2] + dx
                    directions[count] = 9 * (dz + 1) + 3 * (dy + 1) + dx + 1
                    count += 1
    return steps[:count].astype(np.uint64), directions[:count]


@numba.njit(cache=True, nogil=True)
def _in_frame(voxel: int, shape: tuple[int, int, int]) -> bool:
    z, rest = divmod(voxel, shape[1] * shape[2])
    y, x = divmod(rest, shape[2])
    return not (0 < z < shape[0] - 1 and 0 < y < shape[1] - 1 and 0 < x < shape[2] - 1)
