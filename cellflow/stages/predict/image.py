"""What a network is shown: raw voxels, normalised by the whole volume, mirrored only beyond the volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Box, Triple, box_shape
from cellflow.core.histogram import Bins
from cellflow.core.tiles import Tile, filled, mirrored, needed
from cellflow.engine.histograms import load_histograms
from cellflow.engine.stage import Context
from cellflow.engine.store import Array
from cellflow.networks.normalisation import Fixed, MeanStd, Normalisation


@dataclass(frozen=True)
class Image:
    """The raw volume, what makes its voxels comparable, and where something is looked for."""

    raw: Array
    offset: NDArray[np.float32]
    """One number, or one for each z slice."""
    scale: NDArray[np.float32]
    background: float
    """The lowest voxel of the volume: where there is nothing else, nothing is predicted."""
    mask: Array | None = None

    @property
    def shape(self) -> Triple:
        """Voxels along z, y, x."""
        z, y, x = self.raw.shape
        return z, y, x

    def normalised(self, values: NDArray[Any], tile: Tile) -> NDArray[np.float32]:
        """The outer box of a tile as the network wants it."""
        offset, scale = self.offset, self.scale
        if len(offset) > 1:
            z = mirrored(tile.outer[0], self.shape[0])
            offset, scale = offset[z], scale[z]
        found: NDArray[np.float32] = values.astype(np.float32)
        found -= offset[:, None, None]
        found /= scale[:, None, None]
        return found

    def is_wanted(self, tile: Tile) -> bool:
        """Whether any voxel that the tile keeps is in the mask."""
        return self.mask is None or bool(np.asarray(self.mask[tile.kept]).any())


class Around:
    """The raw voxels around some tiles, in memory; planes are read when a tile first needs them.

    Tiles come in the order of the lattice, so that z only grows, and the network works meanwhile.
    """

    def __init__(self, image: Image, tiles: Sequence[Tile]) -> None:
        self._image = image
        self._box = _hull([needed(tile.outer, image.shape) for tile in tiles])
        self._values = np.empty(box_shape(self._box), image.raw.dtype)
        self._read = 0

    def tile(self, tile: Tile) -> NDArray[Any]:
        """The raw voxels of a tile's outer box, mirrored beyond the volume."""
        shape = self._image.shape
        z, y, x = self._box
        stop = needed(tile.outer, shape)[0].stop - z.start
        if stop > self._read:
            planes = slice(z.start + self._read, z.start + stop)
            self._values[self._read : stop] = self._image.raw[planes, y, x]
            self._read = stop
        return filled(self._values, (z.start, y.start, x.start), tile.outer, shape)


def image_of(context: Context, expected: Normalisation) -> Image:
    """The volume that a job looks at as a network of this normalisation wants it."""
    normalise = context.job.name.replace("predict", "normalise", 1)
    bins, counts = load_histograms(context.file(normalise, "histograms"))
    pairs = np.array([_offset_scale(expected, bins, row) for row in counts], np.float32)
    masked = "ingest-mask" in context.job.after
    return Image(
        raw=context.volume(context.job.image),
        offset=pairs[:, 0],
        scale=pairs[:, 1],
        background=context.result(f"ingest-{context.job.image}")["min"],
        mask=context.volume("mask") if masked else None,
    )


def _offset_scale(expected: Normalisation, bins: Bins, counts: NDArray[np.int64]) -> tuple[float, float]:
    if isinstance(expected, Fixed):
        return expected.offset, expected.scale
    if isinstance(expected, MeanStd):
        return bins.standard(counts)
    return bins.between(counts, expected.low, expected.high)


def _hull(boxes: Sequence[Box]) -> Box:
    z, y, x = (
        slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes)) for axis in range(3)
    )
    return z, y, x
