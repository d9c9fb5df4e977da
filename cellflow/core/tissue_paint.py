"""Lay labels, membranes and light of a phantom onto voxels."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.grid import Triple
from cellflow.core.tissue import PARTS, World
from cellflow.core.tissue_cells import FLATTENING, WEIGHT, Nearby, distance_slope, distance_square, reach_of


@njit(cache=True, nogil=True)
def paint(
    world: World,
    fields: NDArray[np.float32],
    near: Nearby,
    start: Triple,
    reach: Triple,
    shape: Triple,
) -> tuple[NDArray[np.float32], NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint64]]:
    """Light of a box and its margin of `reach` voxels; labels, boundaries and nuclei of the box alone."""
    nz, ny, nx = shape[0] + 2 * reach[0], shape[1] + 2 * reach[1], shape[2] + 2 * reach[2]
    light = np.empty((nz, ny, nx), np.float32)
    labels, nuclei = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
    boundaries = np.zeros(shape, np.uint8)
    voxel, step, cells, ids = world.voxel, world.step, near.cells, near.ids
    line, rise = np.empty((6, fields.shape[3])), np.empty((3, 2, fields.shape[3]))
    dz, dy, dx = step[0] * voxel[0], step[1] * voxel[1], step[2] * voxel[2]
    limit = reach_of(world)
    heavy = WEIGHT * world.irregularity
    band = 2 * limit * np.sqrt((1 + heavy) / (1 - heavy) * (1 + 2 * FLATTENING * world.irregularity))
    squares = np.empty(near.listed.max())
    part = world.pitch / PARTS
    for k in range(nz):
        z = start[0] + k
        kn, tz = z // step[0] - start[0] // step[0], (z % step[0]) / step[0]
        for j in range(ny):
            y = start[1] + j
            jn, ty = y // step[1] - start[1] // step[1], (y % step[1]) / step[1]
            for c in range(6):
                for i in range(line.shape[1]):
                    upper = fields[c, kn, jn, i] * (1 - ty) + fields[c, kn, jn + 1, i] * ty
                    lower = fields[c, kn + 1, jn, i] * (1 - ty) + fields[c, kn + 1, jn + 1, i] * ty
                    line[c, i] = upper * (1 - tz) + lower * tz
                    if c < 3:
                        left = fields[c, kn, jn, i] * (1 - tz) + fields[c, kn + 1, jn, i] * tz
                        right = fields[c, kn, jn + 1, i] * (1 - tz) + fields[c, kn + 1, jn + 1, i] * tz
                        rise[c, 0, i], rise[c, 1, i] = (lower - upper) / dz, (right - left) / dy
            for i in range(nx):
                x = start[2] + i
                n, tx = x // step[2] - start[2] // step[2], (x % step[2]) / step[2]
                qz = (z + 0.5) * voxel[0] + line[0, n] * (1 - tx) + line[0, n + 1] * tx
                qy = (y + 0.5) * voxel[1] + line[1, n] * (1 - tx) + line[1, n + 1] * tx
                qx = (x + 0.5) * voxel[2] + line[2, n] * (1 - tx) + line[2, n + 1] * tx
                sub = (
                    np.int64(np.floor(qz / part)) - near.origin[0],
                    np.int64(np.floor(qy / part)) - near.origin[1],
                    np.int64(np.floor(qx / part)) - near.origin[2],
                )
                first, count = near.first[sub], near.listed[sub]
                best, nearest, seen = -1, np.inf, 0
                while seen < count and near.lower[first + seen] ** 2 <= nearest:
                    r = near.rows[first + seen]
                    squares[seen] = distance_square(cells, r, qz, qy, qx)
                    if squares[seen] < nearest:
                        best, nearest = r, squares[seen]
                    seen += 1
                label, edge, thin = ids[best], 1.0, 1.0
                slowest, distance = cells[best, 8], np.sqrt(nearest)
                az, ay, ax = distance_slope(cells, best, qz, qy, qx)
                for s in range(count):
                    r = near.rows[first + s]
                    if near.lower[first + s] > distance + band:
                        break
                    if ids[r] != label:
                        square = squares[s] if s < seen else distance_square(cells, r, qz, qy, qx)
                        gap = square - nearest
                        if gap >= 2 * edge * limit * (slowest * distance + cells[r, 8] * np.sqrt(square)):
                            continue
                        bz, by, bx = distance_slope(cells, r, qz, qy, qx)
                        bz, by, bx = bz - az, by - ay, bx - ax
                        most = limit * np.sqrt(bz * bz + by * by + bx * bx)
                        if gap >= edge * most:
                            continue
                        # the gradient in the volume: that in warped space times the Jacobian of the warp
                        gz, gy, gx = bz, by, bx
                        for c in range(3):
                            b = bz if c == 0 else (by if c == 1 else bx)
                            gz += b * (rise[c, 0, n] * (1 - tx) + rise[c, 0, n + 1] * tx)
                            gy += b * (rise[c, 1, n] * (1 - tx) + rise[c, 1, n + 1] * tx)
                            gx += b * (line[c, n + 1] - line[c, n]) / dx
                        steep = world.membrane * np.sqrt(gz * gz + gy * gy + gx * gx)
                        blunt = 0.5 * (abs(gz) * voxel[0] + abs(gy) * voxel[1] + abs(gx) * voxel[2])
                        wide = min(steep + blunt, most)
                        if gap < edge * wide:
                            edge, thin = gap / wide, steep / (steep + blunt)
                hole = line[4, n] * (1 - tx) + line[4, n + 1] * tx < world.hole_level
                profile = 0.0 if hole else (1 - edge * edge) ** 2
                stain = line[3, n] * (1 - tx) + line[3, n + 1] * tx
                shine = world.background * (2.0 if label else 1.0) + profile * thin * stain
                level = nearest / cells[best, 9]
                if label and level < 1:
                    shine += world.nuclei * (1 - 0.4 * level)
                light[k, j, i] = shine * (line[5, n] * (1 - tx) + line[5, n + 1] * tx)
                own = (k - reach[0], j - reach[1], i - reach[2])
                if 0 <= own[0] < shape[0] and 0 <= own[1] < shape[1] and 0 <= own[2] < shape[2]:
                    labels[own] = label
                    boundaries[own] = np.uint8(255 * profile + 0.5)
                    if level < 1:
                        nuclei[own] = label
    return light, labels, boundaries, nuclei
