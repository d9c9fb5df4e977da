"""The cells of a phantom: centres on a jittered, staggered lattice, each with its own measure of distance.

For every sub-cell of the lattice the centres that may be nearest somewhere in it are listed beforehand.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.grid import Triple
from cellflow.core.noise import stream_key, three_uniforms
from cellflow.core.tissue import AXES, CENTRES, PARTS, WEIGHTS, World, depth_in_tissue

MARGIN = 6
"""Lattice cells around the volume whose centres may be warped into it."""
JITTER, WEIGHT, FLATTENING = 0.3, 0.25, 0.4
"""Of the centres, in lattice cells; of the measures of distance, at irregularity 1."""
WARP_WAVE, WARP_SIZE, RIPPLE_WAVE, RIPPLE_SIZE = 2.2, 0.35, 0.65, 0.22
"""Wavelength and largest displacement of the two octaves of the warp, in lattice cells."""
GAIN, OFFSET = 4.0, 100.0
"""Camera counts per photon, and in the dark."""
JITTER, WEIGHT, FLATTENING = 0.3, 0.25, 0.4
"""Of the centres, in lattice cells; of the measures of distance, at irregularity 1."""
WARP_WAVE, WARP_SIZE, RIPPLE_WAVE, RIPPLE_SIZE = 2.2, 0.35, 0.65, 0.22
"""Wavelength and largest displacement of the two octaves of the warp, in lattice cells."""
GAIN, OFFSET = 4.0, 100.0
"""Camera counts per photon, and in the dark."""


class Nearby(NamedTuple):
    """Centres around a box, and for each sub-cell of their lattice those that may matter in it."""

    cells: NDArray[np.float64]  # (n, 10): centre z y x, weight, flattening, its axis z y x, stretch, nucleus
    ids: NDArray[np.uint64]  # (n,)
    first: NDArray[np.int64]  # (sub-cells along z, y, x) into `rows`
    listed: NDArray[np.int64]  # how many
    rows: NDArray[np.int32]  # of `cells`, by rising `lower`
    lower: NDArray[np.float64]  # no point of the sub-cell is nearer to the centre
    origin: Triple  # the first sub-cell


@njit(cache=True, nogil=True)
def distance_square(cells: NDArray[np.float64], j: int, z: float, y: float, x: float) -> float:
    """Squared distance of a warped point to centre j, by the centre's own measure."""
    dz, dy, dx = z - cells[j, 0], y - cells[j, 1], x - cells[j, 2]
    along = dz * cells[j, 5] + dy * cells[j, 6] + dx * cells[j, 7]
    return float(cells[j, 3] * (dz * dz + dy * dy + dx * dx + cells[j, 4] * along * along))


@njit(cache=True, nogil=True)
def distance_slope(
    cells: NDArray[np.float64], j: int, z: float, y: float, x: float
) -> tuple[float, float, float]:
    """Gradient of `square`."""
    dz, dy, dx = z - cells[j, 0], y - cells[j, 1], x - cells[j, 2]
    along = cells[j, 4] * (dz * cells[j, 5] + dy * cells[j, 6] + dx * cells[j, 7])
    w = 2 * cells[j, 3]
    return w * (dz + along * cells[j, 5]), w * (dy + along * cells[j, 6]), w * (dx + along * cells[j, 7])


@njit(cache=True, nogil=True)
def _centres(world: World, low: Triple, many: Triple) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """Centres, measures and nuclei of a box of lattice cells, C order, and the ids of those in the tissue."""
    n = many[0] * many[1] * many[2]
    cells, ids = np.empty((n, 10)), np.zeros(n, np.uint64)
    place, weights = stream_key(world.seed, CENTRES), stream_key(world.seed, WEIGHTS)
    axes = stream_key(world.seed, AXES)
    a, lattice = world.pitch, world.lattice
    for r in range(n):
        k = low[0] + r // (many[1] * many[2])
        j, i = low[1] + r // many[2] % many[1], low[2] + r % many[2]
        jitter = three_uniforms(place, k, j, i)
        cells[r, 0] = (k + 0.5 + JITTER * jitter[0]) * a
        cells[r, 1] = (j + 0.25 + 0.5 * (k & 1) + JITTER * jitter[1]) * a
        cells[r, 2] = (i + 0.25 + 0.5 * (j & 1) + JITTER * jitter[2]) * a
        size, flat, _ = three_uniforms(weights, k, j, i)
        cells[r, 3] = (1 + WEIGHT * world.irregularity * size) / (1 - WEIGHT * world.irregularity * size)
        cells[r, 4] = FLATTENING * world.irregularity * (1 + flat)
        u = three_uniforms(axes, k, j, i)
        norm = np.sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]) + 1e-9
        cells[r, 5], cells[r, 6], cells[r, 7] = u[0] / norm, u[1] / norm, u[2] / norm
        cells[r, 8] = np.sqrt(cells[r, 3] * (1 + cells[r, 4]))
        if depth_in_tissue(world, cells[r, 0], cells[r, 1], cells[r, 2]) < world.tissue_level:
            index = ((k + MARGIN) * lattice[1] + j + MARGIN) * lattice[2] + i + MARGIN
            ids[r] = np.uint64(1 + index)
    for r in range(n):
        cells[r, 9] = _nucleus(cells, r, many, 0.36 * a)
    return cells, ids


