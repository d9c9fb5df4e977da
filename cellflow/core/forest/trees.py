"""Every voxel of a core points to its lowest neighbour: the trees that follow, and their lowest pairs.

Arrays are framed: one voxel of the neighbours, or of nothing, around the core.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.forest.keys import NEVER, NOTHING, lower, pair_key

HERE, ABSENT = 7, 6
"""In place of a direction 0..5 (z, y, x down, then up): a root; no voxel of the core."""

WAY = 256
"""So many voxels of a way down are remembered."""

COLUMNS = 4
"""One is not used: so a row is half a line of the cache, and the table waits for memory once a row."""

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Exits = tuple[U64, I64]
Edges = tuple[I32, I32, U64, I64]
Table = U64
"""Rows of both trees of a pair in one number (0: empty), the lowest key between them, its pair id."""


def grow_trees(altitude: U32, voxels: I32, undecided: NDArray[np.bool_], *, planar: bool) -> I64:
    """Turn the seeds in `voxels` (`Pieces`) into trees, numbered behind the seeds; 0 where there is no voxel.

    Result: the undecided piece that each tree belongs to, 0 for none; row 0 is no tree. A tree holds all
    voxels whose way down its root ends; seeds and undecided pieces do not flow out. Memory: 1 B a voxel.
    """
    directions = np.full(altitude.shape, ABSENT, np.uint8)
    _point(altitude, planar, directions)
    flat, ways = voxels.ravel(), directions.ravel()
    z, y = altitude.shape[1] * altitude.shape[2], altitude.shape[2]
    steps = np.array([-z, -y, -1, z, y, 1, 0, 0]).astype(np.uint64)  # -z wraps, and so does the sum
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
def _stay_in_piece(voxels: I32, directions: U8, steps: U64) -> None:
    """A voxel of an undecided piece follows none but voxels of its piece."""
    for i in range(voxels.size):
        if voxels[i] < 0 and voxels[np.uint64(i) + steps[directions[i]]] != voxels[i]:
            directions[i] = HERE


@numba.njit(cache=True, nogil=True)
def _grow(trees: I32, directions: U8, steps: U64, count: int) -> I64:
    """Give every voxel the tree that its way down ends in; the undecided pieces of the trees."""
    piece, start = np.zeros(max(1024, 2 * count), np.int64), np.uint64(0)
    while start < trees.size:
        piece = np.concatenate((piece, np.zeros_like(piece)))
        start, count = _follow_ways(trees, directions, steps, piece, start, count)
    return piece[: count + 1]


@numba.njit(cache=True, nogil=True)
def _follow_ways(
    trees: I32, directions: U8, steps: U64, piece: I64, start: np.uint64, count: int
) -> tuple[np.uint64, int]:
    """From the voxel `start` as far as there is room in `piece`: where it ended, and the trees by then.

    Every way is followed as far as the first voxel that has a tree, and that tree written along it. Of two
    voxels that point to each other the one that is reached first is the root. Each step waits for the one
    before: indices are unsigned, which saves a test of their sign, and ways are remembered.
    """
    way, one = np.empty(WAY, np.uint64), np.uint64(1)
    begin = start
    while begin < trees.size and count + 1 < piece.size:
        if trees[begin] > 0 or directions[begin] == ABSENT:
            begin += one
            continue
        tree = trees[begin + steps[directions[begin]]]
        if tree > 0:  # most ways are so short, and need not be remembered
            trees[begin] = tree
            begin += one
            continue
        voxel, length = begin, np.uint64(0)
        while True:
            code = directions[voxel]
            ahead = voxel + steps[code]
            way[length] = voxel
            length = min(length + one, np.uint64(WAY - 1))
            tree = trees[ahead]
            if tree > 0:
                break
            if code == HERE or directions[ahead] == (code + 3 if code < 3 else code - 3):
                count += 1
                piece[count] = -1 - trees[voxel] if trees[voxel] < 0 else 0
                tree = trees[voxel] = count
                break
            voxel = ahead
        for i in range(length):
            trees[way[np.uint64(i)]] = tree
        if length == WAY - 1:  # perhaps it was longer than could be remembered
            voxel = way[length - one]
            while trees[voxel + steps[directions[voxel]]] <= 0:
                voxel += steps[directions[voxel]]
                trees[voxel] = tree
    return begin, count


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
    other, pairs = np.zeros(count, np.int32), np.full(count, -1, np.int64)
    keys = np.where(wanted == 0, NEVER, np.uint64(0))  # nothing is lower than 0
    nz, ny, nx = trees.shape
    differ, at = np.empty(nx, np.uint8), np.empty(nx, np.int64)
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for axis in range(1 if planar else 0, 3):
                zz, yy, dx = z + (axis == 0), y + (axis == 1), int(axis == 2)
                here, there = trees[z, y], trees[zz, yy, dx:]
                low, high = altitude[z, y], altitude[zz, yy, dx:]
                first = 3 * (z * ny + y) * nx + axis
                for i in range(_borders(here, there, differ, at)):
                    x = at[i]
                    one, two = here[x], there[x]
                    key, pair = pair_key(low[x], high[x]), first + 3 * x
                    if lower(key, pair, keys[one], pairs[one]):
                        other[one], keys[one], pairs[one] = two, key, pair
                    if lower(key, pair, keys[two], pairs[two]):
                        other[two], keys[two], pairs[two] = one, key, pair
    rows = np.flatnonzero(other)
    return rows.astype(np.int32), other[rows], keys[rows], pairs[rows]


@numba.njit(cache=True, nogil=True)
def basins(trees: I32, altitude: U32, planar: int) -> Edges:
    """The lowest pair between each two trees that touch: trees, key, pair id (of the frame); unordered."""
    nz, ny, nx = trees.shape
    cells = 8192
    while cells < 4 * nx:
        cells *= 2
    table = np.zeros((cells, COLUMNS), np.uint64)
    differ, at, count = np.empty(nx, np.uint8), np.empty(nx, np.int64), 0
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            for axis in range(1 if planar else 0, 3):
                zz, yy, dx = z + (axis == 0), y + (axis == 1), int(axis == 2)
                ids, heights = (trees[z, y], trees[zz, yy, dx:]), (altitude[z, y], altitude[zz, yy, dx:])
                found = at[: _borders(*ids, differ, at)]
                if 2 * (count + found.size) > len(table):
                    table = _doubled(table)
                count += _gather(found, ids, heights, 3 * (z * ny + y) * nx + axis, table)
    both, key, pair, _ = table[table[:, 0] > 0].T.copy()
    a, b = both >> np.uint64(32), both & np.uint64(0xFFFFFFFF)
    return a.astype(np.int32), b.astype(np.int32), key, pair.view(np.int64)


@numba.njit(cache=True, nogil=True)
def _borders(here: I32, there: I32, differ: U8, at: I64) -> int:
    """Writes to `at` where two rows differ, and says how often; frame and mask are 0 and do not count.

    Without a branch: where borders are is not to be guessed, and a wrong guess costs more than a voxel.
    """
    for x in range(there.size):
        differ[x] = (here[x] != there[x]) & (here[x] > 0) & (there[x] > 0)
    count = 0
    for x in range(there.size):
        at[count] = x
        count += differ[x]
    return count


@numba.njit(cache=True, nogil=True)
def _gather(at: I64, ids: tuple[I32, I32], heights: tuple[U32, U32], first: int, table: Table) -> int:
    """Lower the pairs of trees that meet at these places of two rows; how many are new to the table."""
    (here, there), (low, high) = ids, heights
    new = 0
    for i in range(at.size):
        x = np.uint64(at[i])
        one, two = min(here[x], there[x]), max(here[x], there[x])
        trees = np.uint64(one) << np.uint64(32) | np.uint64(two)
        key, pair = pair_key(low[x], high[x]), np.uint64(first + 3 * at[i])
        cell = _cell(table, trees)
        if table[cell, 0] == 0:
            table[cell, 0], table[cell, 1], table[cell, 2] = trees, key, pair
            new += 1
        elif lower(key, pair, table[cell, 1], table[cell, 2]):
            table[cell, 1], table[cell, 2] = key, pair
    return new


@numba.njit(cache=True, nogil=True, inline="always")
def _cell(table: Table, trees: np.uint64) -> np.uint64:
    """The cell of the hash table that holds these two trees, or the empty one where they belong."""
    mask = np.uint64(len(table) - 1)
    cell = (trees * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)) & mask
    while table[cell, 0] != 0 and table[cell, 0] != trees:
        cell = (cell + np.uint64(1)) & mask
    return cell


@numba.njit(cache=True, nogil=True)
def _doubled(table: Table) -> Table:
    wide = np.zeros((2 * len(table), COLUMNS), np.uint64)
    for row in np.flatnonzero(table[:, 0]):
        wide[_cell(wide, table[row, 0])] = table[row]
    return wide
