"""What was seen at each edge: histograms that add up over blocks, and the table of statistics they give.

Histograms are whole numbers: parts add up in any order and grouping, for any cut of the volume, to the
same histograms, and the mean, the variance and the quantiles that follow are those of all samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.errors import BadInput

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Rows = tuple[U64, I64, U8, U32]

FULL = 2**32 - 1
"""What one row can count."""


@dataclass(frozen=True)
class EdgeHistograms:
    """How often each boundary value was seen at each edge: 24 bytes per edge and 5 per row.

    The rows of edge e are `first[e]` to `first[e + 1]`, sorted by value. A value has one row; one that
    was seen more than FULL times has full rows before it, so that no count can overflow.
    """

    edges: U64
    """(m, 2): the two labels, smaller first; sorted, unique."""
    first: I64
    """(m + 1): where the rows of each edge begin, and where the last ones end."""
    value: U8
    """Boundary probability x 255."""
    count: U32
    """Samples of this value, at least 1."""


@dataclass(frozen=True)
class EdgeTable:
    """One row per edge, sorted by (u, v). Values are probabilities in 0..1; quantiles are (m, how many)."""

    edges: U64
    """(m, 2): the two labels, smaller first."""
    size: I64
    """Pairs of voxels that were looked at: of a boundary map, the area of the contact."""
    mean: F64
    variance: F64
    """Mean squared distance from the mean (divided by n, not n - 1)."""
    minimum: F64
    maximum: F64
    quantiles: F64


def histograms(edges: U64, samples: U8, stops: I64) -> EdgeHistograms:
    """The histograms of sorted edges; the samples of edge e end at `stops[e]`. Uses `samples` up."""
    first, value, count = _histograms(samples, stops)
    return EdgeHistograms(edges, first, value, count)


def merge(parts: Sequence[EdgeHistograms]) -> EdgeHistograms:
    """The histograms of all parts, the counts of equal edges and values added up.

    Associative, commutative and exact, so parts may be merged in any order and grouping. Cost: linear
    in the rows times log2 of the number of parts; at the peak twice the memory of the parts besides them.
    """
    empty = EdgeHistograms(
        np.empty((0, 2), np.uint64), np.zeros(1, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint32)
    )
    queue = list(parts) or [empty]
    while len(queue) > 1:
        pairs = zip(queue[::2], queue[1::2], strict=False)
        merged = [EdgeHistograms(*_merge_sorted(_columns(a), _columns(b))) for a, b in pairs]
        queue = merged + queue[2 * len(merged) :]
    return queue[0]


def between(rows: EdgeHistograms, start: int, stop: int) -> EdgeHistograms:
    """The histograms of the edges whose smaller label is in `start` to `stop` (exclusive), copied out."""
    a, b = np.searchsorted(rows.edges[:, 0], np.array([start, stop], np.uint64))
    first = rows.first[a : b + 1]
    within = slice(first[0], first[-1])
    edges, value, count = rows.edges[a:b].copy(), rows.value[within].copy(), rows.count[within].copy()
    return EdgeHistograms(edges, first - first[0], value, count)


def statistics(
    rows: EdgeHistograms,
    quantiles: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
    *,
    samples_per_pair: int = 2,
) -> EdgeTable:
    """Size, moments, extremes and quantiles of every edge, of all its samples.

    A pair of voxels gives two samples of a boundary map and one of an affinity (`samples_per_pair`): sizes
    count pairs. The q-quantile is the smallest value that at least the fraction q of the samples does not
    exceed: always a value that occurs, with no interpolation (`numpy.quantile(...,
    method="inverted_cdf")`). Mean and variance come from whole-number sums, correctly for any number of
    samples below 1e14. All are exact for uint8 maps. A float map that was rounded to uint8 has moved each
    sample by at most 1/510: so do mean, standard deviation, extremes and quantiles, at most.
    Raises BadInput for a quantile outside 0..1.
    """
    wanted = np.asarray(quantiles, np.float64).reshape(-1)
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise BadInput(
            f"quantiles of edge features: found {list(quantiles)}, expected numbers from 0 to 1;"
            " write the median as 0.5, not 50"
        )
    edges, first, value, count = _columns(rows)
    counts, moments, at_quantiles = _summarise(value, count, first, wanted)
    mean, variance, minimum, maximum = moments
    return EdgeTable(edges, counts // samples_per_pair, mean, variance, minimum, maximum, at_quantiles)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view, contiguous: arrays that come over the network are such, and one kernel serves all."""
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array


