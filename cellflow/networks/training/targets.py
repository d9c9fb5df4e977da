"""What a network should say, made from labels: a target is its parameters, called on the labels of a patch.

It answers with values and where they are known, float32 and bool (c, z, y, x). A target that looks around
a voxel says how far (`margin`); labels are read that much beyond a patch, so that its target is that of the
whole volume, cropped.
"""

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import binary_dilation

from cellflow.core.affinities import affinities
from cellflow.core.distance import boundary_distance
from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple
from cellflow.core.schema import Schema, Voxel3
from cellflow.core.smoothing import smooth, smoothing_radius
from cellflow.networks.heads import Affinities, Head
from cellflow.networks.training.labels import IGNORED, OTHER, Labels, known_pairs, thick_boundary
from cellflow.networks.training.losses import BceDice, Loss, Mse

Maps = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Values and where they are known, both (c, z, y, x)."""


class _Target(Schema):
    loss: Loss = BceDice()
    """How predictions are compared with this target."""
    weight: float = Field(1.0, gt=0)
    """What this target counts for, beside those of other heads."""


class BoundaryTarget(_Target):
    """Boundaries between cells, and of cells with background: two voxels thick, smoothed, cut again or not.

    Cut, it is the target of PlantSeg (Wolny et al. 2020). Small cells lose much of themselves to two voxels:
    for them a smoothed target that is not cut is better, as it is highest where one cell meets the other.
    """

    name: Literal["boundary"] = "boundary"
    sigma: float = Field(1.0, ge=0, le=10)
    """Smoothing of the thick boundary, in units of the finest voxel; 0: none. Rounds its corners."""
    threshold: float | None = Field(0.5, gt=0, lt=1)
    """Where the smoothed boundary is cut. Lower: thicker. `null`: not at all."""
    head: str = "boundary"
    """The head that learns it."""

    def margin(self, _pitch: Voxel3) -> int:
        """Voxels beyond a patch that matter to it."""
        return 1 + smoothing_radius(self.sigma)

    def maps(self, labels: Mapping[str, Labels], pitch: Voxel3, _head: Head) -> Maps:
        """1 on boundaries, or towards them if not cut; unknown next to ignored voxels."""
        return _boundary(labels["truth"], self.sigma, pitch, self.threshold)


class AffinityTarget(_Target):
    """Whether two voxels lie in one cell, for each offset of the head."""

    name: Literal["affinities"] = "affinities"
    head: str = "affinities"
    """The head that learns it; it has the offsets."""

    def margin(self, _pitch: Voxel3) -> int:
        """None: pairs that leave the patch are left out."""
        return 0

    def maps(self, labels: Mapping[str, Labels], _pitch: Voxel3, head: Head) -> Maps:
        """1 where a pair is in one cell."""
        cells = labels["truth"]
        if not isinstance(head, Affinities):
            raise BadInput(f"target affinities: found the head {head.name}, expected affinities; change head")
        values = affinities(np.maximum(cells, 0), head.offsets).astype(np.float32) / np.float32(255)
        return values, np.stack([known_pairs(cells, step) for step in head.offsets])


class ForegroundTarget(_Target):
    """Where there is a cell."""

    name: Literal["foreground"] = "foreground"
    head: str = "foreground"
    """The head that learns it."""

    def margin(self, _pitch: Voxel3) -> int:
        """None."""
        return 0

    def maps(self, labels: Mapping[str, Labels], _pitch: Voxel3, _head: Head) -> Maps:
        """1 in cells, 0 in background."""
        cells = labels["truth"][None]
        return (cells > 0).astype(np.float32), cells >= 0


class DistanceTarget(_Target):
    """Distance from the boundary of one's cell, as a share of the largest that is told apart; 0 outside."""

    name: Literal["distance"] = "distance"
    loss: Loss = Mse()
    """How predictions are compared with this target."""
    largest: float = Field(8.0, gt=0, le=100)
    """Distance, in units of the finest voxel, that counts as 1. Larger: wider margins are read."""
    head: str = "output"
    """The head that learns it; with the activation `none`."""

    def margin(self, pitch: Voxel3) -> int:
        """As far as distances are told apart."""
        return ceil(self.largest / min(pitch)) + 1

    def maps(self, labels: Mapping[str, Labels], pitch: Voxel3, _head: Head) -> Maps:
        """0 at boundaries to 1; unknown where what is ignored is nearer than a boundary."""
        cells = labels["truth"]
        ignored = cells == IGNORED
        # The voxels beside the ignored may be boundaries that cannot be seen.
        doubtful = binary_dilation(ignored, np.ones((3, 3, 3), bool))
        inside = (cells > 0) & ~thick_boundary(cells)
        distance = boundary_distance(inside | ignored, pitch, self.largest)
        unknown = boundary_distance(~doubtful, pitch, self.largest) < distance
        values = np.where(inside, distance / np.float32(self.largest), np.float32(0))
        return values[None], (~unknown & (cells >= 0))[None]


class NucleiTarget(_Target):
    """Nuclei, from labels of their own; on a head of two channels also their boundaries."""

    name: Literal["nuclei"] = "nuclei"
    head: str = "nuclei"
    """The head that learns it."""

    def margin(self, _pitch: Voxel3) -> int:
        """That of their boundary."""
        return 1 + smoothing_radius(1.0)

    def maps(self, labels: Mapping[str, Labels], pitch: Voxel3, head: Head) -> Maps:
        """1 in nuclei; then 1 on their boundaries."""
        nuclei = labels["nuclei"]
        values, known = (nuclei > 0).astype(np.float32)[None], (nuclei != IGNORED)[None]
        if head.channels == 1:
            return values, known
        edge, edge_known = _boundary(nuclei, 1.0, pitch, 0.5)
        return np.concatenate([values, edge]), np.concatenate([known, edge_known])


Target = Annotated[
    BoundaryTarget | AffinityTarget | ForegroundTarget | DistanceTarget | NucleiTarget,
    Field(discriminator="name"),
]


def margin(targets: tuple[Target, ...], pitch: Voxel3, *, flat: bool) -> Triple:
    """Voxels along z, y, x beyond a patch that some target looks at; none along z in flat patches."""
    widest = max(target.margin(pitch) for target in targets)
    return (0 if flat else widest, widest, widest)


def _boundary(labels: Labels, sigma: float, pitch: Voxel3, threshold: float | None) -> Maps:
    thick = thick_boundary(labels).astype(np.float32)
    if sigma:
        z, y, x = (sigma / step for step in pitch)
        smooth(thick, (z if len(labels) > 1 else 0.0, y, x))
        if threshold is not None:
            thick = (thick >= threshold).astype(np.float32)
    known = labels != IGNORED
    if not known.all():
        # Two voxels: one for the pairs, one for the smoothing. More would leave nothing of sparse labels.
        known = ~binary_dilation(~known, np.ones((3, 3, 3), bool), iterations=2)
    known &= (labels != OTHER) | (thick > 0)
    return thick[None], known[None]
