"""Bright sheets in a volume: what finds stained membranes without a network.

Sharpness: at a membrane intensity bends down strongly in one direction, so the smallest eigenvalue of the
Hessian, the curvature across the sheet, is far below zero. The strongest answer over the scales is taken
(Lindeberg's normalisation, sigma squared). After Frangi et al. 1998 and Sato et al. 2000.

Brightness: where membranes meet, and inside a thick wall, nothing bends down; but they are brighter than
their surroundings. Both are measured against the contrast of the surroundings, so that a faint
membrane in a dim corner counts as much as a strong one (local contrast normalisation, Jarrett et al. 2009).
"""

from math import acos, cos, pi, sqrt

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.schema import Voxel3
from cellflow.core.smoothing import smooth, smoothing_radius


def ridge_radius(sigmas: tuple[float, ...], pitch: Voxel3) -> tuple[int, int, int]:
    """How far `ridge` looks along z, y, x, in voxels: the smoothing of the largest scale and one voxel."""
    z, y, x = (smoothing_radius(max(sigmas) / p) + 1 for p in pitch)
    return z, y, x


def contrast_radius(sigmas: tuple[float, ...], window: float, pitch: Voxel3) -> tuple[int, int, int]:
    """How far `ridge_contrast` looks along z, y, x, in voxels: as `ridge` or the window, if wider."""
    z, y, x = (
        max(r, smoothing_radius(window / p)) for r, p in zip(ridge_radius(sigmas, pitch), pitch, strict=True)
    )
    return z, y, x


def ridge_contrast(
    volume: NDArray[np.float32],
    sigmas: tuple[float, ...],
    window: float,
    least_contrast: float,
    pitch: Voxel3,
) -> NDArray[np.float32]:
    """How much `volume` (z, y, x; normalised) looks like a bright membrane, in units of the local contrast.

    The sum of sharpness (`ridge`), of brightness above one standard deviation below the mean of the
    surroundings, divided by that deviation and `least_contrast`; never below 0. Nearly 0 in a constant image,
    about 1 in pure noise, 1.5 to 3 on membranes. Brightness is smoothed by the finest of `sigmas`; the
    surroundings are a Gaussian of `window`. Lengths are in units of the finest voxel, and `pitch` is the
    voxel size in that unit. A voxel further than `contrast_radius` from the border has the same bits in
    every larger array. Memory: 16 B a voxel beside the input.
    """
    found = ridge(volume, sigmas, pitch)
    mean = _smoothed(volume, window, pitch)
    square = smooth(np.square(volume, dtype=np.float32, order="C"), _sigmas(window, pitch, volume.shape))
    fine = _smoothed(volume, min(sigmas), pitch)
    _compare(found.ravel(), fine.ravel(), mean.ravel(), square.ravel(), np.float32(least_contrast))
    return found


def ridge(volume: NDArray[np.float32], sigmas: tuple[float, ...], pitch: Voxel3) -> NDArray[np.float32]:
    """How sharply `volume` (z, y, x; normalised) bends down across a bright sheet, >= 0.

    `sigmas` are the scales in units of the finest voxel, about half the width of the membrane; `pitch` is
    the voxel size in the same unit. Along an axis of one voxel the image counts as constant. A voxel
    further than `ridge_radius` from the border has the same bits in every larger array. Memory: 8 B a
    voxel beside the input; 7 million voxels a second and scale.
    """
    best = np.zeros(volume.shape, np.float32)
    for sigma in sigmas:
        smoothed = _smoothed(volume, sigma, pitch)
        _strongest(smoothed, np.float64(sigma), np.array(pitch, np.float64), best)
    return best


def _smoothed(volume: NDArray[np.float32], sigma: float, pitch: Voxel3) -> NDArray[np.float32]:
    return smooth(np.array(volume, np.float32, order="C"), _sigmas(sigma, pitch, volume.shape))


def _sigmas(sigma: float, pitch: Voxel3, shape: tuple[int, ...]) -> tuple[float, float, float]:
    """In voxels; none along an axis of one voxel."""
    z, y, x = (sigma / p if n > 1 else 0.0 for p, n in zip(pitch, shape, strict=True))
    return z, y, x


@numba.njit(cache=True, nogil=True)
def _compare(
    found: NDArray[np.float32],
    fine: NDArray[np.float32],
    mean: NDArray[np.float32],
    square: NDArray[np.float32],
    least: np.float32,
) -> None:
    """Turn sharpness in `found` into sharpness and brightness in units of the local contrast."""
    zero = np.float32(0)
    for i in range(found.size):
        spread = np.sqrt(max(square[i] - mean[i] * mean[i], zero))
        found[i] = max(found[i] + (fine[i] - mean[i]) + spread, zero) / (spread + least)


@numba.njit(cache=True, nogil=True)
def _strongest(
    image: NDArray[np.float32], sigma: float, pitch: NDArray[np.float64], best: NDArray[np.float32]
) -> None:
    """Raise `best` to the answer at one scale, by central differences; the border voxel is repeated."""
    nz, ny, nx = image.shape
    sz, sy, sx = sigma / pitch[0], sigma / pitch[1], sigma / pitch[2]
    for z in range(nz):
        z0, z1 = max(z - 1, 0), min(z + 1, nz - 1)
        for y in range(ny):
            y0, y1 = max(y - 1, 0), min(y + 1, ny - 1)
            for x in range(nx):
                x0, x1 = max(x - 1, 0), min(x + 1, nx - 1)
                centre = 2.0 * image[z, y, x]
                zz = (image[z0, y, x] + image[z1, y, x] - centre) * sz * sz
                yy = (image[z, y0, x] + image[z, y1, x] - centre) * sy * sy
                xx = (image[z, y, x0] + image[z, y, x1] - centre) * sx * sx
                zy = (image[z1, y1, x] - image[z1, y0, x] - image[z0, y1, x] + image[z0, y0, x]) * sz * sy / 4
                zx = (image[z1, y, x1] - image[z1, y, x0] - image[z0, y, x1] + image[z0, y, x0]) * sz * sx / 4
                yx = (image[z, y1, x1] - image[z, y1, x0] - image[z, y0, x1] + image[z, y0, x0]) * sy * sx / 4
                answer = np.float32(-_smallest_eigenvalue(zz, yy, xx, zy, zx, yx))
                best[z, y, x] = max(best[z, y, x], answer)


@numba.njit(cache=True, nogil=True)
def _smallest_eigenvalue(a: float, b: float, c: float, d: float, e: float, f: float) -> float:
    """Of the symmetric matrix with diagonal a, b, c and off-diagonal d (ab), e (ac), f (bc); Smith 1961."""
    off = d * d + e * e + f * f
    if off == 0.0:
        return min(a, b, c)
    mean = (a + b + c) / 3
    p, q, r = a - mean, b - mean, c - mean
    scale = sqrt((p * p + q * q + r * r + 2 * off) / 6)
    p, q, r, d, e, f = p / scale, q / scale, r / scale, d / scale, e / scale, f / scale
    half_det = (p * (q * r - f * f) - d * (d * r - f * e) + e * (d * f - q * e)) / 2
    angle = acos(min(1.0, max(-1.0, half_det))) / 3
    return mean + 2 * scale * cos(angle + 2 * pi / 3)
