"""What one block can say about the supervoxels of the whole volume: their forest, as far as it is certain.

Supervoxels are the trees of the minimum spanning forest rooted at the seeds (watershed cuts, Cousty et al.
2009), over pairs of face neighbours in the order of `forest_keys`. A set of voxels without a seed is
always joined along its lowest pair to the outside; that holds whatever the rest of the volume is like. So a
block may join everything whose lowest pair stays inside its core, and leaves the rest *open*::

    1. every voxel points to its lowest neighbour: trees
    2. the lowest pair between each two trees, in ascending order: a tree without seed joins along it,
       unless one of its pairs across a face is lower still

One ascending pass is enough. If a pair was refused, one of its sides was a seed, and stays one, or had a
lower pair across a face, and keeps it as it grows; so a tree that may join along a pair has no refused
pair below it, and that pair is its lowest.

A piece of plateau that is perhaps a seed joins only its own kind: right if it is one seed, and right if it
is none.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.forest_keys import NOTHING, ascending, cross_keys, pair_key
from cellflow.core.forest_seeds import Pieces, pieces
from cellflow.core.grid import Block, Triple

OPEN, SEED, UNDECIDED = 0, 1, 2
NEVER = np.iinfo(np.uint64).max
HERE, ABSENT = 7, 6
"""In place of a direction 0..5 (z, y, x down, then up): a root; no voxel of the core."""

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Tree = tuple[U8, I32, I64, I64]
Exits = tuple[U64, I64]
Edges = tuple[I32, I32, U64, I64]


@dataclass(frozen=True)
class BlockForest:
    """The components of one block, row 0 unused, and all that other blocks must know of them."""

    kind: U8
    """OPEN: no seed, lowest pair crosses a face (or there is no pair); SEED; UNDECIDED: a piece of plateau."""
    size: U32
    """Voxels in this block."""
    first: U64
    """Smallest index of its voxels, in C order of the volume."""
    exit: U64
    """Pair id of its lowest pair across a face of the core, NEVER if none."""
    piece: U32
    """The undecided piece of plateau it belongs to, else 0."""
    a: U32
    b: U32
    """Components of the pairs that were refused and may yet belong to the forest."""
    key: U64
    pair: U64
    """Their keys and pair ids, ascending."""
    low_z: U32
    low_y: U32
    low_x: U32
    high_z: U32
    high_y: U32
    high_x: U32
    """Component of every voxel at the six faces of the core, planes of two axes; none at a volume's end."""
    key_z: U64
    key_y: U64
    key_x: U64
    """Key of every pair across the upper faces; NEVER where a voxel does not exist."""
    face: U64
    """Indices of voxels of undecided pieces that have an equal neighbour beyond the core."""
    links: U32
    """Which neighbours these are (bits as in `forest_seeds`)."""
    face_piece: U32
    """Their pieces."""


