"""Connected components of a mask that is seen block by block: the same whatever the blocks.

Two voxels are connected if they share a face. A block labels what it sees; pairs of voxels across its upper
faces say which components go on next door; then all are joined at once, numbered by their first voxels. ::

    |1 1 . 2|1 1 . .|      first.id of the block: 0, 2
    |1 . . .|. . 2 2|      joined: {0.2, 1.1}; result 1, 2, 3 in C order of first voxels
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.graphs import connected
from cellflow.core.grid import Triple

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]


@dataclass(frozen=True)
class Components:
    """What one block says of its components 1..k; row i is component i + 1."""

    size: I64
    """Voxels."""
    first: I64
    """C-order index in the volume of the first voxel."""


def components_block(
    mask: NDArray[np.bool_], corner: Triple, shape: Triple, min_size: int
) -> tuple[U32, Components]:
    """Labels 1..k of a block whose first voxel is `corner` of a volume of this `shape`, and what they are.

    Left out is what is smaller than `min_size` and ends inside the block: noise would make long tables.
    Memory: 8 B a voxel beyond the input.
    """
    labels = cc3d.connected_components(mask, connectivity=6, out_dtype=np.uint32)
    labels = np.ascontiguousarray(labels)
    size, first, whole = _describe(labels, int(labels.max(initial=0)), corner, shape)
    kept = (size >= min_size) | ~whole
    table = np.append(0, np.where(kept, np.cumsum(kept), 0)).astype(np.uint32)
    return table[labels], Components(size[kept], first[kept])


def touching(lower: U32, upper: U32) -> NDArray[np.int64]:
    """(k, 2): the components that meet across a face, from the planes on both sides; sorted, unique."""
    both = (lower > 0) & (upper > 0)
    pairs: I64 = np.unique(np.stack([lower[both], upper[both]], axis=1).astype(np.int64), axis=0)
    return pairs.reshape(-1, 2)


def numbered(parts: Sequence[Components], pairs: I64, min_size: int) -> U64:
    """The number of every component in the volume, block after block: 1..n by first voxel, 0 if too small.

    `pairs` (m, 2) are rows of all parts one after the other, those of the first block from 0. Exact, and
    independent of the blocks and of the order of the pairs. Memory: 60 B a component.
    """
    size = np.concatenate([part.size for part in parts])
    first = np.concatenate([part.first for part in parts])
    whole = connected(size.size, pairs, np.ones(len(pairs), np.bool_))
    count = int(whole.max(initial=-1)) + 1
    total, start = np.zeros(count, np.int64), np.full(count, np.iinfo(np.int64).max)
    np.add.at(total, whole, size)
    np.minimum.at(start, whole, first)
    kept = np.flatnonzero(total >= max(min_size, 1))
    number = np.zeros(count, np.uint64)
    number[kept[np.argsort(start[kept])]] = np.arange(1, kept.size + 1, dtype=np.uint64)
    found: U64 = number[whole]
    return found


@njit(cache=True, nogil=True)
def _describe(labels: U32, count: int, corner: Triple, shape: Triple) -> tuple[I64, I64, NDArray[np.bool_]]:
    """Size and first voxel of each component, and whether it touches no face of the block."""
    size, first, whole = np.zeros(count, np.int64), np.zeros(count, np.int64), np.ones(count, np.bool_)
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            row = ((corner[0] + z) * shape[1] + corner[1] + y) * shape[2] + corner[2]
            at_face = z == 0 or y == 0 or z == nz - 1 or y == ny - 1
            for x in range(nx):
                i = np.int64(labels[z, y, x]) - 1
                if i < 0:
                    continue
                if size[i] == 0:
                    first[i] = row + x
                size[i] += 1
                if at_face or x == 0 or x == nx - 1:
                    whole[i] = False
    return size, first, whole
