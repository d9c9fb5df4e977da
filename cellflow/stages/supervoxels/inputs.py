"""What supervoxels are cut from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Box
from cellflow.engine.stage import Context, Voxel
from cellflow.engine.store import Array


@dataclass(frozen=True)
class Inputs:
    """The boundary map, the mask if there is one, and the voxel size."""

    boundaries: Array
    mask: Array | None
    voxel_um: Voxel

    def read(self, box: Box) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """Boundaries and mask of a box."""
        mask: NDArray[Any] | None = None if self.mask is None else np.asarray(self.mask[box]) > 0
        return np.asarray(self.boundaries[box]), mask


def inputs_of(context: Context) -> Inputs:
    """The inputs of a sample."""
    masked = "ingest-mask" in context.job.after
    return Inputs(
        context.volume("boundaries"), context.volume("mask") if masked else None, context.voxel_um()
    )
