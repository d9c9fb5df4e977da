"""Signed evidence for and against one label of two nodes, in whole numbers: what agglomeration works on.

Rows of equal pairs combine by linkage (`cellflow.core.linkage`). That is associative, commutative and
exact: a table may be cut, contracted and joined in any order and grouping, and comes out the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.costs import multicut_costs, signed_weights
from cellflow.core.errors import BadInput
from cellflow.core.graphs import Graph
from cellflow.core.linkage import (
    CODES,
    FORBIDDEN,
    LARGEST_SIZE,
    LARGEST_WEIGHT,
    LOCAL,
    MEAN,
    RANKS,
    ROW,
    SUM,
    Linkage,
    combine,
    tagged,
)

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Flags = NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)
Columns = tuple[I64, I64, I64, Flags, Flags]

SCALE = 2.0**24
"""The weight of a voxel pair that attracts with all it has: probabilities have steps of 6e-8."""
COST_SCALE = 2.0**20
"""The weight of a voxel pair that costs 1 to cut: costs reach 7 and more, and sums grow large."""


class Ranks(NamedTuple):
    """The numbers that the rows of a part have in the whole graph: edges, long-range and lifted pairs."""

    edges: I64
    long_range: I64
    lifted: I64


def ranks_of(graph: Graph) -> Ranks:
    """Those of a whole graph: they count on from the edges to the pairs."""
    kinds = (graph, graph.long_range, graph.lifted)
    ends = np.cumsum([len(kind.edges) if kind else 0 for kind in kinds])
    numbers = np.arange(ends[2])
    return Ranks(numbers[: ends[0]], numbers[ends[0] : ends[1]], numbers[ends[1] :])


@dataclass(frozen=True, eq=False)
class Interactions:
    """One row for each pair of nodes that something is known of, sorted by pair; 42 bytes a row.

    A table that exists is valid: anything else raises `BadInput` with the first wrong row. So does one
    whose absolute weights sum to 2^62 or whose sizes sum to 2^50: no sum over its rows can overflow.
    Columns of the right type are not copied; all are read-only.
    """

    edges: I64
    """(m, 2): node numbers u < v."""
    weight: I64
    """Above 0 attracts, below repels; of `mean` and `sum` over all voxel pairs together."""
    size: I64
    """Voxel pairs, at least 1. A row's value is weight / size; of `sum` it is the weight."""
    rank: I64
    """Number of an original edge, below 2^61, the smallest of those in it; no two rows have the same.
    Of equally strong rows the one of smaller rank comes first."""
    local: Flags
    """The two touch. Without this a row is evidence, but its nodes are not merged for it."""
    forbidden: Flags
    """The two are never merged, whatever else speaks for it."""

    def __post_init__(self) -> None:
        for column in fields(self):
            kind = np.dtype(bool if column.name in ("local", "forbidden") else np.int64)
            shape = (len(self.edges), 2) if column.name == "edges" else (len(self.edges),)
            found = np.asarray(getattr(self, column.name))
            if found.shape != shape or not np.can_cast(found.dtype, kind, "same_kind"):
                raise BadInput(
                    f"interactions: found {column.name} {found.dtype} {found.shape}, expected {kind} "
                    f"{shape}; give one row per pair"
                )
            object.__setattr__(self, column.name, _read_only(np.ascontiguousarray(found, kind)))
        row, wrong = _first_wrong(self.edges, self.weight, self.size, self.rank)
        if wrong >= 0:
            (u, v), weight, size, rank = self.edges[row], self.weight[row], self.size[row], self.rank[row]
            raise BadInput(
                f"interactions: row {row} ({u}, {v}), weight {weight}, size {size}, rank {rank}: "
                f"{REFUSALS[wrong]}"
            )

    @property
    def columns(self) -> Columns:
        """All but the edges, for kernels."""
        return self.weight, self.size, self.rank, self.local, self.forbidden


