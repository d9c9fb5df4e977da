"""A synthetic membrane-stained tissue with its exact truth, of any size, any box of it computed alone.

Cells are the regions nearest to centres on a jittered, staggered lattice. Each centre measures distance
with its own weight and flattening, and space is warped by smooth noise before distances are taken, which
makes cells irregular and partly non-convex. A cell belongs to the tissue if its centre lies in a blob
with a noisy surface. Light is then laid on the interfaces and in the nuclei, dimmed unevenly, blurred and
counted::

    voxel -> um -> warp -> nearest centres -> label, nucleus, distance to the interface
                                           -> light -> point spread -> shot noise -> raw

The world is infinite and everything in it is a function of the seed and of coordinates in the volume.
A box reads no neighbour: it computes the light in a margin of its own as wide as the point spread.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, box_shape
from cellflow.core.noise import (
    blur_planes,
    count_photons,
    gaussian_taps,
    normal_table,
    smooth_noise,
    stream_key,
)
from cellflow.core.schema import Schema, Shape3, Voxel3
from cellflow.core.tissue import HOLES, SHOTS, World, depth_in_tissue, fields_of, warped_range
from cellflow.core.tissue_cells import MARGIN, nearby
from cellflow.core.tissue_paint import paint

GAIN, OFFSET = 4.0, 100.0
"""Camera counts per photon, and in the dark."""


NonNegative = Annotated[float, Field(ge=0)]


class Phantom(Schema):
    """What the tissue is like and how it is imaged; lengths in micrometres, 2-D is a shape of (1, y, x)."""

    shape: Shape3 = (192, 256, 256)
    """Voxels along z, y, x."""
    voxel_size_um: Voxel3 = (0.5, 0.25, 0.25)
    """Voxel size along z, y, x."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Another seed is another tissue."""
    cell_um: float = Field(8.0, gt=0)
    """Diameter of the ball that has the mean volume of a cell."""
    irregularity: float = Field(1.0, ge=0, le=2)
    """0: plain Voronoi cells, all convex. 1: bent, of different sizes, partly non-convex. 2: deeply bent, and
    about a voxel in a thousand is cut off from its cell."""
    tissue: float = Field(0.85, gt=0, le=1)
    """Fraction of the volume that is tissue, about; the rest is empty and has label 0."""
    membrane_um: float = Field(0.4, gt=0)
    """Thickness of a membrane at half its brightness, before blur."""
    blur_um: tuple[NonNegative, NonNegative] = (0.5, 0.22)
    """Standard deviation of the point spread along z and in the plane."""
    photons: float = Field(80.0, gt=0)
    """Photons expected in a voxel of a bright membrane; fewer are noisier."""
    staining: float = Field(0.55, ge=0, le=1)
    """How unevenly membranes are stained: the faintest keep 1 - staining of the brightness."""
    holes: float = Field(0.0, ge=0, le=1)
    """Fraction of the membrane area without any stain, in patches of about half a cell. Missing from
    `boundaries` too: no network can see there."""
    nuclei: float = Field(0.15, ge=0)
    """Light of the nuclei that bleeds into the image, as a fraction of a bright membrane."""
    background: float = Field(0.06, ge=0)
    """Light everywhere, as a fraction of a bright membrane; twice as much inside the tissue."""
    illumination: float = Field(0.7, ge=0, le=1)
    """How uneven the light is: at 1 the deepest plane gets half of it, and the darkest spots lose all."""


@dataclass(frozen=True)
class PhantomBlock:
    """One box of a phantom; all arrays have the shape of the box, axes z, y, x."""

    raw: NDArray[np.uint16]
    """What the camera counts: blurred and noisy."""
    labels: NDArray[np.uint64]
    """The cell of each voxel, 0 outside the tissue. Ids are sparse and the same in every box."""
    boundaries: NDArray[np.uint8]
    """Membranes before staining, blur and noise: 255 on the interface of two labels, 0 away from it."""
    nuclei: NDArray[np.uint64]
    """The id of the cell where the voxel is in its nucleus, else 0."""


