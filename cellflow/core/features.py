"""The edges of the region adjacency graph and what the boundary map says about each, block by block.

A pair of face-touching voxels (i, i + 1 along one axis) with two different labels is one sample of
contact. It belongs to the block that owns i, so a block reads its core plus one voxel beyond its upper
faces, and every pair of the volume is counted exactly once::

    |ccccccc|r          core of a block, and the one voxel it reads beyond
            |ccccccc|r  its upper neighbour owns that voxel
           ^^           this pair belongs to the first block

Both voxels of a pair give their boundary value (uint8, probability x 255) to the histogram of the edge
(smaller label, larger label). Histograms are whole numbers: blocks add up in any order, for any cut of
the volume, to the same table, and the mean, the variance and the quantiles that follow are those of
all samples. Label 0 is masked: it has no edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple

FACES = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
"""Owner to neighbour of every kind of pair (z, y, x); no entry may be negative."""

U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Slots = NDArray[np.uint32]
Edges = tuple[U64, U64, I64, NDArray[np.int32]]
Rows = tuple[U64, U64, U8, I64]


@dataclass(frozen=True)
class EdgeHistograms:
    """How often each boundary value was seen at each edge: one row per (u, v, value), sorted, unique."""

    u: U64
    v: U64
    """The labels of the edge, u < v."""
    value: U8
    """Boundary probability x 255."""
    count: I64
    """Voxels that showed this value; a pair of voxels counts two."""


@dataclass(frozen=True)
class EdgeTable:
    """One row per edge, sorted by (u, v). Values are probabilities in 0..1; quantiles are (m, how many)."""

    edges: U64
    """(m, 2): the two labels, smaller first."""
    size: I64
    """Area of the contact in voxel pairs."""
    mean: F64
    variance: F64
    """Mean squared distance from the mean (divided by n, not n - 1)."""
    minimum: F64
    maximum: F64
    quantiles: F64


def edges_block(labels: U64, boundaries: U8, core_shape: Triple) -> EdgeHistograms:
    """Histogram rows of the pairs that a block owns.

    `labels` and `boundaries` (z, y, x) are the core plus one voxel beyond its upper faces; at the end
    of the volume there is nothing beyond, and the axis is as long as the core. Labels may be any
    uint64. Raises BadInput if shapes or dtypes do not fit. Cost: at the peak 17 bytes per pair besides the
    input (6 per voxel for supervoxels of 2000 voxels), 130 where every pair is an edge of its own, as in noise.
    """
    _check(labels, boundaries, core_shape)
    labels, boundaries = _frozen(labels), _frozen(boundaries)
    u, v, pairs, slot, values = _collect(labels, boundaries, core_shape)
    order = np.lexsort((v, u))
    stops = 2 * np.cumsum(pairs[order])
    samples = _gather(slot, values, stops[np.argsort(order)] - 2 * pairs)
    del slot, values  # the rows are the peak: make room
    value, count, rows = _histograms(samples, stops)
    return EdgeHistograms(np.repeat(u[order], rows), np.repeat(v[order], rows), value, count)


def merge(parts: Sequence[EdgeHistograms]) -> EdgeHistograms:
    """The rows of all parts, equal (u, v, value) added up.

    Associative, commutative and exact, so parts may be merged in any order and grouping. Cost: linear
    in the rows times log2 of the number of parts; at the peak twice the memory of the parts besides them.
    """
    none = np.empty(0, np.uint64)
    queue = list(parts) or [EdgeHistograms(none, none, none.astype(np.uint8), none.astype(np.int64))]
    while len(queue) > 1:
        pairs = zip(queue[::2], queue[1::2], strict=False)
        merged = [EdgeHistograms(*_merge_sorted(_columns(a), _columns(b))) for a, b in pairs]
        queue = merged + queue[2 * len(merged) :]
    return queue[0]


def statistics(rows: EdgeHistograms, quantiles: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9)) -> EdgeTable:
    """Size, moments, extremes and quantiles of every edge, of all its samples.

    The q-quantile is the smallest value that at least the fraction q of the samples does not exceed:
    always a value that occurs, with no interpolation (`numpy.quantile(..., method="inverted_cdf")`).
    Mean and variance come from whole-number sums, correctly for any number of samples below 1e14.
    Raises BadInput for a quantile outside 0..1.
    """
    wanted = np.asarray(quantiles, np.float64).reshape(-1)
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise BadInput(
            f"quantiles of edge features: found {list(quantiles)}, expected numbers from 0 to 1;"
            " write the median as 0.5, not 50"
        )
    u, v, value, count = _columns(rows)
    first = np.flatnonzero(np.append(u.size > 0, (u[1:] != u[:-1]) | (v[1:] != v[:-1])))
    counts, moments, at_quantiles = _summarise(value, count, np.append(first, u.size), wanted)
    mean, variance, minimum, maximum = moments
    edges = np.stack([u[first], v[first]], axis=1)
    return EdgeTable(edges, counts // 2, mean, variance, minimum, maximum, at_quantiles)


def _check(labels: U64, boundaries: U8, core_shape: Triple) -> None:
    typed = labels.dtype == np.uint64 and boundaries.dtype == np.uint8
    same = labels.ndim == 3 and labels.shape == boundaries.shape
    if not typed or not same or not {*np.subtract(labels.shape, core_shape)} <= {0, 1}:
        raise BadInput(
            f"edge features: found labels {labels.dtype} {labels.shape} and boundaries {boundaries.dtype}"
            f" {boundaries.shape}, expected uint64 and uint8 (probability x 255), of the core {core_shape}"
            " or one voxel more along an axis; convert them before and read both with the same box"
        )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    # Arrays that come over the network are read-only: one compiled kernel serves them and all others.
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array


def _columns(rows: EdgeHistograms) -> Rows:
    return _frozen(rows.u), _frozen(rows.v), _frozen(rows.value), _frozen(rows.count)


@njit(cache=True, nogil=True)
def _collect(labels: U64, boundaries: U8, core: Triple) -> tuple[U64, U64, I64, Slots, U8]:
    """Edges in the order of their first pair, and for every pair its edge and its two values."""
    room = 4096
    while room < core[2]:  # a row never needs more; the hash table wants a power of two
        room *= 2
    slot, values = np.empty(room, np.uint32), np.empty((room, 2), np.uint8)
    u, v, size = np.empty(room, np.uint64), np.empty(room, np.uint64), np.zeros(room, np.int64)
    table = np.full(2 * room, -1, np.int32)
    n_edges, pair = 0, 0
    nz, ny, nx = labels.shape
    for z in range(core[0]):
        for y in range(core[1]):
            for dz, dy, dx in FACES:
                if z + dz >= nz or y + dy >= ny:
                    continue
                if n_edges + core[2] > u.size:
                    u, v, size, table = _double(u, v, size)
                if pair + core[2] > slot.size:
                    slot = np.concatenate((slot, np.empty_like(slot)))
                    values = np.concatenate((values, np.empty_like(values)))
                n = min(core[2], nx - dx)
                ids = labels[z, y, :n], labels[z + dz, y + dy, dx:]
                seen = boundaries[z, y], boundaries[z + dz, y + dy, dx:]
                n_edges, pair = _row(ids, seen, (u, v, size, table), (slot, values), (n_edges, pair))
    return u[:n_edges], v[:n_edges], size[:n_edges], slot[:pair], values[:pair]


@njit(cache=True, nogil=True)
def _row(
    ids: tuple[U64, U64], seen: tuple[U8, U8], edges: Edges, pairs: tuple[Slots, U8], filled: tuple[int, int]
) -> tuple[int, int]:
    """Pairs between two rows of voxels. Written into the loops of `_collect` it is 1.4 times slower."""
    (here, there), (u, v, size, table), (slot, values), (n_edges, pair) = ids, edges, pairs, filled
    edge, last_a, last_b = 0, np.uint64(0), np.uint64(0)
    for x in range(here.size):
        a, b = here[x], there[x]
        if a == b or min(a, b) == 0:
            continue
        if a != last_a or b != last_b:  # along a face the next pair is the same edge
            last_a, last_b = a, b
            low, high = min(a, b), max(a, b)
            cell = _find(table, u, v, low, high)
            edge = table[cell]
            if edge < 0:
                edge = n_edges
                u[edge], v[edge], table[cell] = low, high, edge
                n_edges += 1
        slot[pair] = edge
        values[pair, 0], values[pair, 1] = seen[0][x], seen[1][x]
        size[edge] += 1
        pair += 1
    return n_edges, pair


@njit(cache=True, nogil=True)
def _find(table: NDArray[np.int32], u: U64, v: U64, low: np.uint64, high: np.uint64) -> np.uint64:
    """The cell of the hash table that holds this edge, or the empty one where it belongs."""
    mask = np.uint64(table.size - 1)
    mixed = (low * np.uint64(0x9E3779B97F4A7C15) ^ high) * np.uint64(0xD6E8FEB86659FD93)
    cell = (mixed >> np.uint64(32)) & mask
    while table[cell] >= 0 and (u[table[cell]] != low or v[table[cell]] != high):
        cell = (cell + np.uint64(1)) & mask
    return cell


@njit(cache=True, nogil=True)
def _double(u: U64, v: U64, size: I64) -> Edges:
    n = u.size
    u, v = np.concatenate((u, np.empty_like(u))), np.concatenate((v, np.empty_like(v)))
    size, table = np.concatenate((size, np.zeros_like(size))), np.full(4 * n, -1, np.int32)
    for edge in range(n):
        table[_find(table, u, v, u[edge], v[edge])] = edge
    return u, v, size, table


@njit(cache=True, nogil=True)
def _gather(slot: Slots, values: U8, position: I64) -> U8:
    """The values of one edge after those of the other; `position` is where each edge starts."""
    samples = np.empty(2 * slot.size, np.uint8)
    for pair in range(slot.size):
        at = position[slot[pair]]
        samples[at], samples[at + 1] = values[pair]
        position[slot[pair]] = at + 2
    return samples


@njit(cache=True, nogil=True)
def _histograms(samples: U8, stops: I64) -> tuple[U8, I64, I64]:
    """Values and counts of every run of samples, and how many values a run has. Uses `samples` up."""
    histogram, count = np.zeros(256, np.int64), np.empty(samples.size, np.int64)
    rows = np.zeros(stops.size, np.int64)
    start, row = 0, 0
    for edge in range(stops.size):
        for sample in samples[start : stops[edge]]:
            histogram[sample] += 1
        start = stops[edge]
        for value in range(256):
            if histogram[value] > 0:
                samples[row], count[row] = value, histogram[value]  # at most as many values as samples
                histogram[value] = 0
                rows[edge] += 1
                row += 1
    return samples[:row].copy(), count[:row].copy(), rows


@njit(cache=True, nogil=True)
def _merge_sorted(a: Rows, b: Rows) -> Rows:
    (a_u, a_v, a_w, a_count), (b_u, b_v, b_w, b_count) = a, b
    m, n = a_u.size, b_u.size
    u, v = np.empty(m + n, np.uint64), np.empty(m + n, np.uint64)
    value, count = np.empty(m + n, np.uint8), np.zeros(m + n, np.int64)
    i, j, k = 0, 0, 0
    while i < m or j < n:
        left = i < m and (j == n or (a_u[i], a_v[i], a_w[i]) <= (b_u[j], b_v[j], b_w[j]))
        right = j < n and (i == m or (b_u[j], b_v[j], b_w[j]) <= (a_u[i], a_v[i], a_w[i]))
        if left:
            u[k], v[k], value[k], count[k] = a_u[i], a_v[i], a_w[i], a_count[i]
            i += 1
        if right:
            u[k], v[k], value[k] = b_u[j], b_v[j], b_w[j]
            count[k] += b_count[j]
            j += 1
        k += 1
    return u[:k], v[:k], value[:k], count[:k]  # what lies behind was never written and goes with the view


@njit(cache=True, nogil=True)
def _summarise(value: U8, count: I64, bounds: I64, quantiles: F64) -> tuple[I64, F64, F64]:
    """Samples of each edge; in rows the mean, variance, minimum, maximum; in columns the quantiles."""
    counts = np.zeros(bounds.size - 1, np.int64)
    moments, at_quantiles = np.empty((4, counts.size)), np.empty((counts.size, quantiles.size))
    for edge in range(counts.size):
        first, stop = bounds[edge], bounds[edge + 1]
        n, total = 0, 0
        for row in range(first, stop):
            n += count[row]
            total += count[row] * value[row]
        # Around a whole number near the mean: n x sum of squares would leave int64 at 1e7 samples.
        near, squares = total // n, 0
        for row in range(first, stop):
            squares += count[row] * (value[row] - near) ** 2
        counts[edge] = n
        moments[0, edge] = total / (255 * n)
        moments[1, edge] = (squares / n - ((total - n * near) / n) ** 2) / 255**2
        moments[2, edge], moments[3, edge] = value[first] / 255, value[stop - 1] / 255
        for k in range(quantiles.size):
            last = max(np.ceil(n * quantiles[k] - 1), 0)  # position of the quantile among the samples
            row, below = first, count[first]
            while below <= last:
                row += 1
                below += count[row]
            at_quantiles[edge, k] = value[row] / 255
    return counts, moments, at_quantiles
