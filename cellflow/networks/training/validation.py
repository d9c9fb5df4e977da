"""How good a network is on volumes that it does not learn from: its loss, and cells cut out in a quick way.

Boundaries are cut at several levels; what lies connected below a level is a cell, and the cells are flooded
over the boundaries. The level with the lowest adapted Rand error counts (Wolny et al. 2020, who do not
flood). It is no substitute for the pipeline, which joins broken boundaries; but it ranks networks.
"""

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import label

from cellflow.core.affinities import boundary_map
from cellflow.core.contingency import contingency_block, without
from cellflow.core.grid import Box, Triple
from cellflow.core.metrics import adapted_rand_error
from cellflow.core.schema import Schema, Shape3
from cellflow.core.watershed import watershed
from cellflow.networks.heads import Affinities, Boundary, Head
from cellflow.networks.training.labels import Labels

Maps = NDArray[np.float32]
SPECK = 20
"""Components of fewer voxels are no cells."""


class Validation(Schema):
    """How networks are compared while they learn."""

    window: Shape3 = (64, 256, 256)
    """Voxels around the middle of each volume that are looked at, fewer where it is smaller."""
    thresholds: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (
        *(0.3, 0.4),
        *(0.5, 0.6),
    )
    """Levels at which boundaries are cut; the best one counts."""
    select: Literal["adapted_rand_error", "loss"] = "adapted_rand_error"
    """What decides which network is the best, and when the learning rate falls; loss where no boundaries or
    affinities are predicted."""


def boundaries(made: Mapping[str, Maps], heads: Sequence[Head]) -> NDArray[np.uint8] | None:
    """Boundary probability x 255 (z, y, x), from the boundary head or the affinities; None without both."""
    for head in heads:
        if isinstance(head, Boundary):
            return _eight_bits(made[head.name][0])
    for head in heads:
        if isinstance(head, Affinities):
            channels = _eight_bits(made[head.name])
            _, z, y, x = channels.shape
            return boundary_map(channels, head.offsets, (z, y, x))
    return None


def _eight_bits(probabilities: Maps) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = np.rint(probabilities * 255).astype(np.uint8)
    return found


def quick_cells(boundary: NDArray[np.uint8], threshold: float) -> NDArray[np.uint32]:
    """Components below the threshold, flooded over the rest: labels 1..n, nowhere 0."""
    pieces, _ = label(boundary < 255 * threshold)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    number = np.zeros(sizes.size, np.int32)
    number[sizes >= SPECK] = np.arange(1, (sizes >= SPECK).sum() + 1)
    return watershed(boundary, number[pieces])


def rand_error(boundary: NDArray[np.uint8], truth: Labels, thresholds: Sequence[float]) -> list[float]:
    """Adapted Rand error of the quick cells at each threshold; background and ignored voxels do not count."""
    known = np.maximum(truth, 0)
    found = []
    for threshold in thresholds:
        table = without(contingency_block(known, quick_cells(boundary, threshold)))
        error = adapted_rand_error(table).error
        found.append(1.0 if error is None else error)
    return found


def window(shape: Triple, largest: Triple, pooling: Triple) -> Box:
    """The box around the middle of a volume, no larger than `largest`, of whole poolings."""
    slices = []
    for n, most, pool in zip(shape, largest, pooling, strict=True):
        side = min(n, most) // pool * pool
        start = (n - side) // 2
        slices.append(slice(start, start + side))
    z, y, x = slices
    return z, y, x


def best(errors: Sequence[Sequence[float]], thresholds: Sequence[float]) -> tuple[float, float]:
    """The lowest mean error over volumes, and its threshold; `errors` has a row a volume."""
    means = [fsum(column) / len(column) for column in zip(*errors, strict=True)]
    lowest = min(means)
    return lowest, thresholds[means.index(lowest)]
