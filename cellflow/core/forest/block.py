"""What one block can say about the supervoxels of the whole volume: their forest, as far as it is certain.

Supervoxels are the trees of the minimum spanning forest rooted at the seeds (watershed cuts, Cousty et al.
2009), over pairs of face neighbours in the order of `keys`. A set of voxels without a seed is
always joined along its lowest pair to the outside, whatever the rest of the volume is like. So a block may
join everything whose lowest pair stays inside its core, and leaves the rest *open*::

    1. every voxel points to its lowest neighbour: trees
    2. every tree without seed joins along its lowest pair, unless that crosses a face, until none can
    3. the pairs that are left, in ascending order: the same for pieces of plateaus

One ascending pass is enough. If a pair was refused, each of its sides was a seed, and stays one, or had a
lower pair across a face, and keeps it as it grows; so a tree that may join along a pair has no refused
pair below it, and that pair is its lowest.

A piece of plateau that is perhaps a seed joins only its own kind: right if it is one seed, and right if it
is none.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.forest.contract import OPEN, SEED, UNDECIDED, ascend, follow, follow_once
from cellflow.core.forest.keys import NEVER, cross_keys
from cellflow.core.forest.seeds import Pieces, pieces
from cellflow.core.forest.trees import basins, climb, exits, grow_trees, lowest
from cellflow.core.grid import Block, Triple
from cellflow.core.union import root

CROWDED = 4
"""Open trees for each seed from which it pays to join once along their lowest pairs before pairs are listed;
those at a face do not count, as their lowest pair mostly crosses it."""

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class BlockForest:
    """The components of one block, row 0 unused, and all that other blocks must know of them."""

    kind: U8
    """OPEN: no seed, lowest pair crosses a face or there is none; SEED; UNDECIDED: piece of a plateau."""
    size: U32
    """Voxels in this block."""
    first: U64
    """Smallest index of its voxels, in C order of the volume."""
    exit: U64
    """If OPEN, the pair id of its lowest pair, which crosses a face; NEVER if there is no pair."""
    piece: U32
    """The undecided piece of plateau it belongs to, else 0."""
    a: U32
    b: U32
    """Components of the pairs that were refused and may yet belong to the forest; a < b."""
    key: U64
    pair: U64
    """Their keys and pair ids, ascending."""
    low_z: U32
    low_y: U32
    low_x: U32
    high_z: U32
    high_y: U32
    high_x: U32
    """Component of every voxel at the six faces of the core, planes of two axes; empty at a volume's end."""
    key_z: U64
    key_y: U64
    key_x: U64
    """Key of every pair across the upper faces; NEVER where a voxel does not exist."""
    face: U64
    """Indices of voxels of undecided pieces that have an equal neighbour beyond the core."""
    links: U32
    """Which neighbours these are (bits as in `seeds`)."""
    face_piece: U32
    """Their pieces."""


def forest_block(
    altitude: U32, smoothed: NDArray[np.float32], block: Block, shape: Triple, min_size: int, *, planar: bool
) -> tuple[U32, BlockForest]:
    """Components of a core, 1..n in C order of their first voxel, 0 where masked; and what is known of them.

    `altitude` and `smoothed` are framed (`keys.framed`), NOTHING and -inf where there is no voxel;
    `shape` is that of the volume. Pairs between two seeds of `min_size` voxels each are forgotten. Nothing
    is assumed about the voxels beyond the frame. Memory beyond input and result: 5 B a voxel, 120 B a tree.
    """
    place = _Place(block, shape, altitude.shape)
    found = pieces(smoothed, planar=planar)
    face_piece = -1 - found.voxels.ravel()[found.face]
    trees = found.voxels
    piece = grow_trees(altitude, trees, found.undecided, planar=planar)
    kind = _kinds(found, piece)
    out = exits(trees, altitude, piece.size, planar)
    parent = np.arange(kind.size, dtype=np.int32)
    inland = (kind == OPEN) & (out[0] == NEVER)
    if np.count_nonzero(inland) > CROWDED * found.undecided.size:
        follow_once(lowest(trees, altitude, kind, planar), kind, out, parent)
        climb(trees, parent)
    edges = follow(basins(trees, altitude, planar), kind, out, parent)
    refused = ascend(edges, kind, piece, out, parent)
    components, number, size, first = _number(trees, parent)
    root = _roots(parent, number)
    a, b, key, pair = refused
    a, b = number[parent[a]], number[parent[b]]
    ends = np.minimum(a, b), np.maximum(a, b)  # whichever tree was found first
    kept = without_cycles(*ends, (kind[root] == SEED) & (size >= min_size))
    return components, BlockForest(
        kind=kind[root],
        size=size,
        first=place.index(first),
        exit=np.where(out[1][root] < 0, NEVER, place.pair(out[1][root])),
        piece=piece[root].astype(np.uint32),
        a=ends[0][kept],
        b=ends[1][kept],
        key=key[kept],
        pair=place.pair(pair[kept]),
        **_planes(components, altitude, place, planar=planar),
        face=place.index(found.face),
        links=found.links,
        face_piece=face_piece.astype(np.uint32),
    )