def forest_block(
    altitude: U32, smoothed: NDArray[np.float32], block: Block, shape: Triple, min_size: int, *, planar: bool
) -> tuple[U32, BlockForest]:
    """Components of a core, 1..n in C order of their first voxel, 0 where masked; and what is known of them.

    `altitude` and `smoothed` are framed (one voxel around the core; NOTHING and -inf where there is no
    voxel). Pairs between two seeds of at least `min_size` voxels are forgotten; nothing else depends on it.
    `altitude` is used up. Memory beyond input and result: 9 B a voxel and 60 B a tree.
    """
    seeds = pieces(smoothed, planar=planar)
    directions = np.full(altitude.shape, ABSENT, np.uint8)
    _point(altitude, planar, directions)
    own_kind = seeds.undecided.any()
    face_piece = (-1 - seeds.voxels.ravel()[seeds.face]).astype(np.uint32)
    steps = _steps(altitude.shape)
    if own_kind:
        _stay_in_piece(seeds.voxels.ravel(), directions.ravel(), steps)
    size, first, piece = _grow_trees(
        seeds.voxels.ravel(), directions.ravel(), steps, seeds.undecided
    )
    del directions
    trees = seeds.voxels
    kind = np.where(np.arange(size.size) < seeds.undecided.size, SEED, OPEN).astype(np.uint8)
    kind[piece > 0] = UNDECIDED
    exits = _exits(trees, altitude, kind.size, planar)
    a, b, key, pair = _basins(trees, altitude, planar)
    order = ascending(key, pair)
    a, b, key, pair = (column[order] for column in (a, b, key, pair))
    parent, refused = _join((a, b, key, pair), (kind, piece, size, first), exits)
    a, b, key, pair = (column[refused] for column in (a, b, key, pair))
    components, number = _number(trees, parent, altitude.shape)
    roots = number > 0
    roots &= parent == np.arange(parent.size)
    rows = np.zeros(int(number.max(initial=0)) + 1, np.int64)
    rows[number[roots]] = np.flatnonzero(roots)
    kind, piece, size, first = kind[rows], piece[rows], size[rows], first[rows]
    size[0] = kind[0] = 0
    kept = _not_in_cycles(number[parent[a]], number[parent[b]], (kind == SEED) & (size >= min_size))
    place = _Place(block, shape, altitude.shape)
    lowest = exits[1][rows]
    lowest[0] = -1
    return components, BlockForest(
        kind=kind,
        size=size.astype(np.uint32),
        first=place.index(np.maximum(first, 0)),
        exit=np.where(lowest < 0, NEVER, place.pair(np.maximum(lowest, 0))),
        piece=piece.astype(np.uint32),
        a=number[parent[a]][kept].astype(np.uint32),
        b=number[parent[b]][kept].astype(np.uint32),
        key=key[kept],
        pair=place.pair(pair[kept]),
        **_planes(components, altitude, place, planar=planar),
        face=place.index(seeds.face),
        links=seeds.links,
        face_piece=face_piece,
    )


@dataclass(frozen=True)
class _Place:
    """Where a framed core lies in the volume."""

    block: Block
    shape: Triple
    framed: Triple

    def index(self, local: I64) -> U64:
        """C-order indices in the volume of voxels of the frame; a voxel may lie in the frame itself."""
        z, y, x = np.unravel_index(np.asarray(local, np.int64), self.framed)
        a, b, c = (s.start - 1 for s in self.block.core)
        index: U64 = (((z + a) * self.shape[1] + (y + b)) * self.shape[2] + (x + c)).astype(np.uint64)
        return index

    def pair(self, local: I64) -> U64:
        """Pair ids in the volume."""
        voxel, axis = np.divmod(local, 3)
        return self.index(voxel) * np.uint64(3) + axis.astype(np.uint64)


def _steps(shape: tuple[int, ...]) -> I64:
    z, y = shape[1] * shape[2], shape[2]
    return np.array([-z, -y, -1, z, y, 1], np.int64)


def _planes(components: U32, altitude: U32, place: _Place, *, planar: bool) -> dict[str, NDArray[np.generic]]:
    """The columns of `BlockForest` that lie on faces."""
    out: dict[str, NDArray[np.generic]] = {}
    for axis, name in enumerate("zyx"):
        core = place.block.core[axis]
        inner = [slice(1, -1)] * 3
        inner[axis] = slice(None)
        heights = np.moveaxis(altitude[tuple(inner)], axis, 0)
        faces = np.moveaxis(components, axis, 0)
        absent = planar and axis == 0
        none = np.zeros((0, 0))
        goes_on = core.stop < place.shape[axis] and not absent
        out[f"low_{name}"] = faces[0].copy() if core.start > 0 and not absent else none.astype(np.uint32)
        out[f"high_{name}"] = faces[-1].copy() if goes_on else none.astype(np.uint32)
        out[f"key_{name}"] = cross_keys(heights[-2], heights[-1]) if goes_on else none.astype(np.uint64)
    return out


