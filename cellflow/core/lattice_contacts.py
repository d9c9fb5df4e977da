"""Which supervoxels of a lattice touch, on how many pairs of voxels, and how large each is.

A point touches its face neighbours and a hashed share of its 20 diagonal ones, the more the larger both
are. Shares and sizes are near those of real graphs: watershed supervoxels away from the border of a volume
have 13 to 14 neighbours, give or take 3 to 5, and contacts of 120 to 180 pairs in the median, of 1 in the
least and of 1000 to 1300 in the largest hundredth.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.grid import Triple
from cellflow.core.lattice import CUBE, SIDE, Lattice, cell_of
from cellflow.core.morton import place, point
from cellflow.core.noise import mix, stream_key

SUPERVOXELS, CONTACTS = 11, 12
"""Streams of random numbers, beside those of `core.lattice`."""
MOST = 26
"""Neighbours of a point, at most."""
SHARES = (0.0, 1.0, 0.52, 0.27)
"""Of the neighbours one, two and three steps away, how many are touched by a supervoxel of medium size."""
REACH = 0.25
"""What is added to a share, once for either supervoxel, if it is the largest; taken off if the smallest."""
AREAS = (0.0, 1280.0, 520.0, 520.0)
"""Pairs of voxels in the largest contacts, by steps; the mean is a fourth."""
VOXELS = 16
"""Side of the box of a supervoxel."""

I64 = NDArray[np.int64]
Contacts = tuple[NDArray[np.uint64], I64, NDArray[np.bool_], I64]


@njit(cache=True, nogil=True)
def contacts(world: Lattice, start: int, stop: int) -> Contacts:
    """The contacts whose lower point is in `start` to `stop` (exclusive), and the cells of these points.

    In columns: (m, 2) ids, which are numbers + 1, sorted; pairs of voxels; whether it lies between two
    cells; and for each point the number of its cell's centre. Cubes of the curve are done one after the
    other, so that cells are found once for all contacts of a cube: 0.2 us a contact, 30 B each.
    """
    room, m = 8 * (stop - start) + MOST, 0
    edges, size, between = np.empty((room, 2), np.uint64), np.empty(room, np.int64), np.empty(room, np.bool_)
    cell, near = np.empty(stop - start, np.int64), np.empty((MOST, 2), np.int64)
    known = np.empty((SIDE + 2) ** 3, np.int64)
    for first in range(start - start % CUBE, stop, CUBE):
        known[:] = -1
        for number in range(max(first, start), min(first + CUBE, stop)):
            if m + MOST > size.size:
                edges, size = np.concatenate((edges, edges)), np.concatenate((size, size))
                between = np.concatenate((between, between))
            here = _cell(world, known, number, _slot(point(number), point(first)))
            cell[number - start] = here
            for k in range(_neighbours(world, number, point(first), near)):
                other = near[k, 0]
                edges[m, 0], edges[m, 1] = number + 1, other + 1
                size[m] = _area(world, number, other)
                between[m] = _cell(world, known, other, near[k, 1]) != here
                m += 1
    return edges[:m].copy(), size[:m].copy(), between[:m].copy(), cell


@njit(cache=True, nogil=True)
def supervoxels(world: Lattice, start: int, stop: int) -> tuple[I64, I64]:
    """Voxels (k) and first voxel of the bounding box (k, 3) of the points `start` to `stop` (exclusive).

    Boxes are cubes of VOXELS a side, moved by up to half of it; they overlap, as those of real ones do.
    """
    size, lower = np.empty(stop - start, np.int64), np.empty((stop - start, 3), np.int64)
    for number in range(start, stop):
        h = _hash(world, number)
        t = 0.5 + 0.5 * _largeness(h)
        size[number - start] = 64 + np.int64((VOXELS**3 - 64) * t * (0.5 + 0.5 * t))
        at = point(number)
        for axis in range(3):
            moved = np.int64((h >> np.uint64(4 * axis)) & np.uint64(VOXELS // 2 - 1))
            lower[number - start, axis] = VOXELS * at[axis] + moved
    return size, lower


@njit(cache=True, nogil=True)
def _slot(at: Triple, corner: Triple) -> int:
    """Where the cell of a point is kept: in a cube with a rim of one point."""
    z, y, x = at[0] - corner[0] + 1, at[1] - corner[1] + 1, at[2] - corner[2] + 1
    return (z * (SIDE + 2) + y) * (SIDE + 2) + x


@njit(cache=True, nogil=True)
def _cell(world: Lattice, known: I64, number: int, slot: int) -> int:
    """The cell of a point, looked up or found and kept."""
    if known[slot] < 0:
        z, y, x = point(number)
        known[slot] = cell_of(world, z, y, x)
    return int(known[slot])


@njit(cache=True, nogil=True)
def _neighbours(world: Lattice, number: int, corner: Triple, near: I64) -> int:
    """How many points of a larger number a point touches; they are written to `near`, sorted, with slots."""
    z, y, x = point(number)
    count, own = 0, _largeness(_hash(world, number))
    for k in range(max(z - 1, 0), z + 2):
        for j in range(max(y - 1, 0), y + 2):
            for i in range(max(x - 1, 0), x + 2):
                other, steps = place(k, j, i), abs(k - z) + abs(j - y) + abs(i - x)
                if not number < other < world.n or not _touch(world, number, other, steps, own):
                    continue
                row = count
                while row > 0 and near[row - 1, 0] > other:
                    near[row] = near[row - 1]
                    row -= 1
                near[row, 0], near[row, 1] = other, _slot((k, j, i), corner)
                count += 1
    return count


@njit(cache=True, nogil=True)
def _touch(world: Lattice, number: int, other: int, steps: int, own: float) -> bool:
    if steps == 1:
        return True
    share = SHARES[steps] + REACH * (own + _largeness(_hash(world, other)))
    return bool(np.float64(_pair(world, number, other) >> np.uint64(40)) < share * 16777216.0)


@njit(cache=True, nogil=True)
def _area(world: Lattice, number: int, other: int) -> int:
    """Pairs of voxels: skewed, as a product of two numbers is, and larger between large supervoxels."""
    a, b = point(number), point(other)
    steps = abs(a[0] - b[0]) + abs(a[1] - b[1]) + abs(a[2] - b[2])
    both = _largeness(_hash(world, number)) + _largeness(_hash(world, other))
    h = mix(_pair(world, number, other), 1)
    t = np.float64(h & np.uint64(0xFFFF)) * np.float64((h >> np.uint64(16)) & np.uint64(0xFFFF)) / 2.0**32
    return int(1 + AREAS[steps] * t * (1 + 0.25 * both))


@njit(cache=True, nogil=True)
def _hash(world: Lattice, number: int) -> np.uint64:
    h: np.uint64 = mix(stream_key(world.seed, SUPERVOXELS), number)
    return h


@njit(cache=True, nogil=True)
def _largeness(h: np.uint64) -> float:
    """From -1, the smallest supervoxels, to 1; evenly spread."""
    return np.float64(h >> np.uint64(40)) / 8388608.0 - 1.0


@njit(cache=True, nogil=True)
def _pair(world: Lattice, number: int, other: int) -> np.uint64:
    h: np.uint64 = mix(mix(stream_key(world.seed, CONTACTS), number), other)
    return h
