"""How large a tile may be: what a network needs for it, and the core that wastes least within a budget."""

from collections.abc import Iterator
from math import prod

from cellflow.core.grid import Triple
from cellflow.core.tiles import Lattice, round_up
from cellflow.networks.architecture import Architecture

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of a value between two layers."""

COPIES = 4.25
"""How often the maps of a level and of the one below it are in memory at once: measured 4.2 in plain U-Nets
(skip, upsampled, joined, and once more as the convolution wants them), 2.9 in residual ones."""

LONGEST = 256
"""Voxels along a side of a core: beyond, little is won, and a stopped run loses more."""
SLICES = 4
"""A network in 2D sees at least so many at once."""
TRIES = 5
SMALLER = 0.75


def tile_bytes(a: Architecture, outer: Triple, batch: int, precision: str) -> int:
    """What a forward pass needs beside the weights, for a batch of tiles of this shape."""
    pool = (1, *a.pool) if a.dims == 2 else a.pool
    levels = [
        (here + below) / prod(pool) ** level
        for level, (here, below) in enumerate(zip(a.maps, [*a.maps[1:], 0], strict=True))
    ]
    return int(batch * prod(outer) * (COPIES * max(levels) * BYTES[precision] + 8))


def chosen_core(a: Architecture, bare: Lattice, budget: int, batch: int, precision: str) -> Triple:
    """The core for which least is computed in vain, of those whose tiles need at most `budget` bytes.

    `bare` is the lattice of the `smallest` cores. The choice depends on volume, network and budget alone.
    Sides are one or three times a power of two of the period, so that they tend to divide blocks.
    """
    core = list(bare.core)
    while True:
        steps = []
        for axis, tried in _longer(bare, core):
            gain = _waste(bare, axis, core[axis]) / _waste(bare, axis, tried[axis])
            if gain > 1 and tile_bytes(a, _lattice(bare, tried).largest_outer, batch, precision) <= budget:
                steps.append((gain, axis, tried))
        if not steps:
            return _triple(core)
        core = max(steps)[2]


def smallest(bare: Lattice) -> Triple:
    """The least core that a lattice can have; where nothing is pooled, a few slices."""
    z, y, x = (
        max(round_up(v, p), p if p > 1 else min(SLICES, n))
        for v, p, n in zip(bare.overlap, bare.period, bare.shape, strict=True)
    )
    return z, y, x


def shrunk(core: Triple, period: Triple) -> Triple:
    """A core of three quarters of the length along each axis, at least a period."""
    z, y, x = (max(p, int(c * SMALLER) // p * p) for c, p in zip(core, period, strict=True))
    return z, y, x


def _longer(bare: Lattice, core: list[int]) -> Iterator[tuple[int, list[int]]]:
    """The core a step longer along each axis, until it covers the volume."""
    for axis, (period, n) in enumerate(zip(bare.period, bare.shape, strict=True)):
        sides = sorted(period * step << k for step in (1, 3) for k in range(9))
        longer = [side for side in sides if core[axis] < side <= LONGEST]
        if longer and core[axis] < n:
            yield axis, [*core[:axis], longer[0], *core[axis + 1 :]]


def _waste(bare: Lattice, axis: int, core: int) -> float:
    length = min(core, round_up(bare.shape[axis], bare.period[axis]))
    return (length + 2 * bare.margin[axis]) / length


def _lattice(bare: Lattice, core: list[int]) -> Lattice:
    return Lattice(bare.shape, _triple(core), bare.period, bare.halo, bare.overlap)


def _triple(core: list[int]) -> Triple:
    z, y, x = core
    return z, y, x
