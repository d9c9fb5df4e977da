"""How large a tile may be: what a network needs for it, and the core that wastes least within a budget."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import prod

from cellflow.core.grid import Triple, box_shape
from cellflow.core.tiles import Lattice, Tile, round_up
from cellflow.networks.architecture import Architecture
from cellflow.networks.field import stretches

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of a value between two layers."""

DOWN = 2.5
"""How often the first level's maps are in memory at once on the way down."""
UP = 4.25
"""How often the maps of the first level and of the second are, on the way up: skipped, brought to size,
joined, and once more as a convolution wants them. Measured in plain U-Nets: 2.1 and 4.2; less in others."""
FIXED = 64 << 20

LONGEST = 256
"""Voxels along a side of a core: beyond, little is won, and a stopped run loses more."""
BUSY = 1 << 21
"""Voxels at once that keep a large GPU busy."""
SLICES = 4
"""A network in 2D sees at least so many at once."""
TRIES = 5
SMALLER = 0.75


def can_focus(a: Architecture) -> bool:
    """Whether the middle of a tile can be computed alone: nothing looks at all of it, or learnt to scale."""
    return not ("g" in a.layer_order or a.residual or a.upsample == "deconv")


def tile_bytes(a: Architecture, lattice: Lattice, batch: int, precision: str) -> int:
    """What a forward pass needs beside the weights, for a batch of the largest tiles."""
    tile = lattice[0]
    first, second = a.maps[:2]
    down, up = DOWN * first * prod(tile.outer_shape), UP * (first + second) * prod(_computed(a, tile))
    return int(batch * (max(down, up) * BYTES[precision] + 8 * prod(tile.outer_shape))) + FIXED


def chosen_core(a: Architecture, bare: Lattice, budget: int, batch: int, precision: str) -> Triple:
    """The core with which several workers are done first, of those whose tiles need at most `budget` bytes.

    Work is shared, but at the end others wait for a tile; only tiles that leave seams had better be few.
    `bare` is the lattice of the `smallest` cores. The choice depends on volume, network and budget alone.
    Sides are one or three times a power of two of the period, so that they tend to divide blocks.
    """
    fitting = [one for one in _cores(bare) if tile_bytes(a, one, batch, precision) <= budget]
    last = 0 if _leaves_seams(a) else 1
    time = {one: _work(a, one) * (1 + last / len(one)) for one in fitting}
    return min(fitting, key=lambda one: (time[one], max(one.core), one.core), default=bare).core


def chosen_batch(a: Architecture, lattice: Lattice, budget: int, precision: str) -> int:
    """How many tiles keep a GPU busy, of those that fit into `budget` bytes; at least one."""
    enough = min(len(lattice), -(-BUSY // prod(lattice.largest_outer)))
    fitting = (n for n in range(enough, 1, -1) if tile_bytes(a, lattice, n, precision) <= budget)
    return next(fitting, 1)


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


def _cores(bare: Lattice) -> Iterator[Lattice]:
    """All that come into question: a few sides along each axis, up to the first that covers the volume."""
    for z, y, x in product(*map(_sides, bare.core, bare.period, bare.shape)):
        yield replace(bare, core=(z, y, x))


def _sides(shortest: int, period: int, n: int) -> list[int]:
    sides = sorted({shortest, *(period * step << k for step in (1, 3) for k in range(9))})
    covering = min([side for side in sides if side >= n], default=LONGEST)
    return [side for side in sides if shortest <= side <= max(shortest, min(LONGEST, covering))]


def _leaves_seams(a: Architecture) -> bool:
    return "g" in a.layer_order or a.excited or stretches(a)


def _work(a: Architecture, lattice: Lattice) -> int:
    """What the whole volume costs, more or less: a quarter of a network's work is on its way down."""
    axes = zip(lattice.shape, lattice.period, lattice.counts, lattice.overlap, strict=True)
    inner = prod(round_up(n, p) + count * v for n, p, count, v in axes)
    return lattice.computed + 3 * (inner if can_focus(a) else lattice.computed)


def _computed(a: Architecture, tile: Tile) -> Triple:
    """Voxels along z, y, x that the first level computes on its way up."""
    return box_shape(tile.inner) if can_focus(a) else tile.outer_shape
