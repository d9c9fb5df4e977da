"""Tiles through the network: the next batch is made ready while the one before is computed."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.tiles import Tile
from cellflow.engine.atomic import write
from cellflow.networks.outputs import Setting
from cellflow.networks.spec import ModelSpec
from cellflow.stages.predict.image import Around, Image

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cellflow.networks.session import Session

AHEAD = 1
"""Batches that wait for the network besides the one it computes."""

Kept = NDArray[np.uint8]
"""What a tile keeps: (channel, z, y, x)."""
Shown = tuple[Tile, NDArray[np.float32]]


@dataclass(frozen=True)
class Work:
    """All that a task needs to predict tiles."""

    image: Image
    spec: ModelSpec
    setting: Setting
    batch: int = 1
    """Tiles at once."""

    def session(self) -> "Session":
        """The network of this process, loaded once."""
        from cellflow.networks.session import session  # noqa: PLC0415 - torch takes a second

        return session(self.spec, self.setting)


def predicted(work: Work, running: "Session", tiles: Sequence[Tile]) -> Iterator[tuple[Tile, Kept]]:
    """What the tiles keep, in their order; those where nothing is looked for, or to be seen, are left out.

    The tiles are of one region and in the order of the lattice: the voxels around them are read once.
    """
    waiting: deque[tuple[list[Tile], Future[list[NDArray[Any]]]]] = deque()
    for batch in _batches(shown(work.image, tiles), work.batch):
        images = [image for _, image in batch]
        # Always as many: another size of a batch may give other last bits.
        images += images[-1:] * (work.batch - len(batch))
        together = [tile for tile, _ in batch]
        crops = [tile.crop for tile in together]
        waiting.append((together, running.submit(np.stack(images), together[0].inner, crops)))
        if len(waiting) > AHEAD:
            yield from _done(*waiting.popleft())
    while waiting:
        yield from _done(*waiting.popleft())


def shown(image: Image, tiles: Sequence[Tile]) -> Iterator[Shown]:
    """The tiles that are worth a look, as the network wants them."""
    wanted = [tile for tile in tiles if image.is_wanted(tile)]
    if not wanted:
        return
    around = Around(image, wanted)
    for tile in wanted:
        values = around.tile(tile)
        if not (values == image.background).all():
            yield tile, image.normalised(values, tile)


def save(folder: Path, tile: Tile, kept: Kept) -> None:
    """Keep a tile in a file of its own; whole or absent."""
    write(folder / f"{tile.id}.npy", lambda file: np.save(file, kept))


def load(folder: Path, tile: Tile) -> Kept | None:
    """A tile that was saved, read where it is looked at; None if it was not, as there was nothing to see."""
    try:
        found: Kept = np.load(folder / f"{tile.id}.npy", mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return None
    return found


def _done(tiles: list[Tile], made: "Future[list[NDArray[Any]]]") -> Iterator[tuple[Tile, Kept]]:
    return zip(tiles, made.result(), strict=True)


def _batches(found: Iterable[Shown], size: int) -> Iterator[list[Shown]]:
    """At most `size` at a time, of one shape."""
    batch: list[Shown] = []
    for tile, image in found:
        if batch and (len(batch) == size or batch[0][1].shape != image.shape):
            yield batch
            batch = []
        batch.append((tile, image))
    if batch:
        yield batch