def of_graph(graph: Graph, beta: float, linkage: Linkage, ranks: Ranks | None = None) -> Interactions:
    """The evidence of a graph: each pair attracts by `(1 - boundary) - beta`, in steps of 2^-24.

    Multiplied by the size (rounded, at least 1) for `mean` and `sum`; the others look at no sizes. Pairs
    of `graph.long_range` are not local; `graph.lifted` is not looked at. `ranks` are those in a larger
    graph that this one is a part of.
    """
    further = graph.long_range or Graph(graph.n_nodes, np.empty((0, 2), np.int64), np.empty(0), np.empty(0))
    near, far, _ = ranks or ranks_of(graph)
    sized = linkage in ("mean", "sum")
    found = _rows(graph, signed_weights(graph.boundary, beta) * SCALE, near, sized=sized, local=True)
    if not far.size:
        return found
    more = _rows(further, signed_weights(further.boundary, beta) * SCALE, far, sized=sized, local=False)
    return merged([found, more], linkage)


def of_costs(graph: Graph, beta: float, rank: I64, *, sized: bool, scale: float = COST_SCALE) -> Interactions:
    """What it costs to cut the edges of a graph (`multicut_costs`), times `scale`, for the linkage sum.

    Multiplied by the size (rounded, at least 1) if `sized`. Long-range and lifted pairs are left out. `rank`
    are the numbers of the edges in a larger graph that this one is a part of.
    """
    return _rows(graph, multicut_costs(graph.boundary, beta) * scale, rank, sized=sized, local=True)


def merged(parts: Sequence[Interactions], linkage: Linkage) -> Interactions:
    """The rows of all parts, those of equal pairs combined. Associative, commutative and exact.

    `mean` and `sum` add weights and sizes and take the smallest rank. `max`, `min` and `abs_max` take the
    row of the largest, smallest, largest absolute value as it is; of equal values `min` takes the largest
    rank, so that what it takes is never stronger, and the others the smallest. Local or forbidden is what
    is so in any part. Cost: linear in rows and largest node number, 60 bytes a row besides the result.
    """
    edges = np.concatenate([np.empty((0, 2), np.int64), *(part.edges for part in parts)])
    none = (*(np.empty(0, np.int64),) * 3, *(np.empty(0, np.bool_),) * 2)
    columns = zip(none, *(part.columns for part in parts), strict=True)
    weight, size, rank, local, forbidden = (_read_only(np.concatenate(column)) for column in columns)
    return joined(edges, (weight, size, rank, local, forbidden), linkage)


def contracted(rows: Interactions, labels: I64, linkage: Linkage) -> Interactions:
    """The rows between the segments that nodes have become: node i is now number `labels[i]`.

    Rows within a segment are dropped, those of equal pairs are combined as `merged` does.
    """
    return renamed(rows, np.asarray(labels, np.int64)[rows.edges], linkage)


def renamed(rows: Interactions, edges: I64, linkage: Linkage) -> Interactions:
    """The rows with other nodes, `edges` (m, 2) with either node first; otherwise as `contracted`."""
    return joined(edges, rows.columns, linkage)


