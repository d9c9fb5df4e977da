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
from typing import Annotated, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, Triple, box_shape
from cellflow.core.noise import (
    blur_planes,
    count_photons,
    gaussian_taps,
    normal_table,
    smooth_noise,
    stream_key,
    three_uniforms,
)
from cellflow.core.schema import Schema, Shape3, Voxel3

CENTRES, WEIGHTS, AXES, WARP, RIPPLE, STAINING, HOLES, LIGHT, SURFACE, SHOTS = range(10)
"""Streams of random numbers."""
PARTS = 4
"""Sub-cells of a lattice cell along each axis, each with its list of centres that may matter in it."""
MARGIN = 6
"""Lattice cells around the volume whose centres may be warped into it."""
JITTER, WEIGHT, FLATTENING = 0.3, 0.25, 0.4
"""Of the centres, in lattice cells; of the measures of distance, at irregularity 1."""
WARP_WAVE, WARP_SIZE, RIPPLE_WAVE, RIPPLE_SIZE = 2.2, 0.35, 0.65, 0.22
"""Wavelength and largest displacement of the two octaves of the warp, in lattice cells."""
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
    """0: plain Voronoi cells, all convex. 1: bent, of different sizes, partly non-convex. Above about 1.3
    some cells fall apart into pieces."""
    tissue: float = Field(0.85, gt=0, le=1)
    """Fraction of the volume that is tissue, about; the rest is empty and has label 0."""
    membrane_um: float = Field(0.4, gt=0)
    """Thickness of a membrane at half its brightness, before blur."""
    blur_um: tuple[NonNegative, NonNegative] = (0.5, 0.22)
    """Standard deviation of the point spread along z and in the plane."""
    photons: float = Field(80.0, gt=0)
    """Photons expected in a voxel of a bright membrane; fewer are noisier."""
    staining: float = Field(0.5, ge=0, le=1)
    """How unevenly membranes are stained: the faintest keep 1 - staining of the brightness."""
    holes: float = Field(0.0, ge=0, le=1)
    """Fraction of the membrane area without any stain, in patches of about half a cell. Missing from
    `boundaries` too: no network can see there."""
    nuclei: float = Field(0.15, ge=0)
    """Light of the nuclei that bleeds into the image, as a fraction of a bright membrane."""
    background: float = Field(0.06, ge=0)
    """Light everywhere, as a fraction of a bright membrane; twice as much inside the tissue."""
    illumination: float = Field(0.65, ge=0, le=1)
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
    fields = _fields(world, start, (z, y, x))
    near = _nearby(world, *_warped_range(world, fields, start, (z, y, x)))
    light, labels, boundaries, nuclei = _paint(world, fields, near, start, reach, box_shape(box))
    light = blur_planes(light, taps[1], taps[2])
    photons = p.photons / _brightest(p, taps[2])
    raw = count_photons(light, taps[0], photons, GAIN, OFFSET, p.seed, SHOTS, corner, normal_table())
    return PhantomBlock(raw, labels, boundaries, nuclei)


class _World(NamedTuple):
    """The numbers of a phantom that the kernels use; lengths in micrometres."""

    seed: int
    voxel: Voxel3
    size: Voxel3
    pitch: float  # of the lattice of centres
    step: Triple  # voxels between the nodes of the smooth fields
    lattice: Triple  # extent of the lattice of centres, for ids
    irregularity: float
    membrane: float  # distance from the interface at which the profile ends
    tissue_level: float
    hole_level: float
    staining: float
    nuclei: float
    background: float
    illumination: float


class _Nearby(NamedTuple):
    """Centres around a box, and for each sub-cell of their lattice those that may matter in it."""

    cells: NDArray[np.float64]  # (n, 10): centre z y x, weight, flattening, its axis z y x, stretch, nucleus
    ids: NDArray[np.uint64]  # (n,)
    first: NDArray[np.int64]  # (sub-cells along z, y, x) into `rows`
    listed: NDArray[np.int64]  # how many
    rows: NDArray[np.int32]  # of `cells`
    origin: Triple  # the first sub-cell


