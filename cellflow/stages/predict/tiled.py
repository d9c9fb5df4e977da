"""Predict a volume with a network: one lattice of tiles, whatever the blocks, each tile computed once.

1. `probe`: load the model, find the tile.
2. `blocks`: where tiles divide the blocks, each block computes its own. Otherwise `tiles` goes before: the
   tiles that begin in a block are computed and saved, and `blocks` puts them together.
3. `pairs`: of affinities alone, boundaries from pairs of direct neighbours, read back with a halo of one.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cellflow.core.affinities import boundary_map, is_direct, require_direct
from cellflow.core.grid import Block, Grid, Triple
from cellflow.core.tiles import Lattice, Profile, assembled
from cellflow.engine import store
from cellflow.engine.pyramid import Target
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, Fitted
from cellflow.networks.outputs import Outputs, Setting
from cellflow.stages.predict.image import image_of
from cellflow.stages.predict.network import Network, facts_of, tile_note
from cellflow.stages.predict.probe import Asked, Probe, probe, warnings_of
from cellflow.stages.predict.tiles import Kept, Work, load, predicted, save

FEW = 64
"""Up to so many tiles, each is a task of its own: a small volume need not wait for one worker."""
HALO = (1, 1, 1)
"""A boundary is a matter of direct neighbours."""
log = logging.getLogger("cellflow")


@dataclass(frozen=True)
class Lot:
    """Some tiles of one region: one task."""

    id: int
    tiles: tuple[int, ...]


@dataclass(frozen=True)
class Goal:
    """Where predictions go, and how tiles become blocks."""

    lattice: Lattice
    profile: Profile
    saved: Path
    mask: Array | None
    targets: tuple[Target, ...]
    """One for each channel."""


def run_network(context: Context, p: Network) -> dict[str, Any]:
    """Write the volumes of the heads with their pyramids, and affinities as files `0`, `1`, ... beside."""
    facts, like = facts_of(p, context.job.image), context.fitted()
    if facts.outputs.offsets:
        require_direct(facts.outputs.offsets, like.shape, "predictor")
    image = image_of(context, facts.normalisation)
    work = Work(image, p.spec, Setting(facts.outputs, p.device, p.precision, p.flips, p.compile))
    saved = context.scratch("tiles")
    (probed,) = context.map("probe", partial(probe, asked=Asked(work, p, facts, saved)), [Probe()])
    work = replace(work, batch=probed["batch"])
    lattice = facts.lattice(like.shape, p, tuple(probed["core"]))
    warnings = warnings_of(context, facts, probed)
    _say(context, [tile_note(lattice)], warnings + _slow(p))
    goal = Goal(lattice, p.profile, saved, image.mask, _targets(context, facts.outputs, like))
    return _written(context, facts.outputs, goal, _predicted(context, work, goal)) | {
        "model": probed["model"],
        "tile": list(lattice.core),
        "halo": list(lattice.margin),
        "tiles": len(lattice),
        "seams": probed["seams"],
        "warnings": warnings,
    }


def lots_of(lattice: Lattice, grid: Grid, batch: int) -> list[Lot] | None:
    """The tasks that compute tiles; None where each block computes its own, as no tile crosses its faces.

    They depend on the volume, the tile and the blocks, not on the workers: what is finished stays so.
    """
    few = len(lattice) <= FEW
    if lattice.divides(grid.starts) and not any(lattice.overlap) and (len(lattice) <= len(grid) or not few):
        return None
    numbers = range(0, len(lattice), batch)
    if few:
        return [Lot(i, tuple(range(k, min(k + batch, len(lattice))))) for i, k in enumerate(numbers)]
    return [Lot(b.id, tuple(tile.id for tile in lattice.owned(b.core))) for b in grid]


def _predicted(context: Context, work: Work, goal: Goal) -> list[dict[str, Any]]:
    """The parts of all blocks: for each channel its checksum and its sum."""
    grid = context.fitted().grid()
    lots = lots_of(goal.lattice, grid, work.batch)
    if lots is None:
        return context.map("blocks", partial(_own, work=work, goal=goal), grid)
    context.map("tiles", partial(_lot, work=work, goal=goal), lots)
    return context.map("blocks", partial(_joined, goal=goal), grid)


def _own(block: Block, work: Work, goal: Goal) -> dict[str, Any]:
    tiles = goal.lattice.owned(block.core)
    known = {tile.id: kept for tile in tiles if (kept := load(goal.saved, tile)) is not None}
    todo = [tile for tile in tiles if tile.id not in known]
    known |= {tile.id: kept for tile, kept in predicted(work, work.session(), todo)}
    return _block(block, known, goal)


def _lot(lot: Lot, work: Work, goal: Goal) -> dict[str, Any]:
    tiles = [goal.lattice[number] for number in lot.tiles]
    todo = [tile for tile in tiles if load(goal.saved, tile) is None]
    for tile, kept in predicted(work, work.session(), todo):
        save(goal.saved, tile, kept)
    return {}


def _joined(block: Block, goal: Goal) -> dict[str, Any]:
    tiles = goal.lattice.touching(block.core)
    known = {tile.id: kept for tile in tiles if (kept := load(goal.saved, tile)) is not None}
    return _block(block, known, goal)


def _block(block: Block, known: Mapping[int, Kept], goal: Goal) -> dict[str, Any]:
    """Write a block from its tiles; where there is none, and outside the mask, there is 0."""
    tiles = [tile for tile in goal.lattice.touching(block.core) if tile.id in known]
    outside = None if goal.mask is None else np.asarray(goal.mask[block.core]) == 0
    crcs, sums = [], []
    for channel, target in enumerate(goal.targets):
        kept = ((tile, known[tile.id][channel]) for tile in tiles)
        values = assembled(kept, goal.lattice, block.core, goal.profile)
        if outside is not None:
            values[outside] = 0
        crcs.append(target.write(block.core, values))
        sums.append(int(values.sum(dtype=np.int64)))
    return {"crcs": crcs, "sums": sums}


def _targets(context: Context, outputs: Outputs, like: Fitted) -> tuple[Target, ...]:
    maps = [context.create(volume, like, np.uint8, "intensity") for volume in outputs.volumes]
    paths = [context.output(str(k)) for k in range(len(outputs.offsets))]
    files = [store.open_or_create(path, like, np.uint8, "intensity") for path in paths]
    return (*maps, *(Target(file, "intensity") for file in files))


def _written(context: Context, outputs: Outputs, goal: Goal, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Boundaries and pyramids are written too; what the receipt says of the volumes."""
    checksums = [_checksum(parts, k) for k in range(len(goal.targets))]
    maps, pairs = checksums[: len(outputs.maps)], checksums[len(outputs.maps) :]
    found = dict(zip(outputs.volumes, maps, strict=True))
    total = sum(part["sums"][0] for part in parts)
    main = "boundaries" if outputs.offsets else outputs.volumes[0]
    if main not in found:
        channels = tuple(target.full for target in goal.targets[len(outputs.maps) :])
        steps = _pairs(context, outputs.offsets, channels)
        found["boundaries"], total = store.checksum(steps), sum(part["sum"] for part in steps)
    for volume in found:
        context.pyramid(volume)
    mean = total / 255 / np.prod(goal.lattice.shape)
    about = {"mean": round(float(mean), 6), "checksum": found.pop(main), "checksums": found}
    if outputs.offsets:
        about |= {"offsets": [list(step) for step in outputs.offsets], "channel_checksums": pairs}
    return about


