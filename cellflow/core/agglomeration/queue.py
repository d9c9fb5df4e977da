"""A heap of rows, the strongest on top: rows may enter, change their strength and leave at any time."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.agglomeration.rounds import I32, I64, Rows
from cellflow.core.linkage import MARGIN, stronger

BRANCHES = 4


class Queue(NamedTuple):
    """No row is stronger than the one above it, at a quarter of its place."""

    item: I32
    key: NDArray[np.float64]
    """Absolute value of each item: rows are looked at only where two are nearly equal."""
    place: I32
    """Of each row, -1 for those outside."""
    size: I64
    """(1,): items."""


@njit(cache=True, nogil=True)
def queue(rows: Rows, wanted: I32) -> Queue:
    """A queue of the wanted rows, made in linear time: 16 bytes a row."""
    n, m = wanted.size, rows.size
    found = Queue(np.empty(m, np.int32), np.empty(m), np.full(m, -1, np.int32), np.array([n]))
    for at in range(n):
        _put(found, at, wanted[at], abs(rows[wanted[at]].value))
    for at in range(n // BRANCHES, -1, -1):
        if at < n:
            _sink(found, rows, at)
    return found


@njit(cache=True, nogil=True)
def settle(queue: Queue, rows: Rows, i: int, inside: bool) -> None:
    """Put row i where its strength belongs, or take it out if it is to be outside."""
    at, size = queue.place[i], queue.size
    if inside:
        if at < 0:
            at = size[0]
            size[0] += 1
        _put(queue, at, i, abs(rows[i].value))
    elif at >= 0:
        size[0] -= 1
        queue.place[i] = -1
        if at < size[0]:
            _put(queue, at, queue.item[size[0]], queue.key[size[0]])
    if 0 <= at < size[0] and not _rise(queue, rows, at):
        _sink(queue, rows, at)


@njit(cache=True, nogil=True, inline="always")
def _put(queue: Queue, at: int, i: int, key: float) -> None:
    queue.item[at], queue.key[at], queue.place[i] = i, key, at


@njit(cache=True, nogil=True, inline="always")
def _before(rows: Rows, i: int, key: float, other: int, other_key: float) -> bool:
    if abs(key - other_key) > MARGIN * max(key, other_key):
        return key > other_key
    tied: bool = stronger(rows[i], rows[other])
    return tied


@njit(cache=True, nogil=True)
def _rise(queue: Queue, rows: Rows, start: int) -> bool:
    """Whether an item went up."""
    i, key, at = queue.item[start], queue.key[start], start
    while at > 0:
        above = (at - 1) // BRANCHES
        if not _before(rows, i, key, queue.item[above], queue.key[above]):
            break
        _put(queue, at, queue.item[above], queue.key[above])
        at = above
    _put(queue, at, i, key)
    return at < start


@njit(cache=True, nogil=True)
def _sink(queue: Queue, rows: Rows, start: int) -> None:
    i, key, at, n = queue.item[start], queue.key[start], start, queue.size[0]
    while BRANCHES * at + 1 < n:
        best = BRANCHES * at + 1
        for other in range(best + 1, min(BRANCHES * (at + 1) + 1, n)):
            if _before(rows, queue.item[other], queue.key[other], queue.item[best], queue.key[best]):
                best = other
        if not _before(rows, queue.item[best], queue.key[best], i, key):
            break
        _put(queue, at, queue.item[best], queue.key[best])
        at = best
    _put(queue, at, i, key)
