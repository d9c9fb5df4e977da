"""Move the voxels of a patch: exactly along its axes, or to anywhere with interpolation."""

from itertools import combinations
from math import cos, radians, sin
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, zoom

from cellflow.core.schema import Voxel3
from cellflow.networks.training.labels import IGNORED, Labels

Array = TypeVar("Array", NDArray[np.float32], NDArray[np.int32])
ALIKE = 0.01
"""Voxel sizes that differ by less than this share count as equal."""


class Axes(NamedTuple):
    """Axes to mirror, then quarter turns: plane and how many."""

    mirrored: tuple[int, ...]
    turns: tuple[tuple[tuple[int, int], int], ...]


def draw_axes(
    flips: float, turns: float, shape: tuple[int, ...], pitch: Voxel3, rng: np.random.Generator
) -> Axes:
    """Which axes to mirror and which planes to turn; only planes whose axes are alike."""
    mirrored = tuple(axis for axis in range(3) if rng.random() < flips)
    drawn = []
    for a, b in combinations(range(3), 2):
        alike = shape[a] == shape[b] and abs(pitch[a] - pitch[b]) < ALIKE * pitch[a]
        if alike and rng.random() < turns:
            drawn.append(((a, b), int(rng.integers(1, 4))))
    return Axes(mirrored, tuple(drawn))


def by_axes(values: Array, axes: Axes) -> Array:
    """The voxels mirrored and turned, none changed."""
    found = np.flip(values, axes.mirrored)
    for plane, times in axes.turns:
        found = np.rot90(found, times, plane)
    return np.ascontiguousarray(found)


def places(
    shape: tuple[int, ...],
    pitch: Voxel3,
    degrees: float,
    elastic: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Where each voxel (z, y, x) comes from: (3, z, y, x), in voxels.

    A rotation around z through the middle; then displacements, whose spacing and standard deviation
    `elastic` gives in units of the finest voxel. Flat patches stay in their plane.
    """
    where = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij"))
    if degrees:
        c, s = cos(radians(degrees)), sin(radians(degrees))
        y, x = ((where[i] - (shape[i] - 1) / 2) * pitch[i] for i in (1, 2))
        for i, turned in ((1, c * y - s * x), (2, s * y + c * x)):
            where[i] = turned / pitch[i] + (shape[i] - 1) / 2
    spacing, size = elastic
    if size:
        nodes = [max(2, round(n * p / spacing) + 1) for n, p in zip(shape, pitch, strict=True)]
        for axis in range(3):
            drawn = rng.normal(0, size / pitch[axis], nodes)
            if shape[axis] > 1:
                where[axis] += _enlarged(drawn, shape)
    return where


def _enlarged(nodes: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Cubic between the nodes, the outer ones on the faces."""
    factors = [n / m for n, m in zip(shape, nodes.shape, strict=True)]
    found: NDArray[np.float64] = zoom(nodes, factors, order=3, mode="nearest")
    return found


def interpolated(image: NDArray[np.float32], where: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image at these places, linear between voxels, mirrored beyond its border."""
    found: NDArray[np.float32] = map_coordinates(image, where, order=1, mode="reflect")
    return found


def nearest(labels: Labels, where: NDArray[np.float32]) -> Labels:
    """The label of the nearest voxel; IGNORED beyond the border."""
    at = np.rint(where).astype(np.int32)
    last = np.array(labels.shape, np.int32)[:, None, None, None] - 1
    outside = ((at < 0) | (at > last)).any(axis=0)
    z, y, x = np.clip(at, 0, last)
    found: Labels = labels[z, y, x]
    found[outside] = IGNORED
    return found