def _pairs(
    context: Context, offsets: tuple[Triple, ...], channels: tuple[Array, ...]
) -> list[dict[str, Any]]:
    like = context.fitted()
    direct = [
        (step, channel)
        for step, channel, near in zip(offsets, channels, is_direct(offsets), strict=True)
        if near
    ]
    target = context.create("boundaries", like, np.uint8, "intensity")
    return context.map("pairs", partial(_pairs_block, direct=direct, target=target), like.grid(HALO))


def _pairs_block(block: Block, direct: list[tuple[Triple, Array]], target: Target) -> dict[str, Any]:
    around = [np.asarray(channel[block.outer]) for _, channel in direct]
    z, y, x = around[0].shape
    values = boundary_map(around, [step for step, _ in direct], (z, y, x))[block.crop]
    return {"crc": target.write(block.core, values), "sum": int(values.sum(dtype=np.int64))}


def _checksum(parts: list[dict[str, Any]], channel: int) -> str:
    return store.checksum([{"crc": part["crcs"][channel]} for part in parts])


def _slow(p: Network) -> list[str]:
    """What is said of this machine: not in the receipt, which is the same on all."""
    if p.precision == "float32":
        return []
    from cellflow.networks.device import slow  # noqa: PLC0415 - torch takes a second

    return slow(p.device, p.precision)


def _say(context: Context, notes: list[str], warnings: list[str]) -> None:
    name = f"{context.job.folder.name} {context.job.name}"
    for line in notes:
        log.info("%s: %s", name, line)
    for line in warnings:
        log.warning("%s: %s", name, line)