def _read_only(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """A view: columns that come over the network are read-only too, and one kernel serves all."""
    view = array.view()
    view.flags.writeable = False
    return view


def joined(edges: I64, columns: Columns, linkage: Linkage) -> Interactions:
    """A table of rows in any order, `edges` (m, 2) with either node first; otherwise as `merged`."""
    ids, top = None, int(edges.max(initial=-1)) + 1
    if top > 8 * len(edges) + 1024:  # counting by node number would take more than the rows
        ids, dense = np.unique(edges, return_inverse=True)
        edges, top = dense.reshape(-1, 2), len(ids)
    pairs, *found = _join(edges, _by_pair(edges, top), columns, CODES[linkage])
    return Interactions(pairs if ids is None else ids[pairs], *found)


def _rows(graph: Graph, attraction: F64, rank: I64, *, sized: bool, local: bool) -> Interactions:
    attraction = np.rint(attraction)
    size = np.maximum(np.rint(graph.sizes), 1) if sized else np.ones(len(attraction))
    weight = attraction * size
    # In doubles, before anything can wrap around; the exact sums are looked at again.
    if np.abs(weight).sum() >= LARGEST_WEIGHT or size.sum() >= LARGEST_SIZE:
        raise BadInput(
            f"interactions: found {size.sum():g} voxel pairs in {len(size)} edges, expected fewer than 2^50 "
            "and 2^62 in weights; solve block by block"
        )
    flags = np.full(len(size), local)
    whole = size.astype(np.int64)
    return Interactions(
        graph.edges, attraction.astype(np.int64) * whole, whole, rank, flags, np.zeros_like(flags)
    )


REFUSALS = (
    "its nodes are not 0 <= u < v; drop pairs of a node with itself, put the smaller number first",
    "not behind the row before it; sort by pair, and merge equal pairs",
    "the size is below 1; sizes count voxel pairs",
    "the rank is not in 0..2^61; number the edges from 0",
    "the absolute weights up to here sum to 2^62 or more; solve block by block",
    "the sizes up to here sum to 2^50 or more; solve block by block",
)


@njit(cache=True, nogil=True)
def _first_wrong(edges: I64, weight: I64, size: I64, rank: I64) -> tuple[int, int]:
    """The first row that is refused and why, or -1."""
    weights, sizes, wrong = np.int64(0), np.int64(0), -1
    for row in range(edges.shape[0]):
        u, v = edges[row]
        # What is left up to the limit: nothing wraps around, and the smallest int64 has no absolute value.
        room = LARGEST_WEIGHT - 1 - weights
        if u < 0 or u >= v:
            wrong = 0
        elif row > 0 and (u < edges[row - 1, 0] or (u == edges[row - 1, 0] and v <= edges[row - 1, 1])):
            wrong = 1
        elif size[row] < 1:
            wrong = 2
        elif rank[row] < 0 or rank[row] >= RANKS:
            wrong = 3
        elif weight[row] > room or weight[row] < -room:
            wrong = 4
        elif size[row] > LARGEST_SIZE - 1 - sizes:
            wrong = 5
        if wrong >= 0:
            return row, wrong
        weights += abs(weight[row])
        sizes += size[row]
    return -1, -1


@njit(cache=True, nogil=True)
def _by_pair(edges: I64, n_nodes: int) -> I64:
    """The order of rows by (smaller node, larger node): two sorts by counting."""
    order = np.arange(edges.shape[0])
    for smaller in (False, True):
        start, result = np.zeros(n_nodes + 1, np.int64), np.empty_like(order)
        for u, v in edges:
            start[(min(u, v) if smaller else max(u, v)) + 1] += 1
        for node in range(n_nodes):
            start[node + 1] += start[node]
        for row in order:
            u, v = edges[row]
            key = min(u, v) if smaller else max(u, v)
            result[start[key]] = row
            start[key] += 1
        order = result
    return order


@njit(cache=True, nogil=True)
def _join(edges: I64, order: I64, columns: Columns, linkage: int) -> tuple[I64, I64, I64, I64, Flags, Flags]:
    """All columns of the rows in this order: equal pairs combined, pairs of a node with itself left out."""
    weight, size, rank, local, forbidden = columns
    pairs, out_weight, out_size, out_rank = (
        np.empty_like(edges),
        np.empty_like(weight),
        np.empty_like(size),
        np.empty_like(rank),
    )
    out_local, out_forbidden = np.empty_like(local), np.empty_like(forbidden)
    rows, count, total = np.empty(2, ROW), -1, np.int64(0)
    for i in order:
        u, v = min(edges[i, 0], edges[i, 1]), max(edges[i, 0], edges[i, 1])
        if u == v:
            continue
        rows[1].weight, rows[1].size = weight[i], np.int64(1) if linkage == SUM else size[i]
        rows[1].value = rows[1].weight / rows[1].size
        rows[1].tag = tagged(rank[i], local[i], forbidden[i])
        if count >= 0 and pairs[count, 0] == u and pairs[count, 1] == v:
            combine(rows[0], rows[1], linkage)
            total = total + size[i] if linkage in (MEAN, SUM) else rows[0].size
        else:
            count += 1
            rows[0], total = rows[1], size[i]
            pairs[count] = u, v
        out_weight[count], out_size[count], out_rank[count] = rows[0].weight, total, rows[0].tag >> 2
        out_local[count] = rows[0].tag & LOCAL != 0
        out_forbidden[count] = rows[0].tag & FORBIDDEN != 0
    n = count + 1
    return pairs[:n], out_weight[:n], out_size[:n], out_rank[:n], out_local[:n], out_forbidden[:n]
