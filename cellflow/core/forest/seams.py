"""What neighbouring blocks tell each other about a forest, so that little is left to decide for the whole.

1. `plateau_links`: which undecided pieces of plateau touch equal voxels of which others; `decide` makes them
   seeds, or not.
2. `settle`: an open component whose lowest pair leads into a seed next door belongs to it.
3. `open_edges`: the pairs that are left, across the upper faces and inside, between components not settled.

Components of the whole volume are *nodes*: `block id << 32 | component`. A node is *certain* if it holds a
seed that no size filter will withdraw; pairs between two certain nodes can be forgotten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.forest.block import BlockForest, without_cycles
from cellflow.core.forest.contract import OPEN, SEED
from cellflow.core.forest.keys import NEVER, ascending
from cellflow.core.grid import Grid
from cellflow.core.union import root

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class PlateauLinks:
    """The undecided pieces of one block, ascending, and how they go on."""

    piece: U64
    """`block id << 32 | piece`."""
    node: U64
    """The first component of each."""
    size: I64
    """Voxels of all components of each."""
    refused: Flags
    """It has an equal neighbour beyond the core that is not a peak."""
    pairs: U64
    """(m, 2): pieces of this block and those that they go on in."""


@dataclass(frozen=True)
class Seeds:
    """The pieces of plateau that are seeds, ascending."""

    piece: U64
    node: U64
    """One node for all pieces of a seed."""
    certain: Flags
    """Its components have `min_size` voxels already."""


@dataclass(frozen=True)
class Settled:
    """What each component of a block belongs to; row 0 is no component."""

    node: U64
    seeded: Flags
    """That node holds a seed."""
    certain: Flags


@dataclass(frozen=True)
class Nodes:
    """What one block contributes to each node, ascending."""

    node: U64
    seeded: Flags
    certain: Flags
    size: I64
    first: U64


@dataclass(frozen=True)
class OpenEdges:
    """Pairs that may belong to the forest, ascending by (key, pair)."""

    a: U64
    b: U64
    key: U64
    pair: U64


def around(grid: Grid, number: int) -> dict[tuple[int, int, int], int]:
    """The blocks that touch a block, by their direction along z, y, x (-1, 0, 1)."""
    counts = [len(s) for s in grid.starts]
    corner = np.unravel_index(number, counts)
    out = {}
    for step in np.ndindex(3, 3, 3):
        there = [int(c) + s - 1 for c, s in zip(corner, step, strict=True)]
        if step != (1, 1, 1) and all(0 <= t < n for t, n in zip(there, counts, strict=True)):
            out[step[0] - 1, step[1] - 1, step[2] - 1] = int(np.ravel_multi_index(there, counts))
    return out


def across_faces(grid: Grid, number: int) -> dict[tuple[str, str], int]:
    """The blocks across the faces of a block, by side and axis: `("high", "z")` is the next along z."""
    faces = {}
    for step, neighbour in around(grid, number).items():
        if np.abs(step).sum() == 1:
            axis = int(np.flatnonzero(step)[0])
            faces["high" if step[axis] > 0 else "low", "zyx"[axis]] = neighbour
    return faces


def plateau_links(grid: Grid, number: int, parts: Mapping[int, BlockForest]) -> PlateauLinks:
    """How the undecided pieces of a block go on; `parts` are those of the block and of all around it."""
    part = parts[number]
    component = np.flatnonzero(part.piece)
    pieces, first, inverse = np.unique(part.piece[component], return_index=True, return_inverse=True)
    size = np.zeros(pieces.size, np.int64)
    np.add.at(size, inverse, part.size[component])
    voxel, linked = _spread(part, grid)
    near = around(grid, number).values() if voxel.size else ()  # most blocks need to open no other
    others = [(parts[n].face, _global(n, parts[n].face_piece)) for n in near]
    theirs = np.concatenate([np.empty(0, np.uint64), *(face for face, _ in others)])
    names = np.concatenate([np.empty(0, np.uint64), *(name for _, name in others)])
    order = np.argsort(theirs)
    theirs, names = theirs[order], names[order]
    at = np.minimum(np.searchsorted(theirs, voxel), max(theirs.size - 1, 0))
    known = theirs[at] == voxel if theirs.size else np.zeros(voxel.size, bool)
    pairs = _different(_global(number, linked[known]), names[at[known]])
    return PlateauLinks(
        piece=_global(number, pieces),
        node=_global(number, component[first]),
        size=size,
        refused=np.isin(pieces, linked[~known]),
        pairs=pairs,
    )


def _different(a: U64, b: U64) -> U64:
    """(m, 2): the different pairs of two columns, ascending; voxels of plateaus say the same many times."""
    (ones, one), (others, other) = (np.unique(names, return_inverse=True) for names in (a, b))
    code = np.unique(one * max(others.size, 1) + other)
    one, other = np.divmod(code, max(others.size, 1))
    return np.stack([ones[one], others[other]], axis=1)


def decide(links: Sequence[PlateauLinks], min_size: int) -> Seeds:
    """Which pieces are seeds: those that never touch a higher neighbour, with all they go on in."""
    links = sorted(links, key=lambda part: tuple(part.piece[:1].tolist()))
    piece = np.concatenate([part.piece for part in links])
    node, size = (np.concatenate([getattr(part, name) for part in links]) for name in ("node", "size"))
    refused = np.concatenate([part.refused for part in links])
    pairs = np.searchsorted(piece, np.concatenate([part.pairs for part in links]))
    group = _groups(piece.size, pairs)
    total, spoiled = np.zeros(piece.size, np.int64), np.zeros(piece.size, bool)
    np.add.at(total, group, size)
    spoiled[group[refused]] = True
    is_seed = ~spoiled[group]
    group = group[is_seed]
    return Seeds(piece[is_seed], node[group], total[group] >= min_size)


def settle(
    grid: Grid, number: int, parts: Mapping[int, BlockForest], seeds: Seeds, min_size: int
) -> tuple[Settled, Nodes]:
    """The nodes of a block; `parts` are those of the block and of those across its faces."""
    part = parts[number]
    own = _own_nodes(number, part, seeds, min_size)
    node, seeded, certain = own.node.copy(), own.seeded.copy(), own.certain.copy()
    leaving = np.flatnonzero((part.kind == OPEN) & (part.exit != NEVER))
    voxel, axis = np.divmod(part.exit[leaving], np.uint64(3))
    corner = np.array([s.start for s in grid[number].core])
    place = np.stack(np.unravel_index(voxel.astype(np.int64), grid.shape), axis=1) - corner
    for (side, name), neighbour in across_faces(grid, number).items():
        i = "zyx".index(name)
        # A pair is named after its lower voxel: beyond the core if it crosses a lower face.
        below = place[:, i] < 0
        here = (axis == i) & (below if side == "low" else ~below)
        plane = getattr(parts[neighbour], f"{'high' if side == 'low' else 'low'}_{name}")
        at = np.delete(place[here], i, axis=1)
        target = plane[at[:, 0], at[:, 1]] if here.any() else np.empty(0, np.uint32)
        theirs = _own_nodes(neighbour, parts[neighbour], seeds, min_size)
        follows = theirs.certain[target]
        node[leaving[here][follows]] = theirs.node[target[follows]]
        seeded[leaving[here][follows]] = certain[leaving[here][follows]] = True
    settled = Settled(node, seeded, certain)
    return settled, _contribution(part, settled)


def _own_nodes(number: int, part: BlockForest, seeds: Seeds, min_size: int) -> Settled:
    """Nodes as far as the block and the decided plateaus tell."""
    node = _global(number, np.arange(part.kind.size))
    seeded = part.kind == SEED
    certain = seeded & (part.size >= min_size)
    component = np.flatnonzero(part.piece)
    row, known = look_up(seeds.piece, _global(number, part.piece[component]))
    node[component[known]] = seeds.node[row[known]]
    seeded[component[known]] = True
    certain[component[known]] = seeds.certain[row[known]]
    return Settled(node, seeded, certain)


def _contribution(part: BlockForest, own: Settled) -> Nodes:
    """The components of a block added up by node. A node of a plateau is known to hold a seed."""
    names, inverse = np.unique(own.node[1:], return_inverse=True)
    size, first = np.zeros(names.size, np.int64), np.full(names.size, NEVER, np.uint64)
    np.add.at(size, inverse, part.size[1:])
    np.minimum.at(first, inverse, part.first[1:])
    seeded, certain = np.zeros(names.size, bool), np.zeros(names.size, bool)
    seeded[inverse[own.seeded[1:]]] = True
    certain[inverse[own.certain[1:]]] = True
    return Nodes(names, seeded, certain, size, first)


def open_edges(
    grid: Grid, number: int, parts: Mapping[int, BlockForest], settled: Mapping[int, Settled]
) -> OpenEdges:
    """Pairs of a block and across its upper faces that may join nodes; reads the neighbours there."""
    part, own = parts[number], settled[number]
    columns = [
        (own.node[part.a], own.node[part.b], own.certain[part.a], own.certain[part.b], part.key, part.pair)
    ]
    for (side, name), neighbour in across_faces(grid, number).items():
        key = getattr(part, f"key_{name}")
        if side == "low" or key.size == 0:
            continue
        a, b = getattr(part, f"high_{name}").ravel(), getattr(parts[neighbour], f"low_{name}").ravel()
        theirs = settled[neighbour]
        pair = _face_pairs(grid, number, "zyx".index(name)).ravel()
        columns.append((own.node[a], theirs.node[b], own.certain[a], theirs.certain[b], key.ravel(), pair))
    needed = [(c[4] != NEVER) & ~(c[2] & c[3]) & (c[0] != c[1]) for c in columns]
    a, b, sure_a, sure_b, key, pair = (
        np.concatenate([c[i][rows] for c, rows in zip(columns, needed, strict=True)]) for i in range(6)
    )
    order = ascending(key, pair)
    a, b, key, pair = a[order], b[order], key[order], pair[order]
    nodes, ends = np.unique(np.concatenate([a, b]), return_inverse=True)
    certain = np.zeros(nodes.size, bool)
    certain[ends] = np.concatenate([sure_a[order], sure_b[order]])
    kept = without_cycles(ends[: a.size], ends[a.size :], certain)
    return OpenEdges(a[kept], b[kept], key[kept], pair[kept])


@numba.njit(cache=True, nogil=True)
def _groups(count: int, pairs: I64) -> I64:
    """The first member of the group of each, over all pairs."""
    parent = np.arange(count)
    for row in range(len(pairs)):
        one, two = root(parent, pairs[row, 0]), root(parent, pairs[row, 1])
        parent[max(one, two)] = min(one, two)
    out = np.empty(count, np.int64)
    for i in range(count):
        out[i] = root(parent, i)
    return out


def _global(number: int, local: NDArray[np.integer]) -> U64:
    out: U64 = np.uint64(number) << np.uint64(32) | local.astype(np.uint64)
    return out


def look_up(names: U64, wanted: U64) -> tuple[I64, Flags]:
    """Rows of `wanted` in ascending `names`, and whether they are there."""
    if names.size == 0:
        return np.zeros(wanted.size, np.int64), np.zeros(wanted.size, bool)
    row = np.minimum(np.searchsorted(names, wanted), names.size - 1)
    return row, names[row] == wanted


def _spread(part: BlockForest, grid: Grid) -> tuple[U64, U32]:
    """Every (voxel beyond the core, piece) that `links` names."""
    _, y, x = grid.shape
    voxels, pieces = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
    for bit in range(27):
        rows = (part.links >> np.uint32(bit)) & np.uint32(1) > 0
        step = ((bit // 9 - 1) * y + bit // 3 % 3 - 1) * x + bit % 3 - 1
        voxels.append((part.face[rows].astype(np.int64) + step).astype(np.uint64))
        pieces.append(part.face_piece[rows])
    return np.concatenate(voxels), np.concatenate(pieces)


def _face_pairs(grid: Grid, number: int, axis: int) -> U64:
    """Pair ids across the upper face of a block along one axis."""
    ranges = [np.arange(s.start, s.stop, dtype=np.uint64) for s in grid[number].core]
    ranges[axis] = ranges[axis][-1:]
    z, y, x = np.ix_(*ranges)
    index = (z * np.uint64(grid.shape[1]) + y) * np.uint64(grid.shape[2]) + x
    pairs: U64 = index.squeeze(axis) * np.uint64(3) + np.uint64(axis)
    return pairs
