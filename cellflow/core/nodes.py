"""The nodes of the region adjacency graph: how large each label is, where it lies, where its centre is.

A voxel belongs to the block whose core holds it, so blocks see each voxel once. Sizes and coordinate
sums add up, boxes join: all in whole numbers, so that any cut of the volume gives the same table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class NodeTable:
    """One row per label, sorted by id; label 0 is masked. Coordinates are z, y, x of the volume."""

    id: U64
    size: I64
    """Voxels."""
    lower: I64
    """(k, 3): first voxel of the bounding box."""
    upper: I64
    """(k, 3): one past the last voxel of the bounding box."""
    sums: I64
    """(k, 3): sum of the coordinates of all voxels."""

    @property
    def centroid(self) -> NDArray[np.float64]:
        """(k, 3): mean coordinate of the voxels; (0, 0, 0) is the centre of the first voxel of the volume."""
        return self.sums / self.size[:, None]


def nodes_block(labels: U64, origin: Triple) -> NodeTable:
    """Nodes of the core of a block, whose first voxel is `origin` in the volume.

    Raises BadInput if labels are not uint64 of three axes. Cost: a few bytes per label besides the
    input; C-contiguous input is not copied.
    """
    if labels.dtype != np.uint64 or len(labels.shape) != 3:
        raise BadInput(
            f"nodes: found labels {labels.dtype} {labels.shape}, expected uint64 (z, y, x); convert before"
        )
    frozen = np.ascontiguousarray(labels).view()
    frozen.flags.writeable = False  # read-only arrays come from the network: one kernel serves all
    return _sorted(*_collect(frozen, origin))


def merge(parts: Sequence[NodeTable]) -> NodeTable:
    """The nodes of all parts, each label once. Associative, commutative and exact."""
    if not parts:
        return _sorted(np.empty(0, np.uint64), np.empty((0, 10), np.int64))
    columns = [np.concatenate([p.size[:, None], p.lower, p.upper, p.sums], axis=1) for p in parts]
    return _sorted(np.concatenate([p.id for p in parts]), np.concatenate(columns))


def at_border(nodes: NodeTable, shape: Triple) -> NDArray[np.bool_]:
    """(k,): whether each label reaches the border of a volume along an axis of more than one voxel."""
    axes = [axis for axis, n in enumerate(shape) if n > 1]
    ends = np.array(shape)[axes]
    found: NDArray[np.bool_] = ((nodes.lower[:, axes] == 0) | (nodes.upper[:, axes] == ends)).any(axis=1)
    return found


def _sorted(ids: U64, columns: I64) -> NodeTable:
    """Join the rows of equal id; columns are size, lower, upper, sums."""
    order = np.argsort(ids, kind="stable")
    ids, columns = ids[order], columns[order]
    first = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])[: ids.size])
    if first.size < ids.size:
        columns = np.concatenate(
            [
                np.add.reduceat(columns[:, :1], first),
                np.minimum.reduceat(columns[:, 1:4], first),
                np.maximum.reduceat(columns[:, 4:7], first),
                np.add.reduceat(columns[:, 7:], first),
            ],
            axis=1,
        )
    size, lower, upper, sums = (
        np.ascontiguousarray(c) for c in (columns[:, 0], columns[:, 1:4], columns[:, 4:7], columns[:, 7:])
    )
    return NodeTable(ids[first], size, lower, upper, sums)


@njit(cache=True, nogil=True)
def _collect(labels: U64, origin: Triple) -> tuple[U64, I64]:
    """Ids in the order of their first voxel, and their columns. Walks runs of equal labels along x."""
    ids, columns, table = np.empty(512, np.uint64), np.empty((512, 10), np.int64), np.full(1024, -1, np.int32)
    n = 0
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            row, start = labels[z, y], 0
            while start < row.size:
                label, stop = row[start], start + 1
                while stop < row.size and row[stop] == label:
                    stop += 1
                if label > 0:
                    cell = _find(table, ids, label)
                    if table[cell] < 0:
                        if n == ids.size:
                            ids, columns, table = _double(ids, columns)
                            cell = _find(table, ids, label)
                        table[cell], ids[n] = n, label
                        columns[n] = 0
                        columns[n, 1:4] = np.iinfo(np.int64).max
                        n += 1
                    _add_run(
                        columns[table[cell]], origin[0] + z, origin[1] + y, origin[2] + start, stop - start
                    )
                start = stop
    return ids[:n], columns[:n]


@njit(cache=True, nogil=True)
def _add_run(node: I64, z: int, y: int, x: int, length: int) -> None:
    node[0] += length
    node[1], node[2], node[3] = min(node[1], z), min(node[2], y), min(node[3], x)
    node[4], node[5], node[6] = max(node[4], z + 1), max(node[5], y + 1), max(node[6], x + length)
    node[7] += length * z
    node[8] += length * y
    node[9] += length * x + length * (length - 1) // 2


@njit(cache=True, nogil=True)
def _find(table: NDArray[np.int32], ids: U64, label: np.uint64) -> np.uint64:
    """The cell of the hash table that holds this label, or the empty one where it belongs."""
    mask = np.uint64(table.size - 1)
    cell = ((label * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while table[cell] >= 0 and ids[table[cell]] != label:
        cell = (cell + np.uint64(1)) & mask
    return cell


@njit(cache=True, nogil=True)
def _double(ids: U64, columns: I64) -> tuple[U64, I64, NDArray[np.int32]]:
    n = ids.size
    new_ids, new_columns = np.empty(2 * n, np.uint64), np.empty((2 * n, 10), np.int64)
    new_ids[:n], new_columns[:n] = ids, columns
    table = np.full(4 * n, -1, np.int32)
    for node in range(n):
        table[_find(table, new_ids, ids[node])] = node
    return new_ids, new_columns, table
