"""Predict a volume that fits into memory, tile by tile.

The one place where self-training asks a network; the stage `predict` is the same for volumes of any size.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Grid, Triple
from cellflow.networks.training.validation import boundaries

if TYPE_CHECKING:
    from cellflow.networks.model import Model

TILE = (64, 128, 128)
"""Voxels of a tile without its halo."""


def predicted_boundaries(
    model: "Model", image: NDArray[np.float32], tile: Triple = TILE
) -> NDArray[np.uint8] | None:
    """Boundary probability x 255 of a normalised image (z, y, x); None if the network predicts none.

    Tiles read as much of their neighbours as the network sees and start at whole poolings, so a network
    without tile-dependent layers leaves no seams. The volume is mirrored at its border up to whole poolings.
    Costs the memory of the image, of the result and of one tile in the network.
    """
    known = model.description
    step = tuple(-(-t // p) * p for t, p in zip(tile, known.pooling, strict=True))
    halo = tuple(-(-r // p) * p for r, p in zip(known.reach, known.pooling, strict=True))
    beyond = [(0, -n % p) for n, p in zip(image.shape, known.pooling, strict=True)]
    padded = np.pad(image, beyond, mode="symmetric")
    out = np.zeros(padded.shape, np.uint8)
    for block in Grid(_triple(padded.shape), _triple(step), _triple(halo)):
        made = model(padded[block.outer][None, None])
        found = boundaries({name: maps[0] for name, maps in made.items()}, known.heads)
        if found is None:
            return None
        out[block.core] = found[block.crop]
    z, y, x = image.shape
    return np.ascontiguousarray(out[:z, :y, :x])


def _triple(values: tuple[int, ...]) -> Triple:
    z, y, x = values
    return z, y, x
