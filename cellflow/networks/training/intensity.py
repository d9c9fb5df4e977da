"""Change the intensities of a normalised patch (z, y, x)."""

from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cellflow.core.schema import Voxel3

Image = NDArray[np.float32]


def contrast(image: Image, gain: float, offset: float, gamma: float, rng: np.random.Generator) -> Image:
    """Another curve between the darkest and the brightest voxel, then another contrast and level."""
    low, high = float(image.min()), float(image.max())
    if high > low:
        power = exp(gamma * rng.uniform(-1, 1))
        image = np.float32(low) + np.float32(high - low) * ((image - low) / (high - low)) ** np.float32(power)
    return image * np.float32(1 + gain * rng.uniform(-1, 1)) + np.float32(offset * rng.uniform(-1, 1))


def blurred(image: Image, sigma: float, pitch: Voxel3) -> Image:
    """Blurred alike in all directions; `sigma` in units of the finest voxel."""
    found: Image = gaussian_filter(image, [sigma / p for p in pitch])
    return found


def counted(image: Image, photons: float, rng: np.random.Generator) -> Image:
    """As if the brightest voxel had caught so many photons, and the darkest none."""
    low, high = float(image.min()), float(image.max())
    unit = (high - low) / photons
    if not unit:
        return image
    return (rng.poisson((image - low) / unit) * unit + low).astype(np.float32)


def noisy(image: Image, deviation: float, rng: np.random.Generator) -> Image:
    """Plus normal noise."""
    return image + np.float32(deviation) * rng.standard_normal(image.shape, np.float32)


def without_slices(image: Image, share: float, rng: np.random.Generator) -> Image:
    """Some slices as dark as the darkest voxel."""
    found = image.copy()
    found[rng.random(len(image)) < share] = image.min()
    return found
