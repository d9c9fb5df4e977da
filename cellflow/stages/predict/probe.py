"""Before the first block: does the model load, how large may a tile be, how much do tiles differ.

Where memory may be short, others wait for a first tile; where there is plenty, memory is only asked for.
Done once, by a worker, and written down in the journal: a run that goes on later has the same tiles.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple
from cellflow.core.tiles import Lattice, Tile, round_up
from cellflow.engine.stage import Context
from cellflow.networks.budget import TRIES, chosen_batch, chosen_core, shrunk, tile_bytes
from cellflow.stages.predict.image import Around
from cellflow.stages.predict.network import Facts, Network
from cellflow.stages.predict.tiles import Work, predicted, save

if TYPE_CHECKING:
    from cellflow.networks.session import Session

DEFAULT_GB = 8.0
"""Tiles of 176 voxels a side for a U-Net of PlantSeg's size."""

PLENTY = 2
"""A tile is not tried before where so many would fit into the memory that is free."""


@dataclass(frozen=True)
class Probe:
    """The only item of its pass."""

    id: int = 0


@dataclass(frozen=True)
class Asked:
    """What is asked of the first tile."""

    work: Work
    p: Network
    facts: Facts
    saved: Path
    """Folder where the tile that was tried is kept."""

    def at_once(self, batch: int) -> "Asked":
        """The same of so many tiles at once."""
        return replace(self, work=replace(self.work, batch=batch))

    def lattice(self, core: Triple) -> Lattice:
        """The tiles with this core."""
        return self.facts.lattice(self.work.image.shape, self.p, core)


def probe(_: Probe, asked: Asked) -> dict[str, Any]:
    """Digest of the weights, core of a tile, tiles at once; where tiles leave seams: why, how high they are.

    Raises `BadInput` where no tile fits.
    """
    running = asked.work.session()
    because = list(running.model.description.tile_dependent)
    p, facts = asked.p, asked.facts
    if p.halo and any(h < r for h, r in zip(p.halo, facts.reach, strict=True)):
        because.append("a halo of less than its reach")
    # Where predictions depend on the tile, the tile must not depend on the machine.
    device_bytes = None if because else running.device_bytes
    core = first_core(p, facts, asked.work.image.shape, memory_bytes(p, device_bytes))
    batch = first_batch(p, facts, asked.lattice(core), running.device_bytes)
    asked, lattice = _fitting(asked.at_once(batch), running, core)
    return {
        "model": running.model.sha256,
        "core": list(lattice.core),
        "batch": asked.work.batch,
        "because": because,
        "seams": _seams(asked.work, running, lattice) if because else None,
    }


def first_core(p: Network, facts: Facts, shape: Triple, memory: float) -> Triple:
    """The core to begin with: that of the parameters, or the best within so many bytes."""
    if p.tile:
        return p.tile
    return chosen_core(facts.architecture, facts.lattice(shape, p), int(memory), p.batch or 1, p.precision)


def first_batch(p: Network, facts: Facts, lattice: Lattice, device_bytes: float | None) -> int:
    """The tiles at once to begin with: as the parameters say, or what keeps a GPU busy, or one."""
    if p.batch or device_bytes is None:
        return p.batch or 1
    return chosen_batch(facts.architecture, lattice, int(memory_bytes(p, device_bytes)), p.precision)


def memory_bytes(p: Network, device_bytes: float | None = None) -> float:
    """Memory for the largest tile: as given, or three quarters of what a GPU has free, or the default."""
    if p.memory_gb is None and device_bytes is not None:
        return 0.75 * device_bytes
    return (p.memory_gb or DEFAULT_GB) * 2**30


def _fitting(asked: Asked, running: "Session", core: Triple) -> tuple[Asked, Lattice]:
    """Tiles with which a forward pass succeeds: at each try half as many at once, then a quarter shorter."""
    failure = MemoryError()
    for _ in range(TRIES + 1):
        lattice = asked.lattice(core)
        try:
            _try(asked, running, lattice)
        except MemoryError as error:
            failure = error
        else:
            return asked, lattice
        smaller = _smaller(asked, lattice)
        if smaller is None:
            break
        asked, core = smaller
    sides = " x ".join(map(str, lattice.largest_outer))
    raise BadInput(
        f"predictor: a tile of {sides} voxels, its halo included, does not fit into memory ({failure}); use "
        "fewer workers, a smaller tile or halo, or precision bfloat16"
    ) from failure


