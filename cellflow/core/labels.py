"""Renumber labels without memory for the largest id in the volume."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


def consecutive(labels: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], int]:
    """The labels of one block renumbered 1..n in the order of their old numbers, 0 staying 0; and n.

    Memory follows the largest label of the block, which is at most its number of voxels.
    """
    used = np.zeros(int(labels.max(initial=0)) + 1, np.bool_)
    used[labels.ravel()] = True
    used[0] = False
    table = np.where(used, np.cumsum(used), 0).astype(np.uint32)
    return table[labels], int(used.sum())


def look_up(labels: NDArray[Any], table: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`table[label]` for every voxel. Raises `IndexError` for a label beyond the table's last row."""
    if labels.max(initial=0) >= table.size:
        raise IndexError(f"found label {labels.max()}, expected at most {table.size - 1}, the last row")
    found = np.empty(labels.shape, np.uint64)
    rows = table.view()
    rows.flags.writeable = False  # mapped files are: one compiled kernel serves them and all others
    _look_up(np.ascontiguousarray(labels).ravel(), rows, found.ravel())
    return found


@numba.njit(cache=True, nogil=True)
def _look_up(
    labels: NDArray[np.unsignedinteger], table: NDArray[np.uint64], found: NDArray[np.uint64]
) -> None:
    for i in range(labels.size):
        found[i] = table[labels[i]]
