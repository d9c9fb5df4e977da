"""Volumes with coarser levels below them, written two levels at a time.

A block has its voxels in memory as it writes them, so the next level costs it no reading::

    level   0 1  |  2 3  |  4 5      blocks of the stage write 0 and 1; a pass over 1 writes 2 and 3, ...

A level is written beside the finer one only where no two blocks would share a shard of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cellflow.core.downsample import mean, mode
from cellflow.core.grid import Block, Box, Grid, Triple
from cellflow.core.schema import Voxel3
from cellflow.engine import store
from cellflow.engine.journal import Part

SMALLEST_LEVEL = 128
"""A pyramid ends when a level fits a cube of this edge."""

Walk = Callable[[str, Callable[[Any], Part], Grid], Any]
"""Runs a task over blocks; the name tells the passes of a stage apart."""


@dataclass(frozen=True)
class Level:
    """One level of a pyramid: its shape, and how many voxels of level 0 lie along z, y, x of one voxel."""

    shape: Triple
    factor: Triple


@dataclass(frozen=True)
class Target:
    """A volume that blocks write: a level, and beside it the next coarser one if there is one."""

    full: store.Array
    kind: store.Kind
    step: Triple = (1, 1, 1)
    coarser: store.Array | None = None

    def write(self, core: Box, data: NDArray[Any]) -> int:
        """Write one core and flush it to disk; the checksum of its voxels, as `store.write_block` has it."""
        crc = store.write_block(self.full, core, data)
        if self.coarser is not None:
            fewer = (slice(s.start // k, -(-s.stop // k)) for s, k in zip(core, self.step, strict=True))
            z, y, x = fewer
            store.write_block(self.coarser, (z, y, x), downsampled(data, self.step, self.kind))
        return crc


@dataclass(frozen=True)
class Pyramid:
    """The levels of one volume, in the folders 0, 1, ... of `folder`."""

    folder: Path
    kind: store.Kind
    storage: store.Storage
    voxel_um: Voxel3
    levels: tuple[Level, ...]

    def create(self, first: int, like: store.Fitted, dtype: DTypeLike) -> Target:
        """A level to write, and the next one where blocks may; what is there of them is kept."""
        full = store.open_or_create(self.folder / str(first), like, dtype, self.kind)
        storage = self._next(first)
        if storage is None:
            return Target(full, self.kind)
        after = storage.fitted(self.levels[first + 1].shape)
        coarser = store.open_or_create(self.folder / str(first + 1), after, dtype, self.kind)
        return Target(full, self.kind, self._step(first), coarser)

    def complete(self, walk: Walk) -> None:
        """Write the levels that the blocks of the first have not written."""
        dtype = store.open_read(self.folder / "0").dtype
        last = 1 if self._next(0) else 0
        while last + 1 < len(self.levels):
            finer, step = store.open_read(self.folder / str(last)), self._step(last)
            like = self._passes.fitted(self.levels[last + 1].shape)
            target = self.create(last + 1, like, dtype)
            task = partial(_coarsen, finer=finer, target=target, step=step)
            walk(f"{self.folder.name} level {last + 1}", task, like.grid())
            last += 2 if target.coarser is not None else 1

    def _next(self, level: int) -> store.Storage | None:
        """How the level after this one is cut, if it is written beside it."""
        if level + 1 == len(self.levels):
            return None
        return beside(self._passes if level else self.storage, self._step(level))

    @property
    def _passes(self) -> store.Storage:
        """Smaller blocks than those of the stage, as levels are small: they still keep all workers busy."""
        return self._next(0) or self.storage

    def _step(self, first: int) -> Triple:
        """Voxels of a level in one voxel of the next."""
        finer, coarser = self.levels[first].factor, self.levels[first + 1].factor
        z, y, x = (b // a for a, b in zip(finer, coarser, strict=True))
        return z, y, x


def levels(shape: Triple, voxel_um: Voxel3) -> tuple[Level, ...]:
    """The levels of a pyramid, full size first: halve the axes that are finest, until it is small.

    An axis joins the halving once its voxels are no coarser than the finest axis' next ones, so that
    voxels become cubes and stay so.
    """
    found = [Level(shape, (1, 1, 1))]
    while max(found[-1].shape) > SMALLEST_LEVEL:
        size = [v * f for v, f in zip(voxel_um, found[-1].factor, strict=True)]
        halve = [s < 1.5 * min(size) and n > 1 for s, n in zip(size, found[-1].shape, strict=True)]
        if not any(halve):
            halve = [n > 1 for n in found[-1].shape]
        step = [2 if h else 1 for h in halve]
        z, y, x = (-(-n // k) for n, k in zip(found[-1].shape, step, strict=True))
        fz, fy, fx = (f * k for f, k in zip(found[-1].factor, step, strict=True))
        found.append(Level((z, y, x), (fz, fy, fx)))
    return tuple(found)


def beside(storage: store.Storage, step: Triple) -> store.Storage | None:
    """How the next level is cut if the same blocks write it; None if two of them would share a shard."""
    shard = storage.shard or storage.block
    if any(s % (k * c) for s, k, c in zip(shard, step, storage.chunk, strict=True)):
        return None
    (bz, by, bx), (sz, sy, sx) = (
        (n // k for n, k in zip(side, step, strict=True)) for side in (storage.block, shard)
    )
    return store.Storage(block=(bz, by, bx), shard=(sz, sy, sx), chunk=storage.chunk)


def downsampled(values: NDArray[Any], step: Triple, kind: store.Kind) -> NDArray[Any]:
    """The next coarser level of some voxels: means of intensities, commonest labels."""
    return mode(values, step) if kind == "labels" else mean(values, step)


def _coarsen(block: Block, finer: store.Array, target: Target, step: Triple) -> Part:
    """Write one block of a coarser level, read a chunk at a time: memory follows the block it writes."""
    out = np.empty([s.stop - s.start for s in block.core], finer.dtype)
    chunk = target.full.chunks
    for piece in store.Fitted(out.shape, chunk, chunk, chunk).grid():
        z, y, x = (
            slice((c.start + p.start) * k, min((c.start + p.stop) * k, n))
            for c, p, k, n in zip(block.core, piece.core, step, finer.shape, strict=True)
        )
        out[piece.core] = downsampled(np.asarray(finer[z, y, x]), step, target.kind)
    return {"crc": target.write(block.core, out)}