def _columns(rows: EdgeHistograms) -> Rows:
    return frozen(rows.edges), frozen(rows.first), frozen(rows.value), frozen(rows.count)


@njit(cache=True, nogil=True)
def _histograms(samples: U8, stops: I64) -> tuple[I64, U8, U32]:
    """The columns `first`, `value` and `count`. A row is written over samples that were read."""
    histogram, count = np.zeros(256, np.int64), np.empty(samples.size, np.uint32)
    first = np.zeros(stops.size + 1, np.int64)
    start, row = 0, 0
    for edge in range(stops.size):
        for sample in samples[start : stops[edge]]:
            histogram[sample] += 1
        start = stops[edge]
        for value in range(256):
            if histogram[value] > 0:
                row = _put(value, histogram[value], samples, count, row)
                histogram[value] = 0
        first[edge + 1] = row
    return first, samples[:row].copy(), count[:row].copy()


@njit(cache=True, nogil=True)
def _put(seen: int, times: np.int64, value: U8, count: U32, row: int) -> int:
    """Write how often a value was seen; the next free row."""
    while times > FULL:
        value[row], count[row] = seen, FULL
        times -= np.int64(FULL)
        row += 1
    value[row], count[row] = seen, times
    return row + 1


@njit(cache=True, nogil=True)
def _merge_sorted(a: Rows, b: Rows) -> Rows:
    (a_edges, a_first, a_value, a_count), (b_edges, b_first, b_value, b_count) = a, b
    m, n = len(a_edges), len(b_edges)
    edges, first = np.empty((m + n, 2), np.uint64), np.zeros(m + n + 1, np.int64)
    value = np.empty(a_value.size + b_value.size, np.uint8)
    count = np.empty(value.size, np.uint32)
    i, j, edge, row = 0, 0, 0, 0
    while i < m or j < n:
        left = i < m and (j == n or (a_edges[i, 0], a_edges[i, 1]) <= (b_edges[j, 0], b_edges[j, 1]))
        right = j < n and (i == m or (b_edges[j, 0], b_edges[j, 1]) <= (a_edges[i, 0], a_edges[i, 1]))
        edges[edge] = a_edges[i] if left else b_edges[j]
        p, p_stop = a_first[i], a_first[i + left]  # no rows, if the edge is not this part's
        q, q_stop = b_first[j], b_first[j + right]
        while p < p_stop or q < q_stop:
            seen = min(a_value[p] if p < p_stop else 255, b_value[q] if q < q_stop else 255)
            times = np.int64(0)
            while p < p_stop and a_value[p] == seen:
                times += np.int64(a_count[p])
                p += 1
            while q < q_stop and b_value[q] == seen:
                times += np.int64(b_count[q])
                q += 1
            row = _put(seen, times, value, count, row)
        i, j, edge = i + left, j + right, edge + 1
        first[edge] = row
    # What lies behind was never written and goes with the view.
    return edges[:edge], first[: edge + 1], value[:row], count[:row]


@njit(cache=True, nogil=True)
def _summarise(value: U8, count: U32, first: I64, quantiles: F64) -> tuple[I64, F64, F64]:
    """Samples of each edge; in rows the mean, variance, minimum, maximum; in columns the quantiles."""
    counts = np.zeros(first.size - 1, np.int64)
    moments, at_quantiles = np.empty((4, counts.size)), np.empty((counts.size, quantiles.size))
    for edge in range(counts.size):
        start, stop = first[edge], first[edge + 1]
        n, total = np.int64(0), np.int64(0)
        for row in range(start, stop):
            n += np.int64(count[row])
            total += np.int64(count[row]) * np.int64(value[row])
        # Around a whole number near the mean, so that no digits cancel in the difference below.
        near, squares = total // n, np.int64(0)
        for row in range(start, stop):
            squares += np.int64(count[row]) * (np.int64(value[row]) - near) ** 2
        counts[edge] = n
        moments[0, edge] = total / (255 * n)
        moments[1, edge] = (squares / n - ((total - n * near) / n) ** 2) / 255**2
        moments[2, edge], moments[3, edge] = value[start] / 255, value[stop - 1] / 255
        for k in range(quantiles.size):
            last = max(np.ceil(n * quantiles[k] - 1), 0)  # position of the quantile among the samples
            row, below = start, np.int64(count[start])
            while below <= last:
                row += 1
                below += np.int64(count[row])
            at_quantiles[edge, k] = value[row] / 255
    return counts, moments, at_quantiles
