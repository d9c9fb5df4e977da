"""Which nucleus a supervoxel holds, from the voxels they share."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellflow.core.contingency import Contingency, merge, sizes_per_row

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class NucleusSizes:
    """Voxels of each nucleus in all supervoxels, sorted by id."""

    id: U64
    size: I64


@dataclass(frozen=True)
class Held:
    """The nucleus of each supervoxel of a range, row by row."""

    nucleus: U64
    """Its id, 0 for none."""
    overlap: I64
    """Voxels of it in the supervoxel."""
    contested: NDArray[np.bool_]
    """Another nucleus has as good a claim by size: no partition can part the two here."""


def nucleus_sizes(shared: Contingency) -> NucleusSizes:
    """The size of every nucleus of a table (supervoxel, nucleus): what lies in supervoxel 0 is masked."""
    seen = (shared.truth > 0) & (shared.segment > 0)
    found, row = np.unique(shared.segment[seen], return_inverse=True)
    size = np.zeros(found.size, np.int64)
    np.add.at(size, row, shared.count[seen])
    return NucleusSizes(found, size)


def merge_sizes(parts: Iterable[NucleusSizes]) -> NucleusSizes:
    """The sizes of all parts added up, one part after the other. Associative, commutative and exact."""
    total = merge(Contingency(part.id, np.zeros_like(part.id), part.size) for part in parts)
    return NucleusSizes(total.truth, total.count)


def between(shared: Contingency, start: int, stop: int) -> Contingency:
    """The rows of supervoxels `start` to `stop` (exclusive)."""
    a, b = np.searchsorted(shared.truth, np.array([start, stop], np.uint64))
    return Contingency(shared.truth[a:b], shared.segment[a:b], shared.count[a:b])


def held(shared: Contingency, start: int, stop: int, sizes: NucleusSizes, overlap: float) -> Held:
    """What supervoxels `start` to `stop` (exclusive) hold, from all their rows (supervoxel, nucleus).

    A nucleus has a claim on a supervoxel if they share at least `overlap` of the voxels of one of them:
    of the supervoxel, where it is the smaller one, of the nucleus, where that is. The largest overlap wins,
    then the smaller id. Counts are whole numbers of the whole volume: the blocks play no part.
    """
    supervoxel = sizes_per_row(shared.truth, shared.count)
    row = np.flatnonzero((shared.truth > 0) & (shared.segment > 0))
    nucleus = sizes.size[np.searchsorted(sizes.id, shared.segment[row])]
    smaller = np.minimum(supervoxel[row], nucleus)
    claims = row[shared.count[row] >= np.round(overlap * smaller, 6)]
    best = np.lexsort((shared.segment[claims], -shared.count[claims], shared.truth[claims]))
    claims = claims[best]
    at, first, many = np.unique(shared.truth[claims], return_index=True, return_counts=True)
    at -= np.uint64(start)
    n = stop - start
    found = Held(np.zeros(n, np.uint64), np.zeros(n, np.int64), np.zeros(n, np.bool_))
    found.nucleus[at] = shared.segment[claims[first]]
    found.overlap[at] = shared.count[claims[first]]
    found.contested[at] = many > 1
    return found
