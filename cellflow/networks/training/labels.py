"""Labels of a patch as training sees them: small numbers, one of which says that nothing is known."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORED = -1
"""No loss here: the user's ignore label, and what lies beyond a volume or was turned in from beyond it."""

OTHER = -2
"""Not the cell next to it, and no more is known: its border with that cell is a boundary, in it no loss."""

Labels = NDArray[np.int32]


def patch_labels(stored: NDArray[Any], ignore: int | None, other: int | None = None) -> Labels:
    """Labels 1..n in the order of the stored ones, 0 background, IGNORED where they are `ignore`, OTHER too.

    Stored labels may be any integers, also those beyond 2**53 that floats would join. If `ignore` is 0,
    there is no background. Negative labels other than `ignore` are background.
    """
    found, inverse = np.unique(stored, return_inverse=True)
    new = np.zeros(found.size, np.int32)
    cells = found > 0
    for value, meaning in ((other, OTHER), (ignore, IGNORED)):
        if value is not None:
            new[found == value] = meaning
            cells &= found != value
    new[cells] = np.arange(1, cells.sum() + 1)
    return new[inverse.reshape(stored.shape)]


def thick_boundary(labels: Labels) -> NDArray[np.bool_]:
    """Voxels with another label among their 18 neighbours (z, y, x; skimage's `thick`, connectivity 2).

    A pair with an ignored voxel says nothing. Background counts as a label, and so does OTHER.
    """
    found = np.zeros(labels.shape, bool)
    for step in HALF_OF_18:
        here, there = _pairs(step, labels.shape)
        differ = labels[here] != labels[there]
        differ &= (labels[here] != IGNORED) & (labels[there] != IGNORED)
        found[here] |= differ
        found[there] |= differ
    return found


def known_pairs(labels: Labels, step: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Voxels i of which both i and i + step lie inside and are not ignored, nor both OTHER."""
    known = np.zeros(labels.shape, bool)
    here, there = _pairs(step, labels.shape)
    known[here] = (labels[here] != IGNORED) & (labels[there] != IGNORED)
    known[here] &= np.maximum(labels[here], labels[there]) != OTHER
    return known


HALF_OF_18 = [
    (z, y, x)
    for z in (0, 1)
    for y in (-1, 0, 1)
    for x in (-1, 0, 1)
    if (z, y, x) > (0, 0, 0) and abs(z) + abs(y) + abs(x) <= 2
]
"""A step for each pair of the 18 neighbours that share a face or an edge."""


def _pairs(step: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    here = tuple(slice(max(0, -d), max(0, n - max(0, d))) for d, n in zip(step, shape, strict=True))
    there = tuple(slice(max(0, d), max(0, n - max(0, -d))) for d, n in zip(step, shape, strict=True))
    return here, there
