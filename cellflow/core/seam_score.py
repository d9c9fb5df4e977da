"""Do segments end at the faces of blocks more often than elsewhere? They should not: blocks are invisible.

The share of voxel pairs that lie in two segments is counted on the faces between blocks, and on the planes
half a block away, where nothing special happens. Both shares are the same up to chance if the segmentation
does not depend on the blocks; every segment cut by a face adds to the first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Block, Triple


@dataclass(frozen=True)
class SeamScore:
    """How much more often segments end at the faces of blocks than half a block away."""

    excess: float
    """Share of pairs in two segments on faces, minus that on shifted planes: 0 is right, 1 the worst."""
    noise: float
    """Standard error of the excess, from the spread among faces; within two of it from 0, nothing is seen."""


def seam_block(labels: NDArray[np.uint64], block: Block, shape: Triple) -> list[list[int]]:
    """Rows of (pairs on a face, of them cut, pairs half a block away, of them cut), one for each upper face.

    `labels` are the block's core and one voxel beyond its upper faces, where the volume goes on. Pairs with
    label 0 do not count. A block is responsible for its upper faces, so that each face counts once.
    """
    rows = []
    for axis, s in enumerate(block.core):
        n = s.stop - s.start
        if s.stop < shape[axis] and n > 1:
            core = tuple(slice(0, c.stop - c.start) for a, c in enumerate(block.core) if a != axis)
            at_face = _counts(labels, axis, n, core)
            between = _counts(labels, axis, n // 2, core)
            rows.append([*at_face, *between])
    return rows


def seam_score(rows: Iterable[list[int]]) -> SeamScore | None:
    """The score of a volume from the rows of all its blocks; None if it has a single block or no segment."""
    table = np.array([row for row in rows if row[0] and row[2]], np.float64)
    if not len(table):
        return None
    face, between = table[:, 1].sum() / table[:, 0].sum(), table[:, 3].sum() / table[:, 2].sum()
    differences = table[:, 1] / table[:, 0] - table[:, 3] / table[:, 2]
    mean = fsum(differences) / len(differences)
    spread = fsum(np.square(differences - mean)) / max(len(differences) - 1, 1)
    return SeamScore(round(float(face - between), 6), round(sqrt(spread / len(differences)), 6))


def _counts(labels: NDArray[np.uint64], axis: int, at: int, core: tuple[Any, ...]) -> tuple[int, int]:
    """Pairs of voxels across the plane before index `at`, and how many lie in two segments."""
    planes = np.moveaxis(labels, axis, 0)
    below, above = planes[(at - 1, *core)], planes[(at, *core)]
    both = (below > 0) & (above > 0)
    return int(both.sum()), int((both & (below != above)).sum())