@njit(cache=True, nogil=True)
def _nucleus(cells: NDArray[np.float64], r: int, many: Triple, radius: float) -> float:
    """Value of `square` at the surface of the nucleus: `radius`, less where a neighbour is near."""
    level = cells[r, 3] * radius * radius
    for dk in range(-1, 2):
        for dj in range(-1, 2):
            for di in range(-1, 2):
                k, j, i = r // (many[1] * many[2]) + dk, r // many[2] % many[1] + dj, r % many[2] + di
                inside = 0 <= k < many[0] and 0 <= j < many[1] and 0 <= i < many[2]
                other = (k * many[1] + j) * many[2] + i
                if inside and other != r:
                    there = np.sqrt(
                        distance_square(cells, r, cells[other, 0], cells[other, 1], cells[other, 2])
                    )
                    back = np.sqrt(distance_square(cells, other, cells[r, 0], cells[r, 1], cells[r, 2]))
                    border = 0.7 * there * back / (there + back)
                    level = min(level, border * border)
    return float(level)


@njit(cache=True, nogil=True)
def nearby(world: World, origin: Triple, parts: Triple) -> Nearby:
    """Centres around a box of sub-cells, and for each sub-cell those that label or border a point in it.

    In a ball around a sub-cell a distance changes by at most `stretch * radius`; a centre is listed if it
    may come within the membrane's reach of the nearest. First lattice cells are listed, then their parts.
    """
    low = (origin[0] // PARTS - 4, origin[1] // PARTS - 4, origin[2] // PARTS - 4)
    many = (
        (origin[0] + parts[0] - 1) // PARTS + 5 - low[0],
        (origin[1] + parts[1] - 1) // PARTS + 5 - low[1],
        (origin[2] + parts[2] - 1) // PARTS + 5 - low[2],
    )
    cells, ids = _centres(world, low, many)
    first, count = np.zeros(parts, np.int64), np.zeros(parts, np.int64)
    rows, lower = np.empty(1 << 16, np.int32), np.empty(1 << 16)
    coarse, fine, bound = np.empty(343, np.int32), np.empty(343, np.int32), np.empty(343)
    fill, part = 0, world.pitch / PARTS
    for k in range(4, many[0] - 4):
        for j in range(4, many[1] - 4):
            for i in range(4, many[2] - 4):
                m = 0
                for dk in range(-3, 4):
                    for dj in range(-3, 4):
                        for di in range(-3, 4):
                            coarse[m] = ((k + dk) * many[1] + j + dj) * many[2] + i + di
                            m += 1
                at = ((low[0] + k + 0.5), (low[1] + j + 0.5), (low[2] + i + 0.5))
                n = _keep(world, cells, coarse, m, at, world.pitch, coarse, bound)
                for s in range(PARTS**3):
                    z = (low[0] + k) * PARTS + s // PARTS**2
                    y, x = (low[1] + j) * PARTS + s // PARTS % PARTS, (low[2] + i) * PARTS + s % PARTS
                    sub = (z - origin[0], y - origin[1], x - origin[2])
                    if not (0 <= sub[0] < parts[0] and 0 <= sub[1] < parts[1] and 0 <= sub[2] < parts[2]):
                        continue
                    kept = _keep(world, cells, coarse, n, (z + 0.5, y + 0.5, x + 0.5), part, fine, bound)
                    if fill + kept > rows.size:
                        rows = np.concatenate((rows, np.empty_like(rows)))
                        lower = np.concatenate((lower, np.empty_like(lower)))
                    first[sub], count[sub] = fill, kept
                    rows[fill : fill + kept], lower[fill : fill + kept] = fine[:kept], bound[:kept]
                    fill += kept
    return Nearby(cells, ids, first, count, rows[:fill], lower[:fill], origin)


@njit(cache=True, nogil=True)
def reach_of(world: World) -> float:
    """Largest distance in warped space at which a membrane is seen: a voxel and the warp may widen it."""
    z, y, x = world.voxel
    return float((world.membrane + 0.5 * np.sqrt(z * z + y * y + x * x)) * (1 + 0.6 * world.irregularity))


@njit(cache=True, nogil=True)
def _keep(
    world: World,
    cells: NDArray[np.float64],
    listed: NDArray[np.int32],
    n: int,
    at: tuple[float, float, float],
    edge: float,
    kept: NDArray[np.int32],
    lower: NDArray[np.float64],
) -> int:
    """How many of `listed[:n]` matter in the cube of `edge` at `at` (in edges); they go into `kept`.

    Sorted by `lower`, the least distance a point of the cube may have to the centre.
    """
    z, y, x = at[0] * edge, at[1] * edge, at[2] * edge
    radius = 0.8661 * edge
    distance = np.empty(n)
    nearest, stretch = np.inf, 0.0
    for s in range(n):
        j = listed[s]
        distance[s] = np.sqrt(distance_square(cells, j, z, y, x))
        nearest = min(nearest, distance[s] + cells[j, 8] * radius)
        stretch = max(stretch, cells[j, 8])
    limit, m = nearest + 2 * reach_of(world) * stretch, 0
    for s in range(n):
        j = listed[s]
        least = max(distance[s] - cells[j, 8] * radius, 0.0)
        if least <= limit:
            t = m
            while t > 0 and lower[t - 1] > least:
                kept[t], lower[t] = kept[t - 1], lower[t - 1]
                t -= 1
            kept[t], lower[t] = j, least
            m += 1
    return m