@numba.njit(cache=True, nogil=True)
def _point(altitude: U32, planar: int, directions: U8) -> None:
    """The direction of the lowest neighbour, HERE where there is none or it is beyond the core.

    The lowest pair of a voxel leads to its lowest neighbour. Equal neighbours are ordered by pair id, and
    that is the order of the directions: low bits of the altitudes compared.
    """
    nz, ny, nx = altitude.shape
    low = np.empty(nx - 2, np.uint32)
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            own = altitude[z, y]
            for x in range(len(low)):
                best = min(altitude[z, y - 1, x + 1] | np.uint32(1), altitude[z, y + 1, x + 1] | np.uint32(4))
                low[x] = min(best, min(own[x] | np.uint32(2), own[x + 2] | np.uint32(5)))
            if not planar:
                for x in range(len(low)):
                    low[x] = min(low[x], min(altitude[z - 1, y, x + 1], altitude[z + 1, y, x + 1] | np.uint32(3)))
            out = directions[z, y]
            beyond_z = 0 if z == 1 else HERE
            beyond_y = 1 if y == 1 else HERE
            above_z = 3 if z == nz - 2 else HERE
            above_y = 4 if y == ny - 2 else HERE
            for x in range(len(low)):
                code = np.uint8(low[x] & np.uint32(7))
                leaves = (code == beyond_z) | (code == beyond_y) | (code == above_z) | (code == above_y)
                out[x + 1] = HERE if leaves | (low[x] >= NOTHING) else code
            out[1] = HERE if out[1] == 2 else out[1]
            out[nx - 2] = HERE if out[nx - 2] == 5 else out[nx - 2]
            for x in range(len(low)):
                out[x + 1] = ABSENT if own[x + 1] == NOTHING else out[x + 1]


@numba.njit(cache=True, nogil=True)
def _stay_in_piece(voxels: I32, directions: U8, steps: I64) -> None:
    """A voxel of an undecided piece follows none but voxels of its piece."""
    for i in range(voxels.size):
        if voxels[i] < 0 and directions[i] < ABSENT and voxels[i + steps[directions[i]]] != voxels[i]:
            directions[i] = HERE


@numba.njit(cache=True, nogil=True)
def _grow_trees(
    trees: I32, directions: U8, steps: I64, undecided: NDArray[np.bool_]
) -> tuple[I64, I64, I64]:
    """Replace the seeds in `trees` by the trees that directions make; size, first voxel, piece of each."""
    count = undecided.size - 1
    room = max(1024, 2 * count)
    size, first, piece = np.zeros(room, np.int64), np.full(room, -1, np.int64), np.zeros(room, np.int64)
    for start in range(trees.size):
        tree = trees[start]
        if directions[start] == ABSENT:
            continue
        if tree > 0:
            if first[tree] < 0:
                first[tree] = start
            size[tree] += 1
            continue
        voxel = start
        while True:
            code = directions[voxel]
            if code == HERE:
                break
            ahead = voxel + steps[code]
            tree = trees[ahead]
            if tree > 0:
                break
            back = directions[ahead]
            if back < ABSENT and steps[back] == -steps[code]:
                break
            voxel = ahead
        if tree <= 0:
            count += 1
            tree = count
            if tree == size.size:
                size = np.concatenate((size, np.zeros_like(size)))
                first = np.concatenate((first, np.full_like(first, -1)))
                piece = np.concatenate((piece, np.zeros_like(piece)))
            if trees[voxel] < 0:
                piece[tree] = -1 - trees[voxel]
        if first[tree] < 0:
            first[tree] = start
        size[tree] += 1  # the rest of the chain
        end, voxel = voxel, start
        trees[start] = tree
        while voxel != end:
            voxel += steps[directions[voxel]]
            trees[voxel] = tree
    return size[: count + 1], first[: count + 1], piece[: count + 1]


