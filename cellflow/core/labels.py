"""Renumber labels without memory for the largest id in the volume."""

from typing import Any

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


def look_up(labels: NDArray[np.uint64], table: NDArray[Any]) -> NDArray[np.uint64]:
    """`table[label]` for every voxel: the table has a row for each label 0..n."""
    found: NDArray[np.uint64] = np.take(table, labels.astype(np.int64)).astype(np.uint64, copy=False)
    return found
