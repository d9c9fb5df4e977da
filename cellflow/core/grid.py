"""Cut a volume into blocks.

Every voxel is in the core of exactly one block. The outer box is the core grown by the halo, cut at
the volume; `crop` is the core in coordinates of outer::

    |------------- volume --------------|
         |hhh|ccccccc|hhh|                   outer = halo + core + halo
         0   3      10                       crop  = [3, 10)

Cores start at multiples of the block shape, so that a core is a union of write units. A remainder
thinner than a quarter of a block is joined to its neighbour: thin blocks have no context of their own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

Box = tuple[slice, slice, slice]
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Block:
    """One block of a grid: what it owns (`core`), what it reads (`outer`), the one in the other (`crop`)."""

    id: int
    core: Box
    outer: Box
    crop: Box


@dataclass(frozen=True)
class Grid:
    """The blocks of a volume in C order; `halo` is what a block reads beyond its core."""

    shape: Triple
    block: Triple
    halo: Triple = (0, 0, 0)

    @cached_property
    def starts(self) -> tuple[list[int], list[int], list[int]]:
        """First voxel of the blocks along each axis."""
        z, y, x = (_starts(n, b) for n, b in zip(self.shape, self.block, strict=True))
        return z, y, x

    def __len__(self) -> int:
        return prod(len(s) for s in self.starts)

    def __iter__(self) -> Iterator[Block]:
        for number, corner in enumerate(product(*(range(len(s)) for s in self.starts))):
            yield self._block(number, corner)

    def __getitem__(self, number: int) -> Block:
        _, ny, nx = (len(s) for s in self.starts)
        return self._block(number, (number // (ny * nx), number // nx % ny, number % nx))

    @property
    def largest_outer(self) -> Triple:
        """The largest outer box, for the memory plan."""
        z, y, x = (
            max(min(n, e + h) - max(0, s - h) for s, e in zip(starts, [*starts[1:], n], strict=True))
            for starts, n, h in zip(self.starts, self.shape, self.halo, strict=True)
        )
        return z, y, x

    @property
    def largest_core(self) -> Triple:
        """The largest core, for the memory plan."""
        return Grid(self.shape, self.block).largest_outer

    def _block(self, number: int, corner: tuple[int, ...]) -> Block:
        core, outer, crop = [], [], []
        for i, starts, n, h in zip(corner, self.starts, self.shape, self.halo, strict=True):
            a, b = starts[i], (starts[i + 1] if i + 1 < len(starts) else n)
            lo, hi = max(0, a - h), min(n, b + h)
            core.append(slice(a, b))
            outer.append(slice(lo, hi))
            crop.append(slice(a - lo, b - lo))
        return Block(number, _box(core), _box(outer), _box(crop))


def box_shape(box: Box) -> Triple:
    """Voxels along z, y, x of a box."""
    z, y, x = (s.stop - s.start for s in box)
    return z, y, x


def whole(shape: tuple[int, ...]) -> Box:
    """The box that holds all of an array."""
    z, y, x = (slice(0, n) for n in shape)
    return z, y, x


def around(box: Box, margin: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """The box grown by a margin, as far as there is an array."""
    sides = zip(box, margin, shape, strict=True)
    z, y, x = (slice(max(s.start - m, 0), min(s.stop + m, n)) for s, m, n in sides)
    return z, y, x


def within(box: Box, outer: Box) -> Box:
    """The box in coordinates of one that holds it."""
    z, y, x = (slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))
    return z, y, x


def _box(slices: list[slice]) -> Box:
    z, y, x = slices
    return z, y, x


def _starts(n: int, block: int) -> list[int]:
    starts = list(range(0, n, block))
    if len(starts) > 1 and 4 * (n - starts[-1]) < block:
        starts.pop()
    return starts
