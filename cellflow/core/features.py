"""The edges of the region adjacency graph and what maps say about each, block by block.

A pair of voxels (i, i + offset) with two different labels is a sample of the edge (smaller label, larger
label). It belongs to the block that owns i, so every pair of the volume is counted exactly once. For a
boundary map the offsets are one voxel up along each axis: a block reads its core plus one voxel beyond
its upper faces, and both voxels of a pair give their value (uint8, probability x 255)::

    |ccccccc|r          core of a block, and the one voxel it reads beyond
            |ccccccc|r  its upper neighbour owns that voxel
           ^^           this pair belongs to the first block

For affinities the offsets are those of the channels, of any sign and length, and the channel at i gives
the value of the pair. Label 0 is masked: it has no edges.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.affinities import Offsets, checked, is_direct
from cellflow.core.edge_table import EdgeHistograms, frozen, histograms, merge
from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, Triple, box_shape

FACES = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.int64)
"""Owner to neighbour of every kind of pair of a boundary map (z, y, x)."""

U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
Slots = NDArray[np.uint32]
Edges = tuple[U64, U64, I64, NDArray[np.int32]]
Pairs = tuple[Slots, U8]


class AffinityEdges(NamedTuple):
    """Two graphs on the same labels; an edge may be in both, each with the samples of its own channels.

    Kept apart because a solver treats them apart (a long-range edge may forbid a merge, it never joins
    what does not touch); each merges, is stored and is summarised as the edges of a boundary map are.
    """

    local: EdgeHistograms
    """The region adjacency graph: pairs of direct neighbours."""
    long_range: EdgeHistograms
    """Pairs at all other offsets."""


def edges_block(labels: U64, boundaries: U8, core_shape: Triple) -> EdgeHistograms:
    """Histograms of the pairs that a block owns; a pair is two samples.

    `labels` and `boundaries` (z, y, x) are the core plus one voxel beyond its upper faces; at the end
    of the volume there is nothing beyond, and the axis is as long as the core. Labels may be any
    uint64. Raises BadInput if shapes or dtypes do not fit. Cost: at the peak 17 bytes per pair besides the
    input (6 per voxel for supervoxels of 2000 voxels), 130 where every pair is an edge of its own.
    """
    _check(labels, boundaries, core_shape)
    z, y, x = core_shape
    core = slice(0, z), slice(0, y), slice(0, x)
    return histograms(*_samples(labels, boundaries, FACES, core, per_pair=2))


def edges_block_affinities(labels: U64, affinities: U8, offsets: Offsets, crop: Box) -> AffinityEdges:
    """Histograms of the pairs (i, i + offset) whose voxel i a block owns; a pair is one sample.

    `labels` (z, y, x) are the outer box, `affinities` (c, z, y, x) the core alone: no other voxel has a
    say; `crop` is the core in coordinates of outer. Outer must reach `affinities.reach(offsets)` beyond
    the core, or to the end of the volume; what lies beyond it is taken to be outside. A sample is the
    boundary probability 255 - affinity, so that values mean the same as those of a boundary map.
    Offsets of one step along one axis give the region adjacency graph, all others the long-range edges;
    two channels of the same pair are two samples. Labels may be any uint64. Raises BadInput if shapes,
    dtypes or offsets do not fit. Channels are counted one after the other, so that the peak is that of
    one: 17 bytes per pair at most besides the input and the histograms.
    """
    _check_affinities(labels, affinities, offsets, crop)
    found: tuple[list[EdgeHistograms], list[EdgeHistograms]] = ([], [])
    for step, direct, channel in zip(checked(offsets), is_direct(offsets), affinities, strict=True):
        edges, samples, stops = _samples(labels, channel, step[None], crop, per_pair=1)
        np.invert(samples, out=samples)  # 255 - affinity
        found[0 if direct else 1].append(histograms(edges, samples, stops))
    return AffinityEdges(*(merge(parts) for parts in found))


def _check(labels: U64, boundaries: U8, core_shape: Triple) -> None:
    typed = labels.dtype == np.uint64 and boundaries.dtype == np.uint8
    same = labels.ndim == 3 and labels.shape == boundaries.shape
    if not typed or not same or not {*np.subtract(labels.shape, core_shape)} <= {0, 1}:
        raise BadInput(
            f"edge features: found labels {labels.dtype} {labels.shape} and boundaries {boundaries.dtype}"
            f" {boundaries.shape}, expected uint64 and uint8 (probability x 255), of the core {core_shape}"
            " or one voxel more along an axis; convert them before and read both with the same box"
        )


def _check_affinities(labels: U64, affinities: U8, offsets: Offsets, crop: Box) -> None:
    expected = (len(checked(offsets)), *box_shape(crop))
    typed = labels.dtype == np.uint64 and affinities.dtype == np.uint8
    within = labels.ndim == 3 and all(
        0 <= s.start <= s.stop <= n for s, n in zip(crop, labels.shape, strict=True)
    )
    if not typed or not within or affinities.shape != expected:
        raise BadInput(
            f"edge features: found labels {labels.dtype} {labels.shape} and affinities {affinities.dtype}"
            f" {affinities.shape}, expected uint64 around the core and uint8 (probability x 255)"
            f" {expected}, one channel per offset; convert them before and read affinities of the core"
        )


def _samples(labels: U64, values: U8, offsets: I64, crop: Box, *, per_pair: int) -> tuple[U64, U8, I64]:
    """Edges, sorted; their samples, edge after edge; where those of each edge end."""
    core = tuple(s.start for s in crop), tuple(s.stop for s in crop)
    u, v, pairs, slot, seen = _collect(frozen(labels), frozen(values), frozen(offsets), core, per_pair)
    order = np.lexsort((v, u))
    stops = per_pair * np.cumsum(pairs[order])
    samples = _gather(slot, seen, stops[np.argsort(order)] - per_pair * pairs)
    return np.stack([u[order], v[order]], axis=1), samples, stops


@njit(cache=True, nogil=True)
def _collect(
    labels: U64, values: U8, offsets: I64, core: tuple[Triple, Triple], per_pair: int
) -> tuple[U64, U64, I64, Slots, U8]:
    """Edges in the order of their first pair, and for every pair its edge and its samples.

    With one sample per pair it is the value at the owner; with two, also the one at the neighbour.
    """
    (z0, y0, x0), (z1, y1, x1) = core
    nz, ny, nx = labels.shape
    room = 4096
    while room < x1 - x0:  # a row never needs more; the hash table wants a power of two
        room *= 2
    slot, seen = np.empty(room, np.uint32), np.empty((room, per_pair), np.uint8)
    u, v, size = np.empty(room, np.uint64), np.empty(room, np.uint64), np.zeros(room, np.int64)
    table = np.full(2 * room, -1, np.int32)
    n_edges, pair = 0, 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            for dz, dy, dx in offsets:
                first, end = max(x0, -dx), min(x1, nx - dx)
                if not (0 <= z + dz < nz and 0 <= y + dy < ny and first < end):
                    continue
                if n_edges + end - first > u.size:
                    u, v, size, table = _double(u, v, size, n_edges)
                if pair + end - first > slot.size:
                    slot = np.concatenate((slot, np.empty_like(slot)))
                    seen = np.concatenate((seen, np.empty_like(seen)))
                ids = labels[z, y, first:end], labels[z + dz, y + dy, first + dx : end + dx]
                ez, ey, ex = (dz, dy, dx) if per_pair == 2 else (0, 0, 0)
                owners = values[z - z0, y - y0, first - x0 : end - x0]
                others = values[z - z0 + ez, y - y0 + ey, first - x0 + ex : end - x0 + ex]
                n_edges, pair = _row(
                    ids, (owners, others), (u, v, size, table), (slot, seen), (n_edges, pair)
                )
    return u[:n_edges], v[:n_edges], size[:n_edges], slot[:pair], seen[:pair]


@njit(cache=True, nogil=True)
def _row(
    ids: tuple[U64, U64], values: tuple[U8, U8], edges: Edges, pairs: Pairs, filled: tuple[int, int]
) -> tuple[int, int]:
    """Pairs between two rows of voxels. Written into the loops of `_collect` it is 1.4 times slower."""
    (here, there), (u, v, size, table), (slot, seen), (n_edges, pair) = ids, edges, pairs, filled
    edge, last_a, last_b = 0, np.uint64(0), np.uint64(0)
    since = pair  # where the pairs of this edge begin
    last = seen.shape[1] - 1  # a single sample is written twice: cheaper than to ask
    for x in range(here.size):
        a, b = here[x], there[x]
        if a == b or min(a, b) == 0:
            continue
        if a != last_a or b != last_b:  # along a face the next pair is the same edge
            size[edge] += pair - since
            last_a, last_b, since = a, b, pair
            low, high = min(a, b), max(a, b)
            cell = _find(table, u, v, low, high)
            edge = table[cell]
            if edge < 0:
                edge = n_edges
                u[edge], v[edge], table[cell] = low, high, edge
                n_edges += 1
        slot[pair] = edge
        seen[pair, 0], seen[pair, last] = values[0][x], values[1][x]
        pair += 1
    size[edge] += pair - since
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
def _double(u: U64, v: U64, size: I64, n_edges: int) -> Edges:
    """Room for twice as many edges. What lies behind `n_edges` is no edge yet and stays out of the table."""
    u, v = np.concatenate((u, np.empty_like(u))), np.concatenate((v, np.empty_like(v)))
    size, table = np.concatenate((size, np.zeros_like(size))), np.full(2 * u.size, -1, np.int32)
    for edge in range(n_edges):
        table[_find(table, u, v, u[edge], v[edge])] = edge
    return u, v, size, table


@njit(cache=True, nogil=True)
def _gather(slot: Slots, seen: U8, position: I64) -> U8:
    """The samples of one edge after those of the other; `position` is where each edge starts."""
    samples = np.empty(seen.size, np.uint8)
    per_pair = seen.shape[1]
    for pair in range(slot.size):
        at = position[slot[pair]]
        samples[at], samples[at + per_pair - 1] = seen[pair, 0], seen[pair, per_pair - 1]
        position[slot[pair]] = at + per_pair
    return samples
