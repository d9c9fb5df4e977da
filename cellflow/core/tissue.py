"""The space of a phantom: how it is warped, stained and lit, and where the tissue ends.

Smooth fields on a lattice of nodes at multiples of fixed steps in the volume, so that no value depends on
the box for which it is computed.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.grid import Triple
from cellflow.core.noise import smooth_noise, stream_key, three_uniforms
from cellflow.core.schema import Voxel3

CENTRES, WEIGHTS, AXES, WARP, RIPPLE, STAINING, HOLES, LIGHT, SURFACE, SHOTS = range(10)
"""Streams of random numbers."""
WARP_WAVE, WARP_SIZE, RIPPLE_WAVE, RIPPLE_SIZE = 2.2, 0.35, 0.65, 0.22
"""Wavelength and largest displacement of the two octaves of the warp, in lattice cells."""
GAIN, OFFSET = 4.0, 100.0
"""Camera counts per photon, and in the dark."""
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


class World(NamedTuple):
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


@njit(cache=True, nogil=True)
def depth_in_tissue(world: World, z: float, y: float, x: float) -> float:
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
def fields_of(world: World, start: Triple, shape: Triple) -> NDArray[np.float32]:
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
def _node_range(world: World, start: Triple, shape: Triple) -> Triple:
    """Nodes along z, y, x that surround a box."""
    return (
        (start[0] + shape[0] - 1) // world.step[0] - start[0] // world.step[0] + 2,
        (start[1] + shape[1] - 1) // world.step[1] - start[1] // world.step[1] + 2,
        (start[2] + shape[2] - 1) // world.step[2] - start[2] // world.step[2] + 2,
    )


def warped_range(
    world: World, fields: NDArray[np.float32], start: Triple, shape: Triple
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
