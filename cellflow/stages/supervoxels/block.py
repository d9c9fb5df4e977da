"""Supervoxels of one array, and the landscape that exact supervoxels are flooded on."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from cellflow.core.distance import boundary_distance
from cellflow.core.forest.keys import NOTHING, altitudes, framed
from cellflow.core.grid import Box, around, whole, within
from cellflow.core.schema import Voxel3
from cellflow.core.seeds import local_maxima
from cellflow.core.smoothing import smooth, smoothing_radius
from cellflow.core.watershed import merge_small, watershed
from cellflow.stages.supervoxels.params import Params


def supervoxels_block(
    boundaries: NDArray[np.uint8],
    p: Params,
    voxel_size_um: Voxel3,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint32]:
    """Supervoxels of one box of boundary probabilities (z, y, x; 255 is 1): labels 1..n, 0 where masked.

    Every unmasked voxel has a label and none crosses the mask, whose outside counts as boundary. A box
    without boundaries, or of nothing else, is one supervoxel (per slice, or per component of the mask).
    Knows nothing of blocks; deterministic. Peak memory about 15 B per voxel, the input and result included.
    """
    pitch = p.pitch(voxel_size_um)
    seeds = _seeds(boundaries, p, pitch, mask)
    heights = _heights(boundaries, p, pitch, whole(boundaries.shape))
    labels = watershed(heights, seeds, mask, planar=p.per_slice)
    del seeds
    return merge_small(labels, p.min_size, heights, mask, planar=p.per_slice)


def landscape(
    boundaries: NDArray[np.uint8],
    p: Params,
    voxel_size_um: Voxel3,
    mask: NDArray[np.bool_] | None,
    crop: Box,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """What an exact flood of the core at `crop` runs over: altitude and smoothed distance, both framed.

    Of the box each step makes only what the next one needs: least of all is the core with its neighbours.
    Peak memory about 17 B a voxel, the result included, if the core is the box; less in a halo.
    """
    pitch, box = p.pitch(voxel_size_um), around(crop, (1, 1, 1), boundaries.shape)
    inside = _inside(boundaries, p, mask)
    smoothed = _smoothed_distance(inside, p, pitch, box)
    if mask is not None:
        smoothed[~mask[box]] = -np.inf
    np.logical_not(inside, out=inside)
    depth = boundary_distance(inside, pitch, p.max_distance, planar=p.per_slice, box=box)
    del inside
    core = within(crop, box)
    altitude = framed(
        altitudes(_heights(boundaries, p, pitch, box), smoothed, depth, p.max_distance), core, NOTHING
    )
    del depth
    return altitude, framed(smoothed, core, -np.inf)


def _seeds(
    boundaries: NDArray[np.uint8], p: Params, pitch: Voxel3, mask: NDArray[np.bool_] | None
) -> NDArray[np.int32]:
    """Local maxima of the smoothed distance to boundary and mask."""
    smoothed = _smoothed_distance(_inside(boundaries, p, mask), p, pitch, whole(boundaries.shape))
    return local_maxima(smoothed, mask, planar=p.per_slice)[0]


def _inside(boundaries: NDArray[np.uint8], p: Params, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Voxels that are not boundary; beyond the mask all is boundary."""
    inside: NDArray[np.bool_] = boundaries < np.uint8(ceil(round(255 * p.threshold, 6)))
    if mask is not None:
        inside &= mask
    return inside


def _smoothed_distance(inside: NDArray[np.bool_], p: Params, pitch: Voxel3, box: Box) -> NDArray[np.float32]:
    """For the voxels in `box`; those under the kernel must be all that there are, or in the array too."""
    sigmas = _sigmas(p.sigma_seeds, p, pitch)
    near = around(box, tuple(smoothing_radius(s) for s in sigmas), inside.shape)
    distance = boundary_distance(inside, pitch, p.max_distance, planar=p.per_slice, box=near)
    return smooth(distance, sigmas, within(box, near))


def _heights(boundaries: NDArray[np.uint8], p: Params, pitch: Voxel3, box: Box) -> NDArray[np.uint8]:
    """The map to flood, in `box`: probabilities on their fixed scale of 0..255, never that of a block."""
    if p.sigma_heights == 0:
        return boundaries[box]
    smoothed = smooth(boundaries.astype(np.float32), _sigmas(p.sigma_heights, p, pitch), box)
    smoothed += np.float32(0.5)
    # A sum of weights a rounding above 1 must not lift 255 to 256, which would wrap to 0.
    return np.minimum(smoothed, np.float32(255), out=smoothed).astype(np.uint8)


def _sigmas(sigma: float, p: Params, pitch: Voxel3) -> tuple[float, float, float]:
    z, y, x = (sigma / s for s in pitch)
    return (0.0 if p.per_slice else z), y, x