@dataclass(frozen=True)
class _Place:
    """Where a framed core lies in the volume."""

    block: Block
    shape: Triple
    framed: tuple[int, ...]

    def index(self, local: I64) -> U64:
        """C-order indices in the volume of voxels given by those in the frame."""
        z, y, x = np.unravel_index(local, self.framed)
        a, b, c = (s.start - 1 for s in self.block.core)
        index: U64 = (((z + a) * self.shape[1] + (y + b)) * self.shape[2] + (x + c)).astype(np.uint64)
        return index

    def pair(self, local: I64) -> U64:
        """Pair ids in the volume; anything for a pair below 0."""
        voxel, axis = np.divmod(np.maximum(local, 0), 3)
        return self.index(voxel) * np.uint64(3) + axis.astype(np.uint64)


def _kinds(found: Pieces, piece: I64) -> U8:
    """Trees up to the number of pieces are seeds; an undecided piece is several trees behind them."""
    kind = np.zeros(piece.size, np.uint8)
    kind[: found.undecided.size] = SEED
    kind[0] = OPEN
    kind[piece > 0] = UNDECIDED
    return kind


def _roots(parent: I32, number: U32) -> I64:
    """The tree that stands for each component."""
    own = np.flatnonzero((parent == np.arange(parent.size)) & (number > 0))
    root = np.zeros(own.size + 1, np.int64)
    root[number[own]] = own
    return root


def _planes(components: U32, altitude: U32, place: _Place, *, planar: bool) -> dict[str, Any]:
    """The columns of `BlockForest` that lie on faces."""
    out: dict[str, Any] = {}
    for axis, name in enumerate("zyx"):
        core, connected = place.block.core[axis], not (planar and axis == 0)
        frame = np.moveaxis(altitude, axis, 0)[-2:, 1:-1, 1:-1]
        low, high = np.moveaxis(components, axis, 0)[[0, -1]]
        none = np.empty((0, 0), np.uint32)
        out[f"low_{name}"] = low if connected and core.start > 0 else none
        out[f"high_{name}"] = high if connected and core.stop < place.shape[axis] else none
        out[f"key_{name}"] = cross_keys(*frame) if out[f"high_{name}"].size else none.astype(np.uint64)
    return out


@numba.njit(cache=True, nogil=True)
def _number(trees: I32, parent: I32) -> tuple[U32, U32, U32, I64]:
    """Components of the core in C order of their first voxel; number of each root; sizes, first voxels."""
    nz, ny, nx = trees.shape
    out, number = np.zeros((nz - 2, ny - 2, nx - 2), np.uint32), np.zeros(parent.size, np.uint32)
    size, first = np.zeros(parent.size + 1, np.uint32), np.zeros(parent.size + 1, np.int64)
    count = 0
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            row, target = trees[z, y], out[z - 1, y - 1]
            for x in range(1, nx - 1):
                if row[x] <= 0:
                    continue
                top = parent[row[x]]
                if number[top] == 0:
                    count += 1
                    number[top] = count
                    first[count] = (z * ny + y) * nx + x
                target[x - 1] = number[top]
                size[number[top]] += np.uint32(1)
    return out, number, size[: count + 1].copy(), first[: count + 1].copy()


def without_cycles(a: NDArray[Any], b: NDArray[Any], certain: Flags) -> Flags:
    """Which of these ascending edges close no cycle with lower ones; all `certain` ends count as one.

    Only these can belong to the forest, whatever edges there are elsewhere.
    """
    parent = np.arange(certain.size + 1)
    parent[1:][certain] = 0
    kept: Flags = _without_cycles(a.astype(np.int64), b.astype(np.int64), parent)
    return kept


@numba.njit(cache=True, nogil=True)
def _without_cycles(a: I64, b: I64, parent: I64) -> Flags:
    kept = np.zeros(a.size, np.bool_)
    for row in range(a.size):
        one, two = root(parent, a[row] + 1), root(parent, b[row] + 1)
        kept[row] = one != two
        parent[max(one, two)] = min(one, two)
    return kept
