"""What may be set for supervoxels, and how far a block must look for it."""

from math import ceil
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cellflow.core.grid import Triple
from cellflow.core.schema import Schema, Shape3, Voxel3
from cellflow.core.smoothing import smoothing_radius


class Exact(Schema):
    """Supervoxels of the whole volume: the same bits whatever the blocks, the workers and their order."""

    name: Literal["exact"] = "exact"


class Independent(Schema):
    """Each block on its own, cut at its faces; the result depends on the blocks."""

    name: Literal["independent"] = "independent"
    halo: bool = True
    """Read the voxels around a block as well, so that cells are cut alike on both sides of a face."""


class Mutex(Schema):
    """Mutex watershed of the voxels: merge and forbid pairs by falling strength of the evidence."""

    strides: Shape3 = (2, 4, 4)
    """Of the pairs that are not direct neighbours, take those that begin at every so many voxels along z, y,
    x. Larger: less memory and time, and small objects may be lost."""


class Params(Schema):
    """How a boundary map is cut into supervoxels."""

    mutex: Mutex | None = None
    """Cut affinities by a mutex watershed of all voxels instead: `mutex: {strides: [2, 4, 4]}`. For samples
    that start from affinities, or whose network predicts them; nothing else here applies to it."""

    threshold: float = Field(0.4, ge=0, le=1)
    """Voxels with at least this boundary probability are boundary. Higher: fewer boundaries, so larger
    supervoxels that may leak through gaps."""
    sigma_seeds: float = Field(2.0, ge=0, le=100)
    """Smoothing of the distance map before its maxima are taken as seeds, in voxels (in smallest voxel sides
    if `anisotropic`). Higher: fewer, larger supervoxels."""
    sigma_heights: float = Field(0.0, ge=0, le=100)
    """Smoothing of the boundary map before it is flooded, in the same unit; 0: as it is. Higher: closes
    gaps in boundaries, and displaces thin ones."""
    min_size: int = Field(100, ge=0)
    """Supervoxels of fewer voxels are dissolved and their place is flooded by their neighbours."""
    max_distance: float = Field(16.0, ge=1, le=1000)
    """Distances saturate here, in the unit of `sigma_seeds`; about the radius of a large cell. Lower:
    the wide middle of a larger cell is one flat seed, and a thinner halo is read."""
    anisotropic: bool = True
    """Measure distances with the voxel size, in units of its smallest side; off: voxels count as cubes."""
    per_slice: bool = False
    """Cut each z slice on its own, for stacks whose slices do not continue each other."""
    blocks: Annotated[Exact | Independent, Field(discriminator="name")] = Exact()
    """`exact`: the same supervoxels however the volume is cut into blocks. `independent`: one pass, and
    supervoxels end at the faces of blocks."""

    @model_validator(mode="after")
    def _nothing_beside_mutex(self) -> Self:
        if self.mutex is not None:
            plain = type(self).model_construct()
            changed = [
                n for n in type(self).model_fields if n != "mutex" and getattr(self, n) != getattr(plain, n)
            ]
            if changed:
                raise ValueError(f"{', '.join(changed)} would do nothing beside mutex; leave out one of them")
        return self

    def halo(self, voxel_size_um: Voxel3) -> Triple:
        """Voxels along z, y, x that a block must read beyond its core.

        A distance needs the boundaries within `max_distance`, a smoothed distance those of all voxels
        under the kernel, and the voxel beyond the core is compared with those inside. With the sum of the
        three, all that a supervoxel depends on is that of the whole volume, bit for bit.
        """
        if isinstance(self.blocks, Independent) and not self.blocks.halo:
            return 0, 0, 0
        pitch = self.pitch(voxel_size_um)
        z, y, x = (
            max(
                ceil(self.max_distance / s) + smoothing_radius(self.sigma_seeds / s),
                smoothing_radius(self.sigma_heights / s),
            )
            + 1
            for s in pitch
        )
        return (0 if self.per_slice else z), y, x

    def pitch(self, voxel_size_um: Voxel3) -> Voxel3:
        """Sides of a voxel along z, y, x in units of its smallest side (of the slice, if `per_slice`)."""
        if not self.anisotropic:
            return 1.0, 1.0, 1.0
        z, y, x = voxel_size_um
        unit = min(y, x) if self.per_slice else min(z, y, x)
        return z / unit, y / unit, x / unit
