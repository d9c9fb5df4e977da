"""A convolution of maps that were brought to size, computed before they are.

Brought to size by the nearest voxel, each voxel stands for a few equal ones, and a kernel that reaches three
of these meets two different voxels: two weights are one. So each place in a voxel has a smaller kernel of its
own, and all are one convolution of the small maps::

    brought to size    a a b b c c       kernel 3, pool 2
    place 0            . [a|b b] .       of voxel b: weight 0 for a, weights 1 + 2 for b
    place 1            . . [b b|c]       of voxel b: weights 0 + 1 for b, weight 2 for c

In three dimensions these are 8 products in place of 27, and the larger maps need no memory. The sums are the
same but for rounding. Convolutions of subpixels (Shi et al. 2016, arXiv 1609.05158), for given weights.
"""

from collections.abc import Sequence
from itertools import chain, product
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Fold(NamedTuple):
    """How a kernel along an axis becomes one for each place in a voxel."""

    weights: Tensor
    """(place, voxel, kernel): 1 where a place finds this part of its kernel in this voxel."""
    ends: int
    """Voxels of zeros at both ends of the maps."""
    starts: tuple[int, ...]
    """For each place, where its maps begin in what is convolved."""


class Below(NamedTuple):
    """A convolution of maps at their own size."""

    weight: Tensor
    """It gives a group of maps for each place in a voxel, places in the order z, y, x."""
    pool: tuple[int, ...]
    """Places in a voxel along each axis."""
    ends: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    """Of the folds along each axis."""


def folded(kernel: int, pool: int) -> Fold:
    """A kernel along an axis over voxels of which each stands for `pool` equal ones.

    Place r of a voxel reaches the places r - kernel // 2 to r + kernel // 2, which lie in fewer voxels.
    """
    half, ends = kernel // 2, -(-(kernel // 2) // pool)
    reached = [[(r + t) // pool for t in range(-half, half + 1)] for r in range(pool)]
    wide = 1 + max(voxels[-1] - voxels[0] for voxels in reached)
    starts = tuple(min(voxels[0], ends + 1 - wide) for voxels in reached)  # none beyond the last zeros
    weights = torch.zeros(pool, wide, kernel, dtype=torch.float64)
    for r, voxels in enumerate(reached):
        for t, voxel in enumerate(voxels):
            weights[r, voxel - starts[r], t] = 1
    return Fold(weights, ends, tuple(start + ends for start in starts))


def at_their_size(weight: Tensor, pool: Sequence[int]) -> Below:
    """The convolution with this weight (out, in, z, y, x), or (out, in, y, x), of maps before they are `pool`
    times as large; it keeps their size.
    """  # fmt: skip
    folds = [folded(k, p) for k, p in zip(weight.shape[2:], pool, strict=True)]
    grouped = weight.double()
    for fold in folds:
        grouped = torch.tensordot(grouped, fold.weights, ([2], [2]))  # of the next axis: places and voxels
    dims = range(len(folds))
    grouped = grouped.permute(*(2 + 2 * i for i in dims), 0, 1, *(3 + 2 * i for i in dims))
    ends, starts = tuple(fold.ends for fold in folds), tuple(fold.starts for fold in folds)
    return Below(channels_last(grouped.flatten(0, len(folds)).float()), tuple(pool), ends, starts)


def interleave(groups: Tensor, target: Tensor, below: Below, size: Sequence[int]) -> None:
    """Write the maps of each place in a voxel, which lie side by side in `groups`, to that place.

    Maps (n, c, z, y, x) or (n, c, y, x), channels last in memory; `size` is that of the maps from below.
    """
    source = torch.unflatten(groups.movedim(1, -1), -1, (*below.pool, -1))
    place = target.movedim(1, -1)
    for axis in range(len(size), 0, -1):
        place = torch.unflatten(place, axis, (size[axis - 1], -1))
    every = slice(None)
    for places in product(*map(range, below.pool)):
        begin = (starts[r] for starts, r in zip(below.starts, places, strict=True))
        taken: Any = (every, *(slice(a, a + n) for a, n in zip(begin, size, strict=True)), *places)
        into: Any = (every, *chain.from_iterable((every, r) for r in places))
        place[into].copy_(source[taken])


def channels_last(weight: Tensor) -> Tensor:
    """The weight with its memory in the order that oneDNN reads maps in."""
    flat = weight.dim() == 4
    return weight.contiguous(memory_format=torch.channels_last if flat else torch.channels_last_3d)
