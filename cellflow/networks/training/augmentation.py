"""What is done to patches so that a network sees more than it is given; each step with its probability.

Steps that move voxels move image and labels alike, labels to the nearest voxel, and what comes from beyond
is ignored; steps that change intensities leave labels alone. A sample's random numbers are its own.
"""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.schema import Schema, Voxel3
from cellflow.networks.training import intensity, movement
from cellflow.networks.training.labels import Labels

Share = Annotated[float, Field(ge=0, le=1)]
Image = NDArray[np.float32]
Moved = tuple[Image, dict[str, Labels]]


class Rotation(Schema):
    """Any angle around z, with interpolation."""

    probability: Share = 0.3
    """How often."""
    degrees: float = Field(45.0, gt=0, le=180)
    """The largest angle."""


class Elastic(Schema):
    """Smooth random displacements, with interpolation."""

    probability: Share = 0.3
    """How often."""
    spacing: float = Field(16.0, ge=4)
    """Distance between places that move independently, in units of the finest voxel."""
    displacement: float = Field(1.5, gt=0, le=50)
    """Standard deviation of their displacements, in units of the finest voxel. Above a third of `spacing`,
    space folds."""


class Intensity(Schema):
    """Brightness and contrast of normalised intensities."""

    probability: Share = 0.5
    """How often."""
    gain: float = Field(0.3, ge=0, lt=1)
    """Contrast is multiplied by up to 1 plus or minus this."""
    offset: float = Field(0.2, ge=0)
    """The largest shift."""
    gamma: float = Field(0.3, ge=0, le=3)
    """Brightness between the darkest and the brightest voxel is raised to a power of up to e to this."""


class Blur(Schema):
    """Gaussian blur."""

    probability: Share = 0.2
    """How often."""
    sigma: float = Field(1.0, gt=0, le=10)
    """The largest standard deviation, in units of the finest voxel."""


class GaussianNoise(Schema):
    """Additive noise."""

    probability: Share = 0.2
    """How often."""
    deviation: float = Field(0.3, gt=0)
    """The largest standard deviation, of normalised intensities."""


class PoissonNoise(Schema):
    """Noise of counting photons."""

    probability: Share = 0.2
    """How often."""
    photons: float = Field(20.0, gt=0)
    """Photons in the brightest voxel of a patch, at the least; at the most ten times as many."""


class MissingSlices(Schema):
    """Slices across z that are dark."""

    probability: Share = 0.0
    """How often."""
    share: float = Field(0.05, gt=0, lt=1)
    """Chance of each slice."""


class Augmentation(Schema):
    """What is done to patches before they are shown; 0 switches a step off."""

    flips: Share = 0.5
    """Chance to mirror, for each axis."""
    turns: Share = 0.5
    """Chance of quarter turns, in every plane of axes with equal voxel size and equal length in a patch."""
    rotation: Rotation = Rotation()
    elastic: Elastic = Elastic()
    intensity: Intensity = Intensity()
    blur: Blur = Blur()
    gaussian_noise: GaussianNoise = GaussianNoise()
    poisson_noise: PoissonNoise = PoissonNoise()
    missing_slices: MissingSlices = MissingSlices()

    def move(
        self, image: Image, labels: Mapping[str, Labels], pitch: Voxel3, rng: np.random.Generator
    ) -> Moved:
        """Image and labels (z, y, x) flipped, turned and warped together, in the shape they had."""
        drawn = movement.draw_axes(self.flips, self.turns, image.shape, pitch, rng)
        moved = movement.by_axes(image, drawn), {k: movement.by_axes(v, drawn) for k, v in labels.items()}
        degrees = self.rotation.degrees * rng.uniform(-1, 1) * (rng.random() < self.rotation.probability)
        size = self.elastic.displacement * (rng.random() < self.elastic.probability)
        if not degrees and not size:
            return moved
        where = movement.places(image.shape, pitch, degrees, (self.elastic.spacing, size), rng)
        return movement.interpolated(moved[0], where), {
            k: movement.nearest(v, where) for k, v in moved[1].items()
        }

    def shade(self, image: Image, pitch: Voxel3, rng: np.random.Generator) -> Image:
        """The image (z, y, x) with other brightness, blur, noise and missing slices; a new array."""
        if rng.random() < self.intensity.probability:
            p = self.intensity
            image = intensity.contrast(image, p.gain, p.offset, p.gamma, rng)
        if rng.random() < self.blur.probability:
            image = intensity.blurred(image, self.blur.sigma * rng.random(), pitch)
        if rng.random() < self.poisson_noise.probability:
            image = intensity.counted(image, self.poisson_noise.photons * 10 ** rng.random(), rng)
        if rng.random() < self.gaussian_noise.probability:
            image = intensity.noisy(image, self.gaussian_noise.deviation * rng.random(), rng)
        if rng.random() < self.missing_slices.probability:
            image = intensity.without_slices(image, self.missing_slices.share, rng)
        return np.ascontiguousarray(image, np.float32)
