"""Which of two pieces of evidence is stronger, and what pieces for the same pair of nodes are together.

A piece has a weight, a size of at least 1, a rank that no other has, and a value: weight / size. The
stronger of two has the larger absolute value, of equal ones the smaller rank. All in whole numbers, so
that nothing depends on the order of additions. Nothing overflows while the absolute weights of all
pieces sum to less than 2^62 and their sizes to less than 2^50.
"""

from typing import Literal, Protocol

import numpy as np
from numba import njit

Linkage = Literal["mean", "sum", "max", "min", "abs_max"]

MEAN, SUM, MAX, MIN, ABS_MAX = range(5)
CODES: dict[Linkage, int] = {"mean": MEAN, "sum": SUM, "max": MAX, "min": MIN, "abs_max": ABS_MAX}
"""Names of linkages, as kernels know them."""

LARGEST_WEIGHT = 2**62
LARGEST_SIZE = 2**50
RANKS = 2**61
"""Ranks are below this: they share a word with the flags."""

LOCAL, FORBIDDEN, FLAGS = 1, 2, 3

MARGIN = 2.0**-50
"""A quotient of rounded doubles errs by 3 x 2^-53: two that are further apart are in the right order."""

ROW = np.dtype(
    [
        ("u", np.int32),
        ("v", np.int32),
        ("weight", np.int64),
        ("size", np.int64),
        ("tag", np.int64),
        ("value", np.float64),
    ]
)
"""The type of an array of rows: the columns side by side, because they are moved and compared together."""


class Row(Protocol):
    """An element of such an array."""

    u: int
    v: int
    weight: int
    size: int
    """1 where sums are compared: their value is the weight."""
    tag: int
    """Rank x 4, and the flags LOCAL and FORBIDDEN."""
    value: float
    """Weight / size, rounded."""


@njit(cache=True, nogil=True, inline="always")
def tagged(rank: int, local: bool, forbidden: bool) -> int:
    """The tag of a row."""
    return (rank << 2) | (FORBIDDEN if forbidden else 0) | (LOCAL if local else 0)


@njit(cache=True, nogil=True, inline="always")
def order(difference: float, largest: float, mine: tuple[int, int], theirs: tuple[int, int]) -> int:
    """1, 0 or -1 as my weight / size is above, equal to or below theirs.

    `difference` of the rounded values, the `largest` of which is given, decides if it can. Otherwise the
    cross products differ by less than 2^63, so that their difference is right even if each wrapped around.
    """
    if abs(difference) > MARGIN * largest:
        return 1 if difference > 0 else -1
    (weight, size), (other_weight, other_size) = mine, theirs
    exact = np.int64(np.uint64(weight) * np.uint64(other_size) - np.uint64(other_weight) * np.uint64(size))
    return 1 if exact > 0 else -1 if exact < 0 else 0


@njit(cache=True, nogil=True, inline="always")
def stronger(a: Row, b: Row) -> bool:
    """Whether row a is stronger than b: by absolute value, then by rank."""
    x, y = abs(a.value), abs(b.value)
    found = order(x - y, max(x, y), (abs(a.weight), a.size), (abs(b.weight), b.size))
    return found > 0 or (found == 0 and a.tag >> 2 < b.tag >> 2)


@njit(cache=True, nogil=True, inline="always")
def above(a: Row, b: Row) -> bool:
    """Whether row a lies above b: by value with its sign, then by rank."""
    found = order(a.value - b.value, max(abs(a.value), abs(b.value)), (a.weight, a.size), (b.weight, b.size))
    return found > 0 or (found == 0 and a.tag >> 2 < b.tag >> 2)


@njit(cache=True, nogil=True, inline="always")
def combine(a: Row, b: Row, linkage: int) -> None:
    """Make row a what both are together. Associative and commutative.

    Mean: weights and sizes add; sum: weights add; both take the smaller rank. Max, min, abs_max: the upper,
    the lower, the stronger of the two, whole. A flag of either is a flag of both.
    """
    flags = (a.tag | b.tag) & FLAGS
    if linkage in (MEAN, SUM):
        a.weight += b.weight
        if linkage == MEAN:
            a.size += b.size
        a.value = a.weight / a.size
        a.tag = min(a.tag, b.tag)
    elif stronger(b, a) if linkage == ABS_MAX else above(b, a) == (linkage == MAX):
        a.weight, a.size, a.tag, a.value = b.weight, b.size, b.tag, b.value
    a.tag |= flags
