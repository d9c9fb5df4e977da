"""A heap of (value, item) pairs that gives the largest value first, and of equal values the smallest item.

Its rows are int64 `(value, item)`; the caller counts them, and asks for room before it pushes.
"""

import numpy as np
from numba import njit

from cellflow.core.multicut.signed import I64

BRANCHES = 4  # flatter than a binary heap: fewer places to wait for


@njit(cache=True, nogil=True)
def room(heap: I64, size: int) -> I64:
    """A heap of the same rows with room for one more."""
    if size < len(heap):
        return heap
    larger = np.empty((2 * len(heap) + 16, 2), np.int64)
    larger[: len(heap)] = heap
    return larger


@njit(cache=True, nogil=True)
def push(heap: I64, size: int, value: int, item: int) -> int:
    """Put a pair in; the new size. There must be room."""
    at = size
    while at > 0:
        up = (at - 1) // BRANCHES
        if not before(value, item, heap[up, 0], heap[up, 1]):
            break
        heap[at, 0], heap[at, 1] = heap[up, 0], heap[up, 1]
        at = up
    heap[at, 0], heap[at, 1] = value, item
    return size + 1


@njit(cache=True, nogil=True)
def pop(heap: I64, size: int) -> int:
    """Take the first pair out; the new size."""
    size -= 1
    replace_first(heap, size, heap[size, 0], heap[size, 1])
    return size


@njit(cache=True, nogil=True)
def replace_first(heap: I64, size: int, value: int, item: int) -> None:
    """Put a pair where the first one is, and let it sink."""
    at = 0
    while True:
        child = BRANCHES * at + 1
        if child >= size:
            break
        best = child
        for k in range(child + 1, min(child + BRANCHES, size)):
            if before(heap[k, 0], heap[k, 1], heap[best, 0], heap[best, 1]):
                best = k
        if not before(heap[best, 0], heap[best, 1], value, item):
            break
        heap[at, 0], heap[at, 1] = heap[best, 0], heap[best, 1]
        at = best
    heap[at, 0], heap[at, 1] = value, item


@njit(cache=True, nogil=True, inline="always")
def before(value: int, item: int, other_value: int, other_item: int) -> bool:
    """Whether a pair comes out before another."""
    return value > other_value or (value == other_value and item < other_item)