@numba.njit(cache=True, nogil=True)
def _exits(trees: I32, altitude: U32, count: int, planar: int) -> Exits:
    """Key and pair id (-1: none) of the lowest pair of each tree across a face of the core."""
    key, pair = np.full(count, NEVER, np.uint64), np.full(count, -1, np.int64)
    nz, ny, nx = trees.shape
    ends = (nz, ny, nx)
    steps = (ny * nx, nx, 1)
    flat_trees, flat_altitude = trees.ravel(), altitude.ravel()
    for axis in range(1 if planar else 0, 3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        for upper in range(2):
            inner = (ends[axis] - 2 if upper else 1) * steps[axis]
            outward = steps[axis] if upper else -steps[axis]
            for i in range(1, ends[one] - 1):
                for j in range(1, ends[two] - 1):
                    voxel = inner + i * steps[one] + j * steps[two]
                    tree = flat_trees[voxel]
                    beyond = flat_altitude[voxel + outward]
                    if tree <= 0 or beyond == NOTHING:
                        continue
                    own_key = pair_key(flat_altitude[voxel], beyond)
                    own_pair = 3 * (voxel if upper else voxel + outward) + axis
                    if own_key < key[tree] or (own_key == key[tree] and own_pair < pair[tree]):
                        key[tree], pair[tree] = own_key, own_pair
    return key, pair


@numba.njit(cache=True, nogil=True)
def _basins(trees: I32, altitude: U32, planar: int) -> Edges:
    """The lowest pair between each two trees that touch."""
    nz, ny, nx = trees.shape
    room = 4096
    while room < 2 * nx:
        room *= 2
    edges = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint64), np.empty(room, np.int64)
    table = np.full(2 * room, -1, np.int32)
    count = 0
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for axis in range(1 if planar else 0, 3):
                zz, yy, dx = z + (axis == 0), y + (axis == 1), int(axis == 2)
                if zz == nz - 1 or yy == ny - 1:
                    continue
                if count + nx > edges[0].size:
                    edges, table = _double(edges)
                count = _row(
                    (trees[z, y], trees[zz, yy, dx:]),
                    (altitude[z, y], altitude[zz, yy, dx:]),
                    ((z * ny + y) * nx, axis),
                    edges,
                    table,
                    count,
                )
    a, b, key, pair = edges
    return a[:count].copy(), b[:count].copy(), key[:count].copy(), pair[:count].copy()


@numba.njit(cache=True, nogil=True)
def _row(
    ids: tuple[I32, I32], heights: tuple[U32, U32], at: tuple[int, int], edges: Edges, table: I32, count: int
) -> int:
    """Pairs between two rows. A run of the same two trees is looked up once, with its lowest pair."""
    (here, there), (low, high), (start, axis) = ids, heights, at
    a, b, key, pair = edges
    n = len(here) - 1
    x = 1
    while x < n - (axis == 2):
        one, two = here[x], there[x]
        if one == two or one <= 0 or two <= 0:
            x += 1
            continue
        best, where = pair_key(low[x], high[x]), x
        x += 1
        while here[x] == one and there[x] == two and x < n:
            other = pair_key(low[x], high[x])
            if other < best:
                best, where = other, x
            x += 1
        one, two = min(one, two), max(one, two)
        best_pair = 3 * (start + where) + axis
        cell = _find_edge(table, a, b, one, two)
        edge = table[cell]
        if edge < 0:
            table[cell] = count
            a[count], b[count], key[count], pair[count] = one, two, best, best_pair
            count += 1
        elif best < key[edge] or (best == key[edge] and best_pair < pair[edge]):
            key[edge], pair[edge] = best, best_pair
    return count


@numba.njit(cache=True, nogil=True)
def _find_edge(table: I32, a: I32, b: I32, one: int, two: int) -> np.uint64:
    """The cell of the hash table that holds this edge, or the empty one where it belongs."""
    mask = np.uint64(table.size - 1)
    mixed = (np.uint64(one) << np.uint64(32) | np.uint64(two)) * np.uint64(0x9E3779B97F4A7C15)
    cell = (mixed >> np.uint64(32)) & mask
    while table[cell] >= 0 and (a[table[cell]] != one or b[table[cell]] != two):
        cell = (cell + np.uint64(1)) & mask
    return cell


