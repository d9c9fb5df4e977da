"""Every voxel of a core points to its lowest neighbour: the trees that follow, and their lowest pairs.

Arrays are framed: one voxel of the neighbours, or of nothing, around the core.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.forest.keys import NEVER, NOTHING, lower, pair_key

HERE, ABSENT = 7, 6
"""In place of a direction 0..5 (z, y, x down, then up): a root; no voxel of the core."""

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Exits = tuple[U64, I64]
Edges = tuple[I32, I32, U64, I64]


def grow_trees(altitude: U32, voxels: I32, undecided: NDArray[np.bool_], *, planar: bool) -> I64:
    """Turn the seeds in `voxels` (`Pieces`) into trees, numbered behind the seeds; 0 where there is no voxel.

    Result: the undecided piece that each tree belongs to, 0 for none; row 0 is no tree. A tree holds all
    voxels whose way down its root ends; seeds and undecided pieces do not flow out. Memory: 1 B a voxel.
    """
    directions = np.full(altitude.shape, ABSENT, np.uint8)
    _point(altitude, planar, directions)
    flat, ways = voxels.ravel(), directions.ravel()
    z, y = altitude.shape[1] * altitude.shape[2], altitude.shape[2]
    steps = np.array([-z, -y, -1, z, y, 1, 0, 0])
    if undecided.any():
        _stay_in_piece(flat, ways, steps)
    piece: I64 = _grow(flat, ways, steps, undecided.size - 1)
    return piece


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
            own, behind, ahead = altitude[z, y], altitude[z, y - 1], altitude[z, y + 1]
            for x in range(len(low)):
                beside = min(own[x] | np.uint32(2), own[x + 2] | np.uint32(5))
                low[x] = min(behind[x + 1] | np.uint32(1), ahead[x + 1] | np.uint32(4), beside)
            if not planar:
                below, above = altitude[z - 1, y], altitude[z + 1, y]
                for x in range(len(low)):
                    low[x] = min(low[x], below[x + 1], above[x + 1] | np.uint32(3))
            out = directions[z, y]
            out_z0, out_z1 = 0 if z == 1 else HERE, 3 if z == nz - 2 else HERE
            out_y0, out_y1 = 1 if y == 1 else HERE, 4 if y == ny - 2 else HERE
            for x in range(len(low)):
                code = np.uint8(low[x] & np.uint32(7))
                leaves = (code == out_z0) | (code == out_z1) | (code == out_y0) | (code == out_y1)
                out[x + 1] = HERE if leaves | (low[x] >= NOTHING) else code
            out[1] = HERE if out[1] == 2 else out[1]
            out[nx - 2] = HERE if out[nx - 2] == 5 else out[nx - 2]
            for x in range(len(low)):
                out[x + 1] = ABSENT if own[x + 1] == NOTHING else out[x + 1]


@numba.njit(cache=True, nogil=True)
def _stay_in_piece(voxels: I32, directions: U8, steps: I64) -> None:
    """A voxel of an undecided piece follows none but voxels of its piece."""
    for i in range(voxels.size):
        if voxels[i] < 0 and voxels[i + steps[directions[i]]] != voxels[i]:
            directions[i] = HERE


@numba.njit(cache=True, nogil=True)
def _grow(trees: I32, directions: U8, steps: I64, count: int) -> I64:
    """Give every voxel the tree that its way down ends in; the undecided pieces of the trees.

    Every way is followed as far as the first voxel that has a tree, and that tree written along it. Of two
    voxels that point to each other the one that is reached first is the root.
    """
    piece = np.zeros(max(1024, 2 * count), np.int64)
    for start in range(trees.size):
        if trees[start] > 0 or directions[start] == ABSENT:
            continue
        voxel = start
        while True:
            code = directions[voxel]
            ahead = voxel + steps[code]
            if trees[ahead] > 0:
                tree = trees[ahead]
                break
            if code == HERE or directions[ahead] == (code + 3 if code < 3 else code - 3):
                count += 1
                if count == piece.size:
                    piece = np.concatenate((piece, np.zeros_like(piece)))
                piece[count] = -1 - trees[voxel] if trees[voxel] < 0 else 0
                tree = trees[voxel] = count
                break
            voxel = ahead
        voxel = start
        while trees[voxel] <= 0:
            trees[voxel] = tree
            voxel += steps[directions[voxel]]
    return piece[: count + 1]


@numba.njit(cache=True, nogil=True)
def climb(trees: I32, parent: I32) -> None:
    """Give every voxel the root of its tree; `parent` leads all trees straight to their roots after it."""
    for tree in range(parent.size):
        top = tree
        while parent[top] != top:
            top = parent[top]
        parent[tree] = top
    flat = trees.ravel()
    for i in range(flat.size):
        flat[i] = parent[flat[i]]


@numba.njit(cache=True, nogil=True)
def exits(trees: I32, altitude: U32, count: int, planar: int) -> Exits:
    """Key and pair id (of the frame, -1: none) of the lowest pair of each tree across a face of the core."""
    key, pair = np.full(count, NEVER, np.uint64), np.full(count, -1, np.int64)
    nz, ny, nx = trees.shape
    ends, steps = (nz, ny, nx), (ny * nx, nx, 1)
    flat_trees, flat_altitude = trees.ravel(), altitude.ravel()
    for axis in range(1 if planar else 0, 3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        for upper in range(2):
            plane = (ends[axis] - 2 if upper else 1) * steps[axis]
            outward = steps[axis] if upper else -steps[axis]
            for i in range(1, ends[one] - 1):
                for j in range(1, ends[two] - 1):
                    voxel = plane + i * steps[one] + j * steps[two]
                    tree, beyond = flat_trees[voxel], flat_altitude[voxel + outward]
                    if tree <= 0 or beyond == NOTHING:
                        continue
                    own_key = pair_key(flat_altitude[voxel], beyond)
                    own_pair = 3 * min(voxel, voxel + outward) + axis
                    if lower(own_key, own_pair, key[tree], pair[tree]):
                        key[tree], pair[tree] = own_key, own_pair
    return key, pair


@numba.njit(cache=True, nogil=True)
def lowest(trees: I32, altitude: U32, wanted: U8, planar: int) -> Edges:
    """The lowest pair of each tree whose `wanted` is 0, inside the core: tree, other tree, key, pair id."""
    count = wanted.size
    other, pairs = np.zeros(count, np.int32), np.zeros(count, np.int64)
    keys = np.full(count, NEVER, np.uint64)
    nz, ny, nx = trees.shape
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for axis in range(1 if planar else 0, 3):
                zz, yy, dx = z + (axis == 0), y + (axis == 1), int(axis == 2)
                if zz == nz - 1 or yy == ny - 1:
                    continue
                here, there = trees[z, y], trees[zz, yy, dx:]
                low, high = altitude[z, y], altitude[zz, yy, dx:]
                first = 3 * (z * ny + y) * nx + axis
                for x in range(1, nx - 1 - dx):
                    one, two = here[x], there[x]
                    if one == two or one <= 0 or two <= 0:
                        continue
                    key, pair = pair_key(low[x], high[x]), first + 3 * x
                    if wanted[one] == 0 and lower(key, pair, keys[one], pairs[one]):
                        other[one], keys[one], pairs[one] = two, key, pair
                    if wanted[two] == 0 and lower(key, pair, keys[two], pairs[two]):
                        other[two], keys[two], pairs[two] = one, key, pair
    rows = np.flatnonzero(other)
    return rows.astype(np.int32), other[rows], keys[rows], pairs[rows]


@numba.njit(cache=True, nogil=True)
def basins(trees: I32, altitude: U32, planar: int) -> Edges:
    """The lowest pair between each two trees that touch: trees, key, pair id (of the frame); unordered."""
    nz, ny, nx = trees.shape
    room = 4096
    while room < 2 * nx:
        room *= 2
    a, b = np.empty(room, np.int32), np.empty(room, np.int32)
    edges = a, b, np.empty(room, np.uint64), np.empty(room, np.int64)
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
                ids, heights = (trees[z, y], trees[zz, yy, dx:]), (altitude[z, y], altitude[zz, yy, dx:])
                count = _row(ids, heights, 3 * (z * ny + y) * nx + axis, nx - 1 - dx, edges, table, count)
    a, b, key, pair = edges
    return a[:count].copy(), b[:count].copy(), key[:count].copy(), pair[:count].copy()


@numba.njit(cache=True, nogil=True)
def _row(
    ids: tuple[I32, I32], heights: tuple[U32, U32], pair: int, stop: int, edges: Edges, table: I32, count: int
) -> int:
    """Pairs between two rows. A run of the same two trees is looked up once, with its lowest pair."""
    (here, there), (low, high) = ids, heights
    a, b, keys, pairs = edges
    x = 1
    while x < stop:
        one, two = here[x], there[x]
        if one == two or one <= 0 or two <= 0:
            x += 1
            continue
        best, where = pair_key(low[x], high[x]), x
        x += 1
        while x < stop and here[x] == one and there[x] == two:
            key = pair_key(low[x], high[x])
            if key < best:
                best, where = key, x
            x += 1
        one, two = min(one, two), max(one, two)
        cell = _find(table, a, b, one, two)
        edge = table[cell]
        if edge < 0:
            table[cell] = edge = count
            a[edge], b[edge], keys[edge], pairs[edge] = one, two, best, pair + 3 * where
            count += 1
        elif lower(best, pair + 3 * where, keys[edge], pairs[edge]):
            keys[edge], pairs[edge] = best, pair + 3 * where
    return count


@numba.njit(cache=True, nogil=True)
def _find(table: I32, a: I32, b: I32, one: int, two: int) -> np.uint64:
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
        table[_find(table, a, b, a[edge], b[edge])] = edge
    return (a, b, key, pair), table
