"""Cut a volume into the tiles that a network sees: one lattice, anchored at the volume's first voxel.

Every voxel is in the core of exactly one tile. What a tile predicts, `kept`, reaches into its neighbours by
half the overlap; what it is given, `outer`, reaches farther by the halo: real voxels, and mirrored ones
beyond the volume::

    volume          |0 1 2 ...                           n|
    core                       |ccccccccc|
    kept                    |kkkccccccccckkk|                  core + overlap / 2, cut at the volume
    outer             |hhhhhkkkccccccccckkkhhhhh|              kept + halo, or a little more

Cores and outers start at multiples of `period`, as a network that pools is the same again only after so many
voxels. The lattice knows nothing of blocks, so a tile is the same whatever the blocks are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Box, Triple, box_shape

Item = TypeVar("Item")
Ranges = tuple[range, range, range]
Profile = Literal["average", "gaussian"]
"""What a voxel weighs within its tile, where tiles overlap: all the same, or less towards the tile's ends."""


@dataclass(frozen=True)
class Tile:
    """One tile: what it owns, what it predicts, what it is given; `outer` may reach beyond the volume."""

    id: int
    at: Triple
    core: Box
    kept: Box
    outer: Ranges
    inner: Box
    """What would be kept far from the ends of the volume, in coordinates of outer."""

    @property
    def crop(self) -> Box:
        """The voxels that are kept, in coordinates of outer."""
        z, y, x = (
            slice(k.start - o.start, k.stop - o.start) for k, o in zip(self.kept, self.outer, strict=True)
        )
        return z, y, x

    @property
    def outer_shape(self) -> Triple:
        """Voxels along z, y, x that the network is given."""
        z, y, x = map(len, self.outer)
        return z, y, x