@lru_cache(maxsize=8)
def _world(p: Phantom) -> _World:
    z, y, x = (n * v for n, v in zip(p.shape, p.voxel_size_um, strict=True))
    pitch = 0.806 * p.cell_um  # (pi / 6)**(1/3): a ball of cell_um fills pitch**3
    sz, sy, sx = (min(16, max(1, int(0.2 * pitch / v))) for v in p.voxel_size_um)
    lz, ly, lx = (int(n / pitch) + 1 + 2 * MARGIN for n in (z, y, x))
    blank = _World(
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
def _depth(world: _World, z: float, y: float, x: float) -> float:
    """How far out a point is in the blob that the tissue fills: a rounded box with a noisy surface."""
    total, at = 0.0, np.empty(3)
    shift = three_uniforms(stream_key(world.seed, SURFACE), 1 << 40, 0, 0)
    point = (z, y, x)
    for i in range(3):
        half = max(0.5 * world.size[i], 3 * world.pitch)
        at[i] = (point[i] - 0.5 * world.size[i]) / half
        total += (at[i] - 0.3 * shift[i]) ** 4
    bump = smooth_noise(stream_key(world.seed, SURFACE), 1.5 * at[0], 1.5 * at[1], 1.5 * at[2])[0]
    return float(np.sqrt(np.sqrt(total)) + 0.25 * bump)


@njit(cache=True, nogil=True)
def _sample(world: _World) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of the blob and of the hole noise at 24**3 points, to find levels for wanted fractions."""
    n = 24
    depth, stain = np.empty(n**3), np.empty(n**3)
    key = stream_key(0, HOLES)
    for i in range(n**3):
        z, y, x = i // (n * n), i // n % n, i % n
        unit = ((z + 0.5) / n, (y + 0.5) / n, (x + 0.5) / n)
        depth[i] = _depth(world, unit[0] * world.size[0], unit[1] * world.size[1], unit[2] * world.size[2])
        stain[i] = smooth_noise(key, 7.9 * z, 7.7 * y, 7.3 * x)[1]
    return depth, stain


@njit(cache=True, nogil=True)
def _fields(world: _World, start: Triple, shape: Triple) -> NDArray[np.float32]:
    """(6, nodes along z, y, x): displacement z y x in um, stain, hole noise, illumination.

    Nodes stand at multiples of `world.step` in the volume, whatever the box; voxels interpolate linearly.
    """
    n0, n1, n2 = _node_range(world, start, shape)
    out = np.empty((6, n0, n1, n2), np.float32)
    warp, ripple = stream_key(world.seed, WARP), stream_key(world.seed, RIPPLE)
    staining, holes = stream_key(world.seed, STAINING), stream_key(world.seed, HOLES)
    light = stream_key(world.seed, LIGHT)
    a = world.pitch
    long, short = WARP_WAVE * a, RIPPLE_WAVE * a
    strong, weak = WARP_SIZE * a * world.irregularity, RIPPLE_SIZE * a * world.irregularity
    wide = 0.5 * max(world.size)
    for k in range(n0):
        z = ((start[0] // world.step[0] + k) * world.step[0] + 0.5) * world.voxel[0]
        attenuation = 1 / (1 + world.illumination * max(z, 0.0) / world.size[0])
        for j in range(n1):
            y = ((start[1] // world.step[1] + j) * world.step[1] + 0.5) * world.voxel[1]
            for i in range(n2):
                x = ((start[2] // world.step[2] + i) * world.step[2] + 0.5) * world.voxel[2]
                far = smooth_noise(warp, z / long, y / long, x / long)
                near = smooth_noise(ripple, z / short, y / short, x / short)
                for c in range(3):
                    out[c, k, j, i] = strong * far[c] + weak * near[c]
                stain = smooth_noise(staining, z / (2 * a), y / (2 * a), x / (2 * a))[0]
                out[3, k, j, i] = 1 - world.staining * 0.5 * (1 - stain)
                out[4, k, j, i] = smooth_noise(holes, 2 * z / a, 2 * y / a, 2 * x / a)[1]
                shade = 0.5 + 0.5 * smooth_noise(light, z / wide, y / wide, x / wide)[0]
                out[5, k, j, i] = attenuation * (1 - world.illumination * shade)
    return out


@njit(cache=True, nogil=True)
def _node_range(world: _World, start: Triple, shape: Triple) -> Triple:
    """Nodes along z, y, x that surround a box."""
    return (
        (start[0] + shape[0] - 1) // world.step[0] - start[0] // world.step[0] + 2,
        (start[1] + shape[1] - 1) // world.step[1] - start[1] // world.step[1] + 2,
        (start[2] + shape[2] - 1) // world.step[2] - start[2] // world.step[2] + 2,
    )


def _warped_range(
    world: _World, fields: NDArray[np.float32], start: Triple, shape: Triple
) -> tuple[Triple, Triple]:
    """First sub-cell and number of sub-cells along z, y, x that the voxels of a box are warped into."""
    low, many = [], []
    for c in range(3):
        part = world.pitch / PARTS
        a = (start[c] + 0.5) * world.voxel[c] + float(fields[c].min())
        b = (start[c] + shape[c] - 0.5) * world.voxel[c] + float(fields[c].max())
        low.append(int(np.floor(a / part)) - 1)
        many.append(int(np.floor(b / part)) + 2 - low[-1])
    return (low[0], low[1], low[2]), (many[0], many[1], many[2])


@njit(cache=True, nogil=True)
def _square(cells: NDArray[np.float64], j: int, z: float, y: float, x: float) -> float:
    """Squared distance of a warped point to centre j, by the centre's own measure."""
    dz, dy, dx = z - cells[j, 0], y - cells[j, 1], x - cells[j, 2]
    along = dz * cells[j, 5] + dy * cells[j, 6] + dx * cells[j, 7]
    return float(cells[j, 3] * (dz * dz + dy * dy + dx * dx + cells[j, 4] * along * along))


@njit(cache=True, nogil=True)
def _slope(cells: NDArray[np.float64], j: int, z: float, y: float, x: float) -> tuple[float, float, float]:
    """Gradient of `_square`."""
    dz, dy, dx = z - cells[j, 0], y - cells[j, 1], x - cells[j, 2]
    along = cells[j, 4] * (dz * cells[j, 5] + dy * cells[j, 6] + dx * cells[j, 7])
    w = 2 * cells[j, 3]
    return w * (dz + along * cells[j, 5]), w * (dy + along * cells[j, 6]), w * (dx + along * cells[j, 7])


@njit(cache=True, nogil=True)
def _centres(world: _World, low: Triple, many: Triple) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """Centres, measures and nuclei of a box of lattice cells, C order, and the ids of those in the tissue."""
    n = many[0] * many[1] * many[2]
    cells, ids = np.empty((n, 10)), np.zeros(n, np.uint64)
    place, weights = stream_key(world.seed, CENTRES), stream_key(world.seed, WEIGHTS)
    axes = stream_key(world.seed, AXES)
    a, lattice = world.pitch, world.lattice
    for r in range(n):
        k = low[0] + r // (many[1] * many[2])
        j, i = low[1] + r // many[2] % many[1], low[2] + r % many[2]
        jitter = three_uniforms(place, k, j, i)
        cells[r, 0] = (k + 0.5 + JITTER * jitter[0]) * a
        cells[r, 1] = (j + 0.25 + 0.5 * (k & 1) + JITTER * jitter[1]) * a
        cells[r, 2] = (i + 0.25 + 0.5 * (j & 1) + JITTER * jitter[2]) * a
        size, flat, _ = three_uniforms(weights, k, j, i)
        cells[r, 3] = (1 + WEIGHT * world.irregularity * size) / (1 - WEIGHT * world.irregularity * size)
        cells[r, 4] = FLATTENING * world.irregularity * (1 + flat)
        u = three_uniforms(axes, k, j, i)
        norm = np.sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]) + 1e-9
        cells[r, 5], cells[r, 6], cells[r, 7] = u[0] / norm, u[1] / norm, u[2] / norm
        cells[r, 8] = np.sqrt(cells[r, 3] * (1 + cells[r, 4]))
        if _depth(world, cells[r, 0], cells[r, 1], cells[r, 2]) < world.tissue_level:
            index = ((k + MARGIN) * lattice[1] + j + MARGIN) * lattice[2] + i + MARGIN
            ids[r] = np.uint64(1 + index)
    for r in range(n):
        cells[r, 9] = _nucleus(cells, r, many, 0.36 * a)
    return cells, ids


