"""Do segments end at the faces of blocks more often than elsewhere? They should not: blocks are invisible.

The share of voxel pairs that lie in two segments is counted on every plane between two voxels. The score is
that share on the faces of blocks minus that on the planes half a block away. Tissue has layers, so the
same difference is taken for all other pairs of planes half a block apart: their spread is the noise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Triple

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class SeamScore:
    """How much more often segments end at the faces of blocks than half a block away."""

    excess: float
    """Share of pairs in two segments on faces, minus that on planes half a block away; mean of the axes."""
    noise: float
    """Root mean square of that difference for other planes: an excess below three times of it is none."""


def seam_block(labels: NDArray[np.uint64], core: Triple, block: Triple) -> I64:
    """Pairs of neighbouring voxels by (axis, distance of the lower one from the block's start, all or cut).

    `labels` are a block's core and one voxel beyond its upper faces, where the volume goes on; a block is
    responsible for the pairs whose lower voxel it owns. Pairs with label 0 do not count. Pairs across the
    upper face stand at the distance `block - 1`; in a core that is longer, with a remainder joined to it, no
    face lies there, and the plane is left out. Counts of all blocks add up.
    """
    counts = np.zeros((3, max(core), 2), np.int64)
    _count(np.ascontiguousarray(labels), core, counts)
    for axis in range(3):
        if core[axis] > block[axis]:
            counts[axis, block[axis] - 1] = 0
    return counts


def seam_score(counts: Iterable[I64], block: Triple) -> SeamScore | None:
    """The score of a volume from the counts of all its blocks; None without a face between two blocks.

    What a block has beyond the block shape (a remainder joined to it) is left out.
    """
    total = np.zeros((3, max(block), 2), np.int64)
    for part in counts:
        n = min(part.shape[1], total.shape[1])
        total[:, :n] += part[:, :n]
    found = [_of_axis(total[axis, : block[axis]]) for axis in range(3)]
    known = [pair for pair in found if pair is not None]
    if not known:
        return None
    excess = sum(pair[0] for pair in known) / len(known)
    noise = sqrt(sum(pair[1] ** 2 for pair in known)) / len(known)
    return SeamScore(round(excess, 6), round(noise, 6))


def _of_axis(counts: I64) -> tuple[float, float] | None:
    """Difference at the face, and root mean square of the others; None where a plane has no pairs."""
    n = len(counts)
    if n < 8 or not counts[:, 0].all():
        return None
    share = counts[:, 1] / counts[:, 0]
    differences = share - np.roll(share, n // 2)
    others = np.delete(differences, [n - 1, (n - 1 + n // 2) % n])
    return float(differences[-1]), float(np.sqrt(np.mean(others**2)))


@numba.njit(cache=True, nogil=True)
def _count(labels: NDArray[np.uint64], core: Triple, counts: I64) -> None:
    for z in range(core[0]):
        for y in range(core[1]):
            here = labels[z, y]
            pairs, cut = 0, 0
            if z + 1 < labels.shape[0]:
                pairs, cut = _rows(here, labels[z + 1, y], core[2])
                counts[0, z, 0] += pairs
                counts[0, z, 1] += cut
            if y + 1 < labels.shape[1]:
                pairs, cut = _rows(here, labels[z, y + 1], core[2])
                counts[1, y, 0] += pairs
                counts[1, y, 1] += cut
            for x in range(min(core[2], labels.shape[2] - 1)):
                both = here[x] > 0 and here[x + 1] > 0
                counts[2, x, 0] += both
                counts[2, x, 1] += both and here[x] != here[x + 1]


@numba.njit(cache=True, nogil=True)
def _rows(a: NDArray[np.uint64], b: NDArray[np.uint64], n: int) -> tuple[int, int]:
    pairs, cut = 0, 0
    for x in range(n):
        both = a[x] > 0 and b[x] > 0
        pairs += both
        cut += both and a[x] != b[x]
    return pairs, cut
