"""Affinities: how sure we are that two voxels at a given offset lie in one object, channel by channel.

Channel k at voxel i stands for the pair (i, i + offset k); 255 means the same object (probability x 255)::

    offset (0, 0, -2):   |-p-i-|    the value at i speaks of p and i
    offset (0, 0, +2):   |-i-p-|

A step of one voxel along one axis leads to a direct neighbour; every other offset is long-range: its
voxels may lie in objects that never touch.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, Triple

Offsets = Sequence[Triple] | NDArray[np.integer[Any]]


def affinities(labels: NDArray[np.integer[Any]], offsets: Offsets) -> NDArray[np.uint8]:
    """The affinities (c, z, y, x) of labelled objects: 255 where a pair has one label, 0 elsewhere.

    Background (label 0) is no object: its pairs are 0, as are those that leave the array. A block that
    reads a halo of `reach(offsets)` and crops gets what the whole volume has. Raises BadInput if labels
    are not integers of three axes or the offsets no offsets. Cost: one byte per voxel and channel.
    """
    if labels.ndim != 3 or labels.dtype.kind not in "ui":
        raise BadInput(
            f"affinities: found labels {labels.dtype} {labels.shape}, expected integers along z, y, x;"
            " give a plane as one slice, labels[None]"
        )
    steps = checked(offsets)
    same = np.zeros((len(steps), *labels.shape), np.uint8)
    for channel, step in zip(same, steps, strict=True):
        here, there = _overlap(step, labels.shape)
        channel[here] = 255 * ((labels[here] == labels[there]) & (labels[here] != 0))
    return same


def boundary_map(channels: Iterable[NDArray[np.uint8]], offsets: Offsets, shape: Triple) -> NDArray[np.uint8]:
    """Boundary probability x 255 of every voxel: 255 - the smallest affinity of a pair that it is an end of.

    One channel (z, y, x) of this shape for each of the offsets, taken one at a time. Pairs that leave the
    array have no say; a voxel without any pair is 0. A block that reads a halo of `reach(offsets)` and
    crops gets what the whole volume has. Cost: one byte per voxel besides a channel.
    """
    smallest = np.full(shape, 255, np.uint8)
    for channel, step in zip(channels, checked(offsets), strict=True):
        here, there = _overlap(step, shape)
        for ends in (here, there):
            np.minimum(smallest[ends], channel[here], out=smallest[ends])
    return np.invert(smallest, out=smallest)


def silenced(
    values: NDArray[np.uint8], offsets: Offsets, inside: NDArray[np.bool_], crop: Box
) -> NDArray[np.uint8]:
    """The affinities (c, z, y, x) of a core, changed in place: pairs with an end outside say nothing.

    `inside` covers the core, which is its `crop`, and a halo of `reach(offsets)` that may be cut at the end
    of the volume. Nothing is said by 0 of direct neighbours, which do not attract, and by 255 of others,
    which do not repel.
    """
    shape = inside.shape
    for channel, step, direct in zip(values, checked(offsets), is_direct(offsets), strict=True):
        both = np.zeros(shape, np.bool_)
        here, there = _overlap(step, shape)
        both[here] = inside[here] & inside[there]
        channel[~both[crop]] = 0 if direct else 255
    return values


def reach(offsets: Offsets) -> Triple:
    """How far the offsets lead from a voxel along z, y, x: the halo that a block needs."""
    z, y, x = np.abs(checked(offsets)).max(axis=0).tolist()
    return z, y, x


def is_direct(offsets: Offsets) -> NDArray[np.bool_]:
    """Which offsets lead to a direct neighbour: one voxel, along one axis."""
    return np.asarray(np.abs(checked(offsets)).sum(axis=1) == 1)


def require_direct(offsets: Offsets, shape: Triple, where: str) -> None:
    """Raises BadInput if an axis of more than one voxel has no pairs of direct neighbours."""
    along = np.abs(checked(offsets)[is_direct(offsets)]).sum(axis=0)
    for axis, length, pairs in zip("zyx", shape, along, strict=True):
        if length > 1 and not pairs:
            step = [-int(axis == a) for a in "zyx"]
            raise BadInput(
                f"{where}: found no direct neighbour along {axis} among the offsets, expected one for each "
                f"axis of more than one voxel; add {step} and its channel"
            )


def checked(offsets: Offsets) -> NDArray[np.int64]:
    """The offsets as (c, 3). Raises BadInput if they are not whole numbers z, y, x, or one is 0, 0, 0."""
    found = np.asarray(offsets)
    if found.ndim != 2 or found.shape[1] != 3 or found.dtype.kind not in "ui" or not found.any(axis=1).all():
        raise BadInput(
            f"offsets of affinities: found {found.tolist()}, expected whole numbers z, y, x a channel,"
            " none of them 0, 0, 0; write (0, 0, -1) for the pairs along x"
        )
    return found.astype(np.int64)


def _overlap(step: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels i of an array whose pairs stay inside, and the voxels i + step."""
    here = tuple(slice(max(0, -d), max(0, n - max(0, d))) for d, n in zip(step, shape, strict=True))
    there = tuple(slice(max(0, d), max(0, n - max(0, -d))) for d, n in zip(step, shape, strict=True))
    return here, there