def _smaller(asked: Asked, lattice: Lattice) -> tuple[Asked, Triple] | None:
    """What to try next, if the parameters leave it open and there is less."""
    if asked.p.batch is None and asked.work.batch > 1:
        return asked.at_once(asked.work.batch // 2), lattice.core
    core = shrunk(lattice.core, lattice.period)
    return None if asked.p.tile or core == lattice.core else (asked, core)


def _try(asked: Asked, running: "Session", lattice: Lattice) -> None:
    """A tile in the middle, in earnest where memory is not plenty; raises `MemoryError` if it is short.

    Linux hands out memory that it has not, so how much is free is asked before.
    """
    need = tile_bytes(asked.facts.architecture, lattice, asked.work.batch, asked.p.precision)
    have = psutil.virtual_memory().available
    if running.device_bytes is None and need > have:
        raise MemoryError(f"it needs about {need / 2**30:.1f} GiB, {have / 2**30:.1f} are free")
    if running.device_bytes is None and PLENTY * need < have:
        np.empty(need, np.uint8)  # a process may be allowed less than is free
        return
    for tile, kept in predicted(asked.work, running, [middle(lattice)]):
        save(asked.saved, tile, kept)


def warnings_of(context: Context, facts: Facts, probed: dict[str, Any]) -> list[str]:
    """What a person should know before trusting the predictions; one line each."""
    found = []
    if seams := probed["seams"]:
        found.append(
            f"tiles leave seams, because of {' and '.join(probed['because'])}: from tile to tile the same "
            f"voxels differ by up to {seams['largest']:.2g} (mean {seams['mean']:.2g}), and "
            f"{seams['crossing']:.2%} of them cross 0.5; a larger tile, or blending gaussian, hides some of "
            "it"
        )
    here, there = context.voxel_um(), facts.voxel_um
    axes = range(3 - facts.architecture.dims, 3)
    known = context.result("ingest-raw")["voxel_size_known"]
    if there and known and any(not 0.8 <= here[a] / there[a] <= 1.25 for a in axes):
        sizes, trained = (" x ".join(f"{size:g}" for size in voxel) for voxel in (here, there))
        found.append(
            f"voxels are {sizes} um, the network was trained on {trained} um, and nothing is rescaled; "
            "resample the volume, or take another network"
        )
    return found


def middle(lattice: Lattice) -> Tile:
    """The tile in the middle; never the last one along an axis that has several."""
    z, y, x = ((count - 1) // 2 for count in lattice.counts)
    return lattice[int(np.ravel_multi_index((z, y, x), lattice.counts))]


def _seams(work: Work, running: "Session", lattice: Lattice) -> dict[str, float] | None:
    """How differently the same voxels are predicted in the middle tile and in one half a tile farther.

    Largest and mean difference of probabilities, and the share that crosses 0.5. None if there is one tile.
    """
    tile = middle(lattice)
    places = [moved for axis in range(3) for moved in _moved(tile, lattice, axis)]
    if not places:
        return None
    pairs = [[_probabilities(work, running, one) for one in both] for both in places]
    here, there = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    difference, crossing = np.abs(here - there), (here > 0.5) != (there > 0.5)
    found = {"largest": difference.max(), "mean": difference.mean(), "crossing": crossing.mean()}
    return {name: round(float(value), 6) for name, value in found.items()}


def _moved(tile: Tile, lattice: Lattice, axis: int) -> list[tuple[Tile, Tile]]:
    """The tile, and one half a tile farther, both with the voxels that they have in common; none if alone."""
    step = round_up(lattice.core[axis] // 2, lattice.period[axis])
    common, outer = list(tile.kept), list(tile.outer)
    common[axis] = slice(tile.kept[axis].start + step, tile.kept[axis].stop)
    outer[axis] = range(tile.outer[axis].start + step, tile.outer[axis].stop + step)
    if lattice.counts[axis] == 1 or common[axis].start >= common[axis].stop:
        return []
    (z, y, x), (oz, oy, ox) = common, outer
    here = replace(tile, kept=(z, y, x))
    return [(here, replace(here, outer=(oz, oy, ox)))]


def _probabilities(work: Work, running: "Session", tile: Tile) -> NDArray[np.float32]:
    image = work.image.normalised(Around(work.image, [tile]).tile(tile), tile)
    images = np.stack([image] * work.batch)
    found: NDArray[np.float32]
    (found,) = running.submit(images, tile.inner, [tile.crop], as_bytes=False).result()
    return found.ravel()
