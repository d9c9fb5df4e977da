"""Random numbers and smooth random fields that depend on where they are asked, not on who asks.

A draw is a hash of (seed, stream, z, y, x): a counter-based generator, so any part of an infinite random
field can be computed alone, in any order, with the same bits. The mixing function is the finaliser of
splitmix64 (Steele, Lea and Flood, OOPSLA 2014). Streams keep the fields of one seed apart.

Only additions, products, quotients and square roots are used in the kernels, which IEEE 754 rounds in one
way everywhere; tables made with other functions are rounded far above their last bit.
"""

from functools import lru_cache
from math import ceil, exp
from statistics import NormalDist

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@njit(cache=True, nogil=True, inline="always")
def mix(state: np.uint64, word: int) -> np.uint64:
    """A 64-bit hash of a hash and one more word, which may be negative."""
    h = (state ^ np.uint64(word)) + np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True, nogil=True)
def three_uniforms(key: np.uint64, z: int, y: int, x: int) -> tuple[float, float, float]:
    """Three numbers in [-1, 1) with 21 random bits each, for the lattice point (z, y, x) of a stream."""
    h = mix(mix(mix(key, z), y), x)
    low = np.uint64(0x1FFFFF)
    unit = 1.0 / 1048576.0
    a = np.float64(h & low) * unit - 1.0
    b = np.float64((h >> np.uint64(21)) & low) * unit - 1.0
    c = np.float64((h >> np.uint64(42)) & low) * unit - 1.0
    return a, b, c


@njit(cache=True, nogil=True)
def smooth_noise(key: np.uint64, z: float, y: float, x: float) -> tuple[float, float, float]:
    """Three independent smooth fields in [-1, 1] at a point, in units of their wavelength.

    Value noise (K. Perlin 1985, simplified): uniform numbers at integer points, joined by a cubic with
    zero slope at them, so the field is C1.
    """
    z0, y0, x0 = np.int64(np.floor(z)), np.int64(np.floor(y)), np.int64(np.floor(x))
    tz, ty, tx = z - z0, y - y0, x - x0
    tz, ty, tx = tz * tz * (3 - 2 * tz), ty * ty * (3 - 2 * ty), tx * tx * (3 - 2 * tx)
    a = b = c = 0.0
    for k in range(2):
        wz = tz if k else 1 - tz
        for j in range(2):
            wy = wz * (ty if j else 1 - ty)
            for i in range(2):
                w = wy * (tx if i else 1 - tx)
                ua, ub, uc = three_uniforms(key, z0 + k, y0 + j, x0 + i)
                a += w * ua
                b += w * ub
                c += w * uc
    return a, b, c


@njit(cache=True, nogil=True)
def stream_key(seed: int, stream: int) -> np.uint64:
    """The hash from which all draws of one stream of a seed start. For kernels: Python would get an int."""
    key: np.uint64 = mix(mix(np.uint64(0), seed), stream)
    return key


@njit(cache=True, nogil=True)
def blur_planes(signal: Floats, y_taps: Floats, x_taps: Floats) -> Floats:
    """Every plane correlated with `y_taps`, then `x_taps`; 2r + 1 taps cost r voxels at both ends."""
    nz, ny, nx = signal.shape[0], signal.shape[1] - y_taps.size + 1, signal.shape[2] - x_taps.size + 1
    out = np.zeros((nz, ny, nx), np.float32)
    row = np.empty(signal.shape[2], np.float32)
    for z in range(nz):
        for y in range(ny):
            row[:] = np.float32(0)
            for i in range(y_taps.size):
                for x in range(row.size):
                    row[x] += y_taps[i] * signal[z, y + i, x]
            for i in range(x_taps.size):
                for x in range(nx):
                    out[z, y, x] += x_taps[i] * row[x + i]
    return out


@njit(cache=True, nogil=True)
def count_photons(
    signal: Floats,
    taps: Floats,
    photons: float,
    gain: float,
    offset: float,
    seed: int,
    stream: int,
    corner: tuple[int, int, int],
    normal: Floats,
) -> NDArray[np.uint16]:
    """(Z - 2r, Y, X) camera counts of `signal` blurred along z by `taps`, with shot noise.

    The noise is `(sqrt(m) + g / 2)**2 - 1/4` of the mean photon number m and a normal number g: mean and
    variance m (+ 1/8), skewed as a Poisson number is (the inverse of Anscombe's transform, Biometrika
    1948). One draw per voxel, from its coordinates in the volume; `corner` is the first voxel's. `normal`
    is `normal_table()`.
    """
    key = stream_key(seed, stream)
    nz, ny, nx = signal.shape[0] - taps.size + 1, signal.shape[1], signal.shape[2]
    out = np.empty((nz, ny, nx), np.uint16)
    row = np.empty(nx, np.float32)
    for z in range(nz):
        for y in range(ny):
            row[:] = np.float32(0)
            for i in range(taps.size):
                for x in range(nx):
                    row[x] += taps[i] * signal[z + i, y, x]
            line = mix(mix(key, z + corner[0]), y + corner[1])
            for x in range(nx):
                h = mix(line, x + corner[2])
                k = np.int64(h >> np.uint64(52))
                t = np.float64((h >> np.uint64(28)) & np.uint64(0xFFFFFF)) / 16777216.0
                g = normal[k] * (1 - t) + normal[k + 1] * t
                root = max(np.sqrt(photons * row[x]) + 0.5 * g, 0.0)
                counts = offset + gain * max(root * root - 0.25, 0.0)
                out[z, y, x] = np.uint16(min(counts + 0.5, 65535.0))
    return out


@lru_cache(maxsize=1)
def normal_table() -> Floats:
    """4097 quantiles of the standard normal distribution; linear interpolation between them draws from it."""
    ends = NormalDist().inv_cdf(1 / 16384)
    inner = [NormalDist().inv_cdf(i / 4096) for i in range(1, 4096)]
    return _rounded(np.array([ends, *inner, -ends]), 2**16)


def gaussian_taps(sigma: float) -> Floats:
    """Weights of a Gaussian of `sigma` voxels cut at three sigma; their sum is 1 to within 1e-5."""
    reach = ceil(3 * sigma)
    weights = np.array([exp(-0.5 * (i / sigma) ** 2) if sigma else 1.0 for i in range(-reach, reach + 1)])
    return _rounded(weights / weights.sum(), 2**20)


def _rounded(values: NDArray[np.float64], parts: int) -> Floats:
    """Multiples of 1 / parts, so that the last bits of a mathematical library do not show."""
    return np.asarray(np.round(values * parts) / parts, np.float32)
