"""The row of a pair of nodes: a hash table of row numbers with open addresses.

Nothing is ever taken out. A pair that changed is entered again; the old entry leads to a row that is not
the one looked for, or is the right one by another way.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from cellflow.core.agglomeration.rounds import I32, I64, Rows

GONE = np.int32(-1)
"""Both nodes of a row that is no more."""


class Pairs(NamedTuple):
    """Places for row numbers, a power of two of them, at most three quarters of them taken."""

    row: I32
    """-1: free."""
    taken: I64
    """(1,): how many are."""


@njit(cache=True, nogil=True)
def pairs(rows: Rows) -> Pairs:
    """The table of all rows: 8 to 16 bytes a row."""
    size = 16
    while size < 2 * rows.size:
        size *= 2
    found = Pairs(np.empty(size, np.int32), np.zeros(1, np.int64))
    _fill(found, rows)
    return found


@njit(cache=True, nogil=True)
def find(pairs: Pairs, rows: Rows, u: int, v: int) -> np.int32:
    """The row of nodes u and v, or -1."""
    at = _home(pairs, u, v)
    while pairs.row[at] >= 0:
        row = rows[pairs.row[at]]
        if (row.u == u and row.v == v) or (row.u == v and row.v == u):
            break
        at = (at + 1) & (pairs.row.size - 1)
    found: np.int32 = pairs.row[at]
    return found


@njit(cache=True, nogil=True)
def enter(pairs: Pairs, rows: Rows, i: int) -> None:
    """Let row i be found by the pair that it has now."""
    if 4 * pairs.taken[0] >= 3 * pairs.row.size:
        _fill(pairs, rows)
    else:
        _put(pairs, rows, i)


@njit(cache=True, nogil=True)
def _fill(pairs: Pairs, rows: Rows) -> None:
    pairs.row[:] = -1
    pairs.taken[0] = 0
    for i in range(rows.size):
        if rows[i].u != GONE:
            _put(pairs, rows, i)


@njit(cache=True, nogil=True)
def _put(pairs: Pairs, rows: Rows, i: int) -> None:
    at = _home(pairs, rows[i].u, rows[i].v)
    while pairs.row[at] >= 0:
        at = (at + 1) & (pairs.row.size - 1)
    pairs.row[at] = i
    pairs.taken[0] += 1


@njit(cache=True, nogil=True, inline="always")
def _home(pairs: Pairs, u: int, v: int) -> np.int64:
    key = (np.uint64(min(u, v)) << np.uint64(32)) | np.uint64(max(u, v))
    mixed = key * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(pairs.row.size - 1))