@dataclass(frozen=True)
class Lattice:
    """The tiles of a volume, in C order.

    `core` is a multiple of `period` along each axis, and at least the `overlap` (even) of two neighbours.
    """

    shape: Triple
    core: Triple
    period: Triple = (1, 1, 1)
    halo: Triple = (0, 0, 0)
    overlap: Triple = (0, 0, 0)

    @cached_property
    def counts(self) -> Triple:
        """Tiles along each axis."""
        z, y, x = (-(-n // c) for n, c in zip(self.shape, self.core, strict=True))
        return z, y, x

    @cached_property
    def margin(self) -> Triple:
        """Voxels between a core and the ends of its outer box: halo and half the overlap, rounded up."""
        z, y, x = (
            round_up(h + v // 2, p) for h, v, p in zip(self.halo, self.overlap, self.period, strict=True)
        )
        return z, y, x

    @property
    def largest_outer(self) -> Triple:
        """The largest tile, for the memory plan."""
        return self[0].outer_shape

    @property
    def computed(self) -> int:
        """Voxels that a network is given in all, those of halos as often as they are."""
        axes = zip(self.shape, self.period, self.margin, self.counts, strict=True)
        return prod(round_up(n, p) + 2 * m * h for n, p, h, m in axes)

    def __len__(self) -> int:
        return prod(self.counts)

    def __iter__(self) -> Iterator[Tile]:
        z, y, x = map(range, self.counts)
        return (self._tile(at) for at in product(z, y, x))

    def __getitem__(self, number: int) -> Tile:
        z, y, x = np.unravel_index(number, self.counts)
        return self._tile((int(z), int(y), int(x)))

    def owned(self, box: Box) -> list[Tile]:
        """The tiles whose first voxel lies in a box: boxes that share no voxel share no tile."""
        z, y, x = (range(-(-b.start // c), -(-b.stop // c)) for b, c in zip(box, self.core, strict=True))
        return [self._tile(at) for at in product(z, y, x)]

    def touching(self, box: Box) -> list[Tile]:
        """The tiles that have a say in a box."""
        ranges = []
        for b, c, v, m in zip(box, self.core, self.overlap, self.counts, strict=True):
            first, last = (b.start - v // 2) // c, -(-(b.stop + v // 2) // c)
            ranges.append(range(max(0, first), min(m, last)))
        z, y, x = ranges
        return [self._tile(at) for at in product(z, y, x)]

    def divides(self, starts: Iterable[Iterable[int]]) -> bool:
        """Whether no core crosses a face of blocks that start at these voxels along z, y, x."""
        return all(start % c == 0 for axis, c in zip(starts, self.core, strict=True) for start in axis)

    def weights(self, tile: Tile, profile: Profile) -> list[NDArray[np.float32]]:
        """What the kept voxels of a tile count along z, y, x.

        The products of the three, summed over all tiles that keep a voxel, are 1 to the last bits.
        """
        return [self._axis_weights(axis, tile.at[axis], tile.kept[axis], profile) for axis in range(3)]

    def _axis_weights(self, axis: int, k: int, kept: slice, profile: Profile) -> NDArray[np.float32]:
        at = np.arange(kept.start, kept.stop)
        own = self._bare_weight(axis, k, at, profile)
        around = [j for j in (k - 1, k, k + 1) if 0 <= j < self.counts[axis]]
        total = np.sum([self._bare_weight(axis, j, at, profile) for j in around], axis=0)
        found: NDArray[np.float32] = (own / total).astype(np.float32)
        return found

    def _bare_weight(self, axis: int, k: int, at: NDArray[np.int64], profile: Profile) -> NDArray[np.float64]:
        core, overlap = self.core[axis], self.overlap[axis]
        distance = np.abs(at - (k * core + (core - 1) / 2))
        inside = distance < (core + overlap) / 2
        sigma = np.inf if profile == "average" else (core + overlap) / 4
        found: NDArray[np.float64] = inside * np.exp(-0.5 * (distance / sigma) ** 2)
        return found

    def _tile(self, at: Triple) -> Tile:
        cores, kept, outer, inner = [], [], [], []
        for k, n, c, p, v, m in zip(
            at, self.shape, self.core, self.period, self.overlap, self.margin, strict=True
        ):
            a, b = k * c, (k + 1) * c
            cores.append(slice(a, min(b, n)))
            kept.append(slice(max(0, a - v // 2), min(n, b + v // 2)))
            outer.append(range(a - m, min(b, round_up(n, p)) + m))
            inner.append(slice(m - v // 2, len(outer[-1]) - m + v // 2))
        number = int(np.ravel_multi_index(at, self.counts))
        return Tile(number, at, _three(cores), _three(kept), _three(outer), _three(inner))


def _three(items: list[Item]) -> tuple[Item, Item, Item]:
    z, y, x = items
    return z, y, x


def round_up(n: int, period: int) -> int:
    """The next multiple of the period."""
    return -(-n // period) * period


def mirrored(at: range, n: int) -> NDArray[np.int64]:
    """For positions inside or outside an axis of `n` voxels, the voxel that is seen there.

    The image is reflected at its first and its last voxel, which are not repeated, as often as need be.
    """
    period = max(1, 2 * (n - 1))
    folded = np.arange(at.start, at.stop) % period
    return np.minimum(folded, period - folded) if n > 1 else np.zeros(len(at), np.int64)


def needed(outer: Ranges, shape: Triple) -> Box:
    """The box of the volume whose voxels are seen in `outer`."""
    seen = (mirrored(at, n) for at, n in zip(outer, shape, strict=True))
    z, y, x = (slice(int(axis.min()), int(axis.max()) + 1) for axis in seen)
    return z, y, x


def filled(values: NDArray[Any], corner: Triple, outer: Ranges, shape: Triple) -> NDArray[Any]:
    """What is seen in `outer`, from an array that begins at `corner` and holds all that is needed.

    A view where nothing is mirrored.
    """
    inside = all(at.start >= 0 and at.stop <= n for at, n in zip(outer, shape, strict=True))
    if inside:
        z, y, x = (slice(at.start - c, at.stop - c) for at, c in zip(outer, corner, strict=True))
        return values[z, y, x]
    places = [mirrored(at, n) - c for at, n, c in zip(outer, shape, corner, strict=True)]
    return values[np.ix_(*places)]


def assembled(
    tiles: Iterable[tuple[Tile, NDArray[Any]]], lattice: Lattice, box: Box, profile: Profile
) -> NDArray[Any]:
    """A box of the volume from what its tiles have kept (z, y, x), in the tiles' type.

    Sums run in the order of the tiles, so that the bits do not depend on the box. Cost: where tiles overlap,
    4 B a voxel.
    """
    if not any(lattice.overlap):
        return _side_by_side(tiles, box)
    total = np.zeros(box_shape(box), np.float32)
    dtype: np.dtype[Any] = total.dtype
    for tile, values in tiles:
        dtype = values.dtype
        inner, place = _common(tile.kept, box)
        z, y, x = (w[part] for w, part in zip(lattice.weights(tile, profile), inner, strict=True))
        total[place] += values[inner] * z[:, None, None] * y[:, None] * x
    return total if dtype.kind == "f" else np.rint(total).astype(dtype)


def _side_by_side(tiles: Iterable[tuple[Tile, NDArray[Any]]], box: Box) -> NDArray[Any]:
    found: NDArray[Any] | None = None
    for tile, values in tiles:
        if found is None:
            found = np.zeros(box_shape(box), values.dtype)
        inner, place = _common(tile.kept, box)
        found[place] = values[inner]
    return np.zeros(box_shape(box), np.uint8) if found is None else found


def _common(kept: Box, box: Box) -> tuple[Box, Box]:
    """The common voxels, in coordinates of the first and of the second."""
    ends = [(max(k.start, b.start), min(k.stop, b.stop)) for k, b in zip(kept, box, strict=True)]
    (z, y, x), (pz, py, px) = (
        [slice(lo - of.start, hi - of.start) for (lo, hi), of in zip(ends, other, strict=True)]
        for other in (kept, box)
    )
    return (z, y, x), (pz, py, px)
