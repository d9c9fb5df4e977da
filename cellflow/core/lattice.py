"""A lattice of supervoxels in an order that is compact in space, cut into cells; any part of it alone.

Points of the lattice are numbered along the Morton (Z order) curve from the origin: the number of a point
is the bits of its coordinates, interleaved. The first n points are the lattice, for any n. Where each
coordinate of one point is at most that of another, so is its number; hence

* the lattice is connected across faces: from every point one can walk down to the origin;
* cells are. Each belongs to a centre, itself a point, and a point to the centre of the least number of
  steps less the head start of that centre. One step nearer to its centre no other centre gains more than
  that step, so the point reached belongs to the same cell; and who walks down first and up afterwards
  never leaves the lattice.

Centres are hashed, one to each cube of a coarser lattice: no table of them is needed, and the cell of a
point is a function of the seed, of n and of the point.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from cellflow.core.grid import Triple
from cellflow.core.morton import place
from cellflow.core.noise import mix, stream_key

CENTRES = 10
"""Stream of random numbers, beside those of `core.tissue`."""
PARTS = 1 << 16
"""In a step: head starts are parts of one."""
SIDE = 16
"""Points along an axis of a cube of the curve, which is filled before the next one is entered."""
CUBE = SIDE**3


class Lattice(NamedTuple):
    """The numbers that the kernels use."""

    seed: int
    n: int
    """Points, numbered from 0; below 2**60."""
    pitch: int
    """Side of the cubes that have a centre each, in 1/1024 of a step; from 1024."""


def lattice(seed: int, n: int, points_per_cell: float) -> Lattice:
    """The first n points, in cells of so many points on average (from 1)."""
    return Lattice(seed, n, max(1024, round(1024 * points_per_cell ** (1 / 3))))


@njit(cache=True, nogil=True)
def cell_of(world: Lattice, z: int, y: int, x: int) -> int:
    """The number of the centre to which a point of the lattice belongs.

    Shells of cubes around the point are searched until no farther centre can be nearer: two as a rule,
    27 to 125 centres.
    """
    home = (z * 1024 // world.pitch, y * 1024 // world.pitch, x * 1024 // world.pitch)
    best, cell, shell = 1 << 62, -1, 0
    while _steps_to(world, (z, y, x), home, shell) * PARTS - PARTS < best:
        for k in range(home[0] - shell, home[0] + shell + 1):
            for j in range(home[1] - shell, home[1] + shell + 1):
                inside = abs(k - home[0]) < shell and abs(j - home[1]) < shell
                for i in range(home[2] - shell, home[2] + shell + 1, 2 * shell if inside else 1):
                    centre, at, start = _centre(world, k, j, i)
                    steps = abs(at[0] - z) + abs(at[1] - y) + abs(at[2] - x)
                    if centre < 0 or steps * PARTS - start > best:
                        continue
                    if steps * PARTS - start < best or centre < cell:
                        best, cell = steps * PARTS - start, centre
        shell += 1
    return cell


@njit(cache=True, nogil=True)
def _steps_to(world: Lattice, at: Triple, home: Triple, shell: int) -> int:
    """At least so many steps lie between a point and the cubes of a shell around its own."""
    least = 1 << 40
    for axis in range(3):
        below = at[axis] - (_first(world, home[axis] - shell + 1) - 1)
        above = _first(world, home[axis] + shell) - at[axis]
        least = min(least, below, above)
    return max(least, 0) if shell > 0 else 0


@njit(cache=True, nogil=True)
def _first(world: Lattice, k: int) -> int:
    """The first coordinate in cube k of an axis: cubes share no point and leave none out."""
    return -(-k * world.pitch // 1024)


@njit(cache=True, nogil=True)
def _centre(world: Lattice, k: int, j: int, i: int) -> tuple[int, Triple, int]:
    """Number, place and head start (0 to 1 step) of the centre of a cube; -1 if it is not on the lattice.

    That of the first cube is the origin, so that the smallest lattice has one. As no head start reaches a
    step, every centre belongs to itself.
    """
    if min(k, j, i) < 0:
        return -1, (0, 0, 0), 0
    h = mix(mix(mix(stream_key(world.seed, CENTRES), k), j), i)
    at = (_drawn(world, k, h), _drawn(world, j, h >> np.uint64(16)), _drawn(world, i, h >> np.uint64(32)))
    if max(k, j, i) == 0:
        at = (0, 0, 0)
    number = place(at[0], at[1], at[2])
    return (number if number < world.n else -1), at, int(np.int64(h >> np.uint64(48)))


@njit(cache=True, nogil=True)
def _drawn(world: Lattice, k: int, h: np.uint64) -> int:
    """A coordinate in cube k of an axis, from the lowest 16 bits of a hash."""
    first = _first(world, k)
    width = _first(world, k + 1) - first
    return int(first + (np.int64(h & np.uint64(0xFFFF)) * width >> 16))
