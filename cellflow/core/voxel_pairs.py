"""The pairs of voxels that affinities speak of, as signed evidence: what their mutex watershed works on.

A pair of direct neighbours attracts with its affinity, every other pair repels with one minus its affinity.
Of the repelling pairs a lattice is enough (`strides`): neighbouring pairs say nearly the same.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.affinities import checked, is_direct
from cellflow.core.grid import Block, Grid, Triple
from cellflow.core.interactions import Interactions, joined

I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Numbers(NamedTuple):
    """The number of every voxel: block after block, in C order inside each."""

    block: tuple[I64, I64, I64]
    """Along each axis the block that a voxel lies in."""
    local: tuple[I64, I64, I64]
    """And its place there."""
    length: tuple[I64, I64, I64]
    """Voxels of each block along each axis."""
    first: I64
    """(blocks along z, y, x): the number of the first voxel of each block."""


def numbers(grid: Grid) -> Numbers:
    """The numbers of the voxels of a volume. Memory: its axes and its blocks."""
    block, local, length = [], [], []
    for starts, n in zip(grid.starts, grid.shape, strict=True):
        at = np.arange(n)
        own = np.searchsorted(starts, at, "right") - 1
        block.append(own)
        local.append(at - np.array(starts)[own])
        length.append(np.diff([*starts, n]))
    z, y, x = length
    sizes = z[:, None, None] * y[:, None] * x
    first = (np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape)
    return Numbers((block[0], block[1], block[2]), (local[0], local[1], local[2]), (z, y, x), first)


def voxel_pairs(
    values: NDArray[np.uint8], offsets: tuple[Triple, ...], block: Block, grid: Grid, strides: Triple
) -> Interactions:
    """The pairs that begin at the voxels of a core, ranked by voxel and channel; nodes as `numbers` counts.

    `values` (c, z, y, x): the affinities of the core x 255. Pairs that leave the volume are none, and those
    of no weight are left out. Ranks and weights do not depend on the blocks. About 60 B a pair.
    """
    steps = checked(offsets)
    corner = np.array([s.start for s in block.core])
    edges, weight, rank, local = _pairs(
        values, steps, is_direct(offsets), np.array(strides), corner, np.array(grid.shape), numbers(grid)
    )
    ones = np.ones(len(weight), np.int64)
    return joined(edges, (weight, ones, rank, local, np.zeros(len(weight), np.bool_)), "abs_max")


@njit(cache=True, nogil=True)
def _number(known: Numbers, z: int, y: int, x: int) -> int:
    (bz, by, bx), (lz, ly, lx) = known.block, known.local
    i, j, k = bz[z], by[y], bx[x]
    return int(known.first[i, j, k] + (lz[z] * known.length[1][j] + ly[y]) * known.length[2][k] + lx[x])


@njit(cache=True, nogil=True)
def _pairs(
    values: NDArray[np.uint8],
    steps: I64,
    direct: Flags,
    strides: I64,
    corner: I64,
    shape: I64,
    known: Numbers,
) -> tuple[I64, I64, I64, Flags]:
    channels, nz, ny, nx = values.shape
    room = values.size
    edges, weight = np.empty((room, 2), np.int64), np.empty(room, np.int64)
    rank, local = np.empty(room, np.int64), np.empty(room, np.bool_)
    count = 0
    for k in range(channels):
        step = np.ones(3, np.int64) if direct[k] else strides
        for z in range(-corner[0] % step[0], nz, step[0]):
            for y in range(-corner[1] % step[1], ny, step[1]):
                gz, gy = z + corner[0], y + corner[1]
                tz, ty = gz + steps[k, 0], gy + steps[k, 1]
                if not (0 <= tz < shape[0] and 0 <= ty < shape[1]):
                    continue
                for x in range(-corner[2] % step[2], nx, step[2]):
                    signed = np.int64(values[k, z, y, x]) - (0 if direct[k] else 255)
                    gx = x + corner[2]
                    tx = gx + steps[k, 2]
                    if signed == 0 or not 0 <= tx < shape[2]:
                        continue
                    edges[count] = _number(known, gz, gy, gx), _number(known, tz, ty, tx)
                    weight[count], local[count] = signed, direct[k]
                    rank[count] = ((gz * shape[1] + gy) * shape[2] + gx) * channels + k
                    count += 1
    return edges[:count].copy(), weight[:count].copy(), rank[:count].copy(), local[:count].copy()
