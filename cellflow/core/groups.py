"""Partition a graph group by group: what a group of nodes decides while all others are frozen.

Nodes are numbered along a Z-curve, so a group, a run of consecutive nodes, is compact in space and few edges
leave it. A segment is named by its smallest node, on every level.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cellflow.core.agglomeration import Agglomeration, unfinished
from cellflow.core.interactions import Interactions, contracted, renamed
from cellflow.core.linkage import Linkage

I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

BRIDGE = 2
"""Local steps from a pair that attracts in which nodes are kept for sums, though nothing attracts them: what
lies between the two may have to connect them."""


@dataclass(frozen=True)
class Group:
    """Nodes `start` to `stop` (exclusive), made of `members`: node ranges, or groups of the level below."""

    id: int
    start: int
    stop: int
    members: tuple[int, ...]


class Reducer(Protocol):
    """What a group asks of a solver."""

    @property
    def combination(self) -> Linkage:
        """How rows of equal pairs are combined."""

    def reduce(self, n_nodes: int, rows: Interactions, frozen: Flags | None) -> Agglomeration:
        """What the nodes that are not frozen join, as far as that is sure; None: the solution of it all."""


@dataclass(frozen=True)
class Decided:
    """What a group decided: which node each of its nodes that have edges joined, and what goes on."""

    node: I64
    """Ascending."""
    top: I64
    goes_on: Flags
    """Its segment is unfinished; the edges of others need not be looked at again."""
    forbidden: I64
    """Ranks of the rows across the border of the group that turned out never to be merged."""

    def follow(self, nodes: I64) -> tuple[I64, Flags]:
        """The nodes that these joined, and whether they go on; a node without edges stays, and does not."""
        if not self.node.size:
            return nodes, np.zeros(nodes.shape, np.bool_)
        row = np.minimum(np.searchsorted(self.node, nodes), self.node.size - 1)
        known = self.node[row] == nodes
        return np.where(known, self.top[row], nodes), known & self.goes_on[row]


def grouped(starts: Sequence[int], stop: int, weights: Sequence[int], limit: int) -> list[Group]:
    """Consecutive members, which begin at the nodes `starts`, in groups of at most `limit` by weight.

    A group has two members at least, but for the last: so there is an end to levels, whatever the limit.
    """
    bounds, total = [0], 0
    for i, weight in enumerate(weights):
        if total + weight > limit and i - bounds[-1] > 1:
            bounds.append(i)
            total = 0
        total += weight
    ends = [*starts, stop]
    return [
        Group(n, ends[a], ends[b], tuple(range(a, b)))
        for n, (a, b) in enumerate(pairwise([*bounds, len(weights)]))
    ]


def reduce_group(
    rows: Interactions, group: Group, solver: Reducer, *, last: bool = False
) -> tuple[Decided, Interactions]:
    """What a group decides from all edges of its nodes, and the edges inside that are left of them.

    The `last` group is all that is left of the graph: everything is decided.
    """
    ids, dense = np.unique(rows.edges, return_inverse=True)
    own = (ids >= group.start) & (ids < group.stop)
    found = solver.reduce(len(ids), replace(rows, edges=dense.reshape(-1, 2)), None if last else ~own)
    labels, left = found.labels, contracted(found.interactions, found.labels, solver.combination)
    alive = unfinished(len(ids), left)
    if solver.combination == "sum":
        alive |= _bridges(left, ~own)
    inside = np.asarray((own & alive)[left.edges].all(axis=1))
    kept = taken(left, inside)
    across = found.interactions.forbidden & ~own[dense.reshape(-1, 2)].all(axis=1)
    decided = Decided(ids[own], ids[labels[own]], alive[labels[own]], rows.rank[across])
    return decided, replace(kept, edges=ids[kept.edges])


def contract(rows: Interactions, here: Decided, there: Decided, linkage: Linkage) -> Interactions:
    """The edges from one group to a later one, after both have decided."""
    (u, u_goes_on), (v, v_goes_on) = here.follow(rows.edges[:, 0]), there.follow(rows.edges[:, 1])
    kept = u_goes_on & v_goes_on
    never = np.isin(rows.rank, here.forbidden) | np.isin(rows.rank, there.forbidden)
    marked = replace(rows, forbidden=rows.forbidden | never)
    return renamed(taken(marked, kept), np.stack([u[kept], v[kept]], axis=1), linkage)


def taken(rows: Interactions, wanted: Flags) -> Interactions:
    """The wanted rows, in their order."""
    return replace(rows, **{field.name: getattr(rows, field.name)[wanted] for field in fields(rows)})


def _bridges(rows: Interactions, frozen: Flags) -> Flags:
    """(n,): nodes that may yet connect a pair that attracts and does not touch, as a lifted multicut may ask.

    They lie a few local steps from such a pair, or from a `frozen` node (n,), which may have one that is not
    among the rows.
    """
    far = ~rows.local
    if not far.any():
        return np.zeros(frozen.size, np.bool_)
    near, local = frozen.copy(), rows.edges[rows.local]
    near[rows.edges[far & (rows.weight > 0)]] = True
    for _ in range(BRIDGE):
        u, v = near[local].T
        near[local[u, 1]] = near[local[v, 0]] = True
    return near