@numba.njit(cache=True, nogil=True)
def _double(edges: Edges) -> tuple[Edges, I32]:
    a, b, key, pair = edges
    n = a.size
    a, b = np.concatenate((a, np.empty_like(a))), np.concatenate((b, np.empty_like(b)))
    key, pair = np.concatenate((key, np.empty_like(key))), np.concatenate((pair, np.empty_like(pair)))
    table = np.full(4 * n, -1, np.int32)
    for edge in range(n):
        table[_find_edge(table, a, b, a[edge], b[edge])] = edge
    return (a, b, key, pair), table


@numba.njit(cache=True, nogil=True)
def _root(parent: I32, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=True, nogil=True)
def _join(edges: Edges, tree: Tree, exits: Exits) -> tuple[I32, I64]:
    """Root of every tree after the ascending pass, and the rows of the pairs that were refused."""
    a, b, key, pair = edges
    kind, piece, size, first = tree
    exit_key, exit_pair = exits
    parent = np.arange(kind.size).astype(np.int32)
    refused, count = np.empty(a.size, np.int64), 0
    for row in range(a.size):
        one, two = _root(parent, a[row]), _root(parent, b[row])
        if one == two:
            continue
        if not _may_follow(one, two, key[row], pair[row], tree, exits):
            one, two = two, one
            if not _may_follow(one, two, key[row], pair[row], tree, exits):
                refused[count] = row
                count += 1
                for side in (one, two):
                    if kind[side] == UNDECIDED and key[row] < exit_key[side]:
                        exit_key[side] = key[row]
                continue
        parent[one] = two
        size[two] += size[one]
        first[two] = min(first[one], first[two])
        if exit_key[one] < exit_key[two] or (exit_key[one] == exit_key[two] and exit_pair[one] < exit_pair[two]):
            exit_key[two], exit_pair[two] = exit_key[one], exit_pair[one]
    for i in range(parent.size):
        parent[i] = _root(parent, i)
    return parent, refused[:count].copy()


@numba.njit(cache=True, nogil=True, inline="always")
def _may_follow(one: int, two: int, key: np.uint64, pair: int, tree: Tree, exits: Exits) -> bool:
    kind, piece, _, _ = tree
    if kind[one] == SEED or (kind[one] == UNDECIDED and piece[one] != piece[two]):
        return False
    return key < exits[0][one] or (key == exits[0][one] and pair < exits[1][one])


@numba.njit(cache=True, nogil=True)
def _number(trees: I32, parent: I32, shape: Triple) -> tuple[U32, U32]:
    """Components of the core, numbered in C order of their first voxel, and the number of each tree."""
    nz, ny, nx = shape
    out, number = np.zeros((nz - 2, ny - 2, nx - 2), np.uint32), np.zeros(parent.size, np.uint32)
    count = 0
    for z in range(nz - 2):
        for y in range(ny - 2):
            row, target = trees[z + 1, y + 1], out[z, y]
            for x in range(nx - 2):
                tree = row[x + 1]
                if tree <= 0:
                    continue
                root = parent[tree]
                if number[root] == 0:
                    count += 1
                    number[root] = count
                target[x] = number[root]
    return out, number


@numba.njit(cache=True, nogil=True)
def _not_in_cycles(a: U32, b: U32, certain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of these ascending edges close no cycle with lower ones; all certain seeds are one root."""
    parent = np.arange(certain.size).astype(np.int32)
    for i in range(certain.size):
        if certain[i]:
            parent[i] = 0
    kept = np.zeros(a.size, np.bool_)
    for row in range(a.size):
        one, two = _root(parent, a[row]), _root(parent, b[row])
        kept[row] = one != two
        parent[max(one, two)] = min(one, two)
    return kept