@njit(cache=True, nogil=True)
def _nucleus(cells: NDArray[np.float64], r: int, many: Triple, radius: float) -> float:
    """Value of `_square` at the surface of the nucleus: `radius`, less where a neighbour is near."""
    level = cells[r, 3] * radius * radius
    for dk in range(-1, 2):
        for dj in range(-1, 2):
            for di in range(-1, 2):
                k, j, i = r // (many[1] * many[2]) + dk, r // many[2] % many[1] + dj, r % many[2] + di
                inside = 0 <= k < many[0] and 0 <= j < many[1] and 0 <= i < many[2]
                other = (k * many[1] + j) * many[2] + i
                if inside and other != r:
                    there = np.sqrt(_square(cells, r, cells[other, 0], cells[other, 1], cells[other, 2]))
                    back = np.sqrt(_square(cells, other, cells[r, 0], cells[r, 1], cells[r, 2]))
                    border = 0.7 * there * back / (there + back)
                    level = min(level, border * border)
    return level


@njit(cache=True, nogil=True)
def _nearby(world: _World, origin: Triple, parts: Triple) -> _Nearby:
    """Centres around a box of sub-cells, and for each sub-cell those that label or border a point in it.

    In a ball around a sub-cell a distance changes by at most `stretch * radius`; a centre is listed if it
    may come within the membrane's reach of the nearest. First lattice cells are listed, then their parts.
    """
    low = (origin[0] // PARTS - 4, origin[1] // PARTS - 4, origin[2] // PARTS - 4)
    many = (
        (origin[0] + parts[0] - 1) // PARTS + 5 - low[0],
        (origin[1] + parts[1] - 1) // PARTS + 5 - low[1],
        (origin[2] + parts[2] - 1) // PARTS + 5 - low[2],
    )
    cells, ids = _centres(world, low, many)
    first, count = np.zeros(parts, np.int64), np.zeros(parts, np.int64)
    rows = np.empty(1 << 16, np.int32)
    coarse, fine = np.empty(343, np.int32), np.empty(343, np.int32)
    fill, part = 0, world.pitch / PARTS
    for k in range(4, many[0] - 4):
        for j in range(4, many[1] - 4):
            for i in range(4, many[2] - 4):
                m = 0
                for dk in range(-3, 4):
                    for dj in range(-3, 4):
                        for di in range(-3, 4):
                            coarse[m] = ((k + dk) * many[1] + j + dj) * many[2] + i + di
                            m += 1
                at = ((low[0] + k + 0.5), (low[1] + j + 0.5), (low[2] + i + 0.5))
                n = _keep(world, cells, coarse, m, at, world.pitch, coarse)
                for s in range(PARTS**3):
                    z = (low[0] + k) * PARTS + s // PARTS**2
                    y, x = (low[1] + j) * PARTS + s // PARTS % PARTS, (low[2] + i) * PARTS + s % PARTS
                    sub = (z - origin[0], y - origin[1], x - origin[2])
                    if not (0 <= sub[0] < parts[0] and 0 <= sub[1] < parts[1] and 0 <= sub[2] < parts[2]):
                        continue
                    kept = _keep(world, cells, coarse, n, (z + 0.5, y + 0.5, x + 0.5), part, fine)
                    if fill + kept > rows.size:
                        rows = np.concatenate((rows, np.empty_like(rows)))
                    first[sub], count[sub] = fill, kept
                    rows[fill : fill + kept] = fine[:kept]
                    fill += kept
    return _Nearby(cells, ids, first, count, rows[:fill], origin)


@njit(cache=True, nogil=True)
def _keep(
    world: _World,
    cells: NDArray[np.float64],
    listed: NDArray[np.int32],
    n: int,
    at: tuple[float, float, float],
    edge: float,
    kept: NDArray[np.int32],
) -> int:
    """Copy those of `listed[:n]` that matter in the cube of `edge` at `at` (in edges); how many."""
    z, y, x = at[0] * edge, at[1] * edge, at[2] * edge
    radius = 0.8661 * edge
    distance = np.empty(n)
    nearest, stretch = np.inf, 0.0
    for s in range(n):
        j = listed[s]
        distance[s] = np.sqrt(_square(cells, j, z, y, x))
        nearest = min(nearest, distance[s] + cells[j, 8] * radius)
        stretch = max(stretch, cells[j, 8])
    voxel = world.voxel
    reach = world.membrane + 0.5 * np.sqrt(voxel[0] ** 2 + voxel[1] ** 2 + voxel[2] ** 2)
    m = 0
    for s in range(n):
        j = listed[s]
        if distance[s] - cells[j, 8] * radius <= nearest + 2 * reach * stretch:
            kept[m] = j
            m += 1
    return m


@njit(cache=True, nogil=True)
def _paint(
    world: _World,
    fields: NDArray[np.float32],
    near: _Nearby,
    start: Triple,
    reach: Triple,
    shape: Triple,
) -> tuple[NDArray[np.float32], NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint64]]:
    """Light of a box and its margin of `reach` voxels; labels, boundaries and nuclei of the box alone."""
    nz, ny, nx = shape[0] + 2 * reach[0], shape[1] + 2 * reach[1], shape[2] + 2 * reach[2]
    light = np.empty((nz, ny, nx), np.float32)
    labels, nuclei = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
    boundaries = np.zeros(shape, np.uint8)
    voxel, step, cells, ids = world.voxel, world.step, near.cells, near.ids
    line = np.empty((6, fields.shape[3]))
    squares = np.empty(near.listed.max())
    part = world.pitch / PARTS
    for k in range(nz):
        z = start[0] + k
        kn, tz = z // step[0] - start[0] // step[0], (z % step[0]) / step[0]
        for j in range(ny):
            y = start[1] + j
            jn, ty = y // step[1] - start[1] // step[1], (y % step[1]) / step[1]
            for c in range(6):
                for i in range(line.shape[1]):
                    upper = fields[c, kn, jn, i] * (1 - ty) + fields[c, kn, jn + 1, i] * ty
                    lower = fields[c, kn + 1, jn, i] * (1 - ty) + fields[c, kn + 1, jn + 1, i] * ty
                    line[c, i] = upper * (1 - tz) + lower * tz
            for i in range(nx):
                x = start[2] + i
                n, tx = x // step[2] - start[2] // step[2], (x % step[2]) / step[2]
                qz = (z + 0.5) * voxel[0] + line[0, n] * (1 - tx) + line[0, n + 1] * tx
                qy = (y + 0.5) * voxel[1] + line[1, n] * (1 - tx) + line[1, n + 1] * tx
                qx = (x + 0.5) * voxel[2] + line[2, n] * (1 - tx) + line[2, n + 1] * tx
                sub = (
                    np.int64(np.floor(qz / part)) - near.origin[0],
                    np.int64(np.floor(qy / part)) - near.origin[1],
                    np.int64(np.floor(qx / part)) - near.origin[2],
                )
                first, count = near.first[sub], near.listed[sub]
                best, nearest = -1, np.inf
                for s in range(count):
                    r = near.rows[first + s]
                    squares[s] = _square(cells, r, qz, qy, qx)
                    if squares[s] < nearest:
                        best, nearest = r, squares[s]
                label, edge, thin = ids[best], 1.0, 1.0
                for s in range(count):
                    r = near.rows[first + s]
                    if ids[r] != label:
                        az, ay, ax = _slope(cells, best, qz, qy, qx)
                        bz, by, bx = _slope(cells, r, qz, qy, qx)
                        bz, by, bx = bz - az, by - ay, bx - ax
                        steep = np.sqrt(bz * bz + by * by + bx * bx)
                        blunt = abs(bz) * voxel[0] + abs(by) * voxel[1] + abs(bx) * voxel[2]
                        wide = world.membrane * steep + 0.5 * blunt
                        if squares[s] - nearest < edge * wide:
                            edge, thin = (squares[s] - nearest) / wide, world.membrane * steep / wide
                hole = line[4, n] * (1 - tx) + line[4, n + 1] * tx < world.hole_level
                profile = 0.0 if hole else (1 - edge * edge) ** 2
                stain = line[3, n] * (1 - tx) + line[3, n + 1] * tx
                shine = world.background * (2.0 if label else 1.0) + profile * thin * stain
                level = nearest / cells[best, 9]
                if label and level < 1:
                    shine += world.nuclei * (1 - 0.4 * level)
                light[k, j, i] = shine * (line[5, n] * (1 - tx) + line[5, n + 1] * tx)
                own = (k - reach[0], j - reach[1], i - reach[2])
                if 0 <= own[0] < shape[0] and 0 <= own[1] < shape[1] and 0 <= own[2] < shape[2]:
                    labels[own] = label
                    boundaries[own] = np.uint8(255 * profile + 0.5)
                    if level < 1:
                        nuclei[own] = label
    return light, labels, boundaries, nuclei