def phantom_block(p: Phantom, box: Box) -> PhantomBlock:
    """The voxels of `box` (within `p.shape`): the same bits whatever box they are computed in.

    Holds about 30 bytes per voxel of the box and its margin (three standard deviations of the blur).
    Raises `BadInput` for an empty box or one that leaves the volume.
    """
    if any(not 0 <= s.start < s.stop <= n for s, n in zip(box, p.shape, strict=True)):
        found = ", ".join(f"{s.start}:{s.stop}" for s in box)
        raise BadInput(
            f"phantom box: found [{found}] in a volume of {p.shape} voxels,"
            " expected start < stop within the volume; cut the box at the volume"
        )
    taps = [gaussian_taps(s / v) for s, v in zip((*p.blur_um, p.blur_um[1]), p.voxel_size_um, strict=True)]
    corner, reach = (box[0].start, box[1].start, box[2].start), tuple(t.size // 2 for t in taps)
    world = _world(p)
    start = (corner[0] - reach[0], corner[1] - reach[1], corner[2] - reach[2])
    z, y, x = (n + 2 * r for n, r in zip(box_shape(box), reach, strict=True))
    fields = fields_of(world, start, (z, y, x))
    near = nearby(world, *warped_range(world, fields, start, (z, y, x)))
    light, labels, boundaries, nuclei = paint(world, fields, near, start, reach, box_shape(box))
    light = blur_planes(light, taps[1], taps[2])
    photons = p.photons / _brightest(p, taps[2])
    raw = count_photons(light, taps[0], photons, GAIN, OFFSET, p.seed, SHOTS, corner, normal_table())
    return PhantomBlock(raw, labels, boundaries, nuclei)


@lru_cache(maxsize=8)
def _world(p: Phantom) -> World:
    z, y, x = (n * v for n, v in zip(p.shape, p.voxel_size_um, strict=True))
    pitch = 0.806 * p.cell_um  # (pi / 6)**(1/3): a ball of cell_um fills pitch**3
    sz, sy, sx = (min(16, max(1, int(0.2 * pitch / v))) for v in p.voxel_size_um)
    lz, ly, lx = (int(n / pitch) + 1 + 2 * MARGIN for n in (z, y, x))
    blank = World(
        p.seed, p.voxel_size_um, (z, y, x), pitch, (sz, sy, sx), (lz, ly, lx), p.irregularity,
        p.membrane_um / 1.08, np.inf, -2.0, p.staining, p.nuclei, p.background, p.illumination,
    )  # fmt: skip
    depth, stain = _sample(blank)
    tissue_level = np.inf if p.tissue == 1 else float(np.quantile(depth, p.tissue))
    hole_level = float(np.quantile(stain, p.holes)) if 0 < p.holes < 1 else 4.0 * p.holes - 2.0
    return blank._replace(tissue_level=tissue_level, hole_level=hole_level)


def _brightest(p: Phantom, taps: NDArray[np.float32]) -> float:
    """Light in a fully stained membrane across x, after blur: what `photons` refers to."""
    pixel, reach = p.voxel_size_um[2], p.membrane_um / 1.08
    wide = reach + 0.5 * pixel
    t = np.minimum(np.abs(np.arange(taps.size) - taps.size // 2) * pixel / wide, 1)
    return float((taps * (1 - t**2) ** 2).sum() * reach / wide)


@njit(cache=True, nogil=True)
def _sample(world: World) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of the blob and of the hole noise at 24**3 points, to find levels for wanted fractions."""
    n = 24
    depth, stain = np.empty(n**3), np.empty(n**3)
    key = stream_key(0, HOLES)
    for i in range(n**3):
        z, y, x = i // (n * n), i // n % n, i % n
        unit = ((z + 0.5) / n, (y + 0.5) / n, (x + 0.5) / n)
        depth[i] = depth_in_tissue(
            world, unit[0] * world.size[0], unit[1] * world.size[1], unit[2] * world.size[2]
        )
        stain[i] = smooth_noise(key, 7.9 * z, 7.7 * y, 7.3 * x)[1]
    return depth, stain
