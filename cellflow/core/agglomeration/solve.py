"""Greedy agglomeration of signed evidence: of a whole graph, or as far as a part of it can tell."""

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.agglomeration.greedy import greedy
from cellflow.core.agglomeration.rounds import FREE, FROZEN, I32, I64, Clusters, Rows, Rule, merge_certain
from cellflow.core.errors import BadInput
from cellflow.core.interactions import Columns, Interactions
from cellflow.core.linkage import CODES, ROW, SUM, Linkage, tagged

Flags = NDArray[np.bool_]

LIMIT = 2**31
"""Nodes and rows are numbered in 32 bits."""

WORTHWHILE = 512
"""A round passes over so many rows in the time that one merge on its own takes, roughly."""


@dataclass(frozen=True, eq=False)
class Agglomeration:
    """Which nodes are one cluster, and which pairs were found never to be."""

    labels: I64
    """(n,): for each node the smallest node of its cluster."""
    interactions: Interactions
    """Those that were given; with cannot-link constraints also forbidden in what a part of a graph found."""


def agglomerate(
    n_nodes: int,
    interactions: Interactions,
    linkage: Linkage,
    *,
    cannot_link: bool = False,
    frozen: Flags | None = None,
    far_repels: bool = False,
) -> Agglomeration:
    """The clusters that are left when the strongest attraction is merged for, again and again.

    Of the local rows the one of the largest positive value (ties: smaller rank) is contracted, rows of
    equal pairs are combined by linkage, until nothing local attracts any more. Rows that are not local
    count once they are combined with a local one. With `cannot_link` rows are taken by absolute value, and
    one that repels forbids its pair for good. Source: GASP and its constrained variant (HCC), Bailoni et
    al., CVPR 2022; `abs_max` is the mutex watershed of Wolf et al., TPAMI 2020.

    Nodes that are `frozen` (n,) belong to other parts of the graph. They are not merged; all rows that
    touch the others must be given, those between frozen nodes do not matter. Merged and forbidden is then
    only what the whole graph would merge and forbid, whatever lies elsewhere. So with mean, max, min and
    abs_max any graph may be cut into groups of nodes, each agglomerated with the rest frozen, contracted
    (`cellflow.core.interactions.contracted`, with the rows that are returned), cut again more coarsely,
    and at last agglomerated without frozen nodes: the same clusters as at once. Sums may grow when rows
    combine, nothing about them is certain in a part: there a merge is left open only if its node is drawn
    most strongly to a frozen one, directly or by others. The clusters then depend on the cut.

    `far_repels`: that no row of the whole graph attracts that is not local; with abs_max it is then faster.

    Raises `BadInput` for nodes that do not exist and for 2^31 nodes or rows. Cost: 0.2 (mean) to 1 us a row
    of a graph with cells in it; up to 90 bytes a row and 30 a node besides the interactions.
    """
    _check(n_nodes, interactions, frozen)
    chains = far_repels and linkage == "abs_max" and not cannot_link
    rule = Rule(CODES[linkage], cannot_link, frozen is not None, chains)
    rows, clusters = _start(n_nodes, interactions, frozen, rule)
    forbidden, pays = [np.empty(0, np.int64)], linkage != "sum"
    while rows.size and pays:
        # One name for the rows before and after a round: those before would take as much memory again.
        rows, clusters, found, merges = merge_certain(rows, clusters, rule)
        forbidden.append(found)
        pays = (merges + found.size) * WORTHWHILE >= rows.size
    if rows.size:
        forbidden.append(greedy(rows, clusters, rule))
    _flatten(clusters.parent)
    if frozen is not None:
        interactions = _with_forbidden(interactions, np.concatenate(forbidden))
    return Agglomeration(clusters.parent, interactions)


def unfinished(n_nodes: int, interactions: Interactions) -> Flags:
    """(n,): whether anything attracts a node. One that nothing attracts never merges again.

    All rows of such a node may be dropped without any change to what the others become.
    """
    found: Flags = _attracted(n_nodes, interactions.edges, interactions.weight, interactions.forbidden)
    return found


def _check(n_nodes: int, interactions: Interactions, frozen: Flags | None) -> None:
    edges = interactions.edges
    if max(n_nodes, len(edges)) >= LIMIT:
        raise BadInput(
            f"agglomeration: found {n_nodes} nodes and {len(edges)} rows, expected fewer than 2^31 of each; "
            "solve block by block"
        )
    if edges.size and edges[:, 1].max() >= n_nodes:
        raise BadInput(
            f"agglomeration: found node {edges[:, 1].max()}, expected nodes 0..{n_nodes - 1}; make them dense"
        )
    if frozen is not None and (frozen.shape != (n_nodes,) or frozen.dtype != np.bool_):
        raise BadInput(
            f"agglomeration: found frozen {frozen.dtype} {frozen.shape}, expected bool ({n_nodes},); "
            "give one flag per node"
        )


def _start(
    n_nodes: int, interactions: Interactions, frozen: Flags | None, rule: Rule
) -> tuple[Rows, Clusters]:
    """The rows of nodes that may still merge."""
    parent = np.arange(n_nodes)
    active = unfinished(n_nodes, interactions)
    elsewhere = np.zeros(n_nodes, np.bool_) if frozen is None else frozen.copy()
    active |= elsewhere
    smallest = np.flatnonzero(active)
    state = np.where(elsewhere[smallest], np.uint8(FROZEN), np.uint8(FREE))
    new = np.full(n_nodes, -1, np.int32)
    new[smallest] = np.arange(len(smallest))
    rows = _rows(interactions.edges, interactions.columns, new, elsewhere, rule.linkage)
    return rows, Clusters(smallest, state, parent)


def _with_forbidden(interactions: Interactions, ranks: I64) -> Interactions:
    if not ranks.size:
        return interactions
    now = np.isin(interactions.rank, ranks)
    return replace(interactions, forbidden=interactions.forbidden | now)


@njit(cache=True, nogil=True)
def _attracted(n_nodes: int, edges: I64, weight: I64, forbidden: Flags) -> Flags:
    found = np.zeros(n_nodes, np.bool_)
    for row in range(weight.size):
        if weight[row] > 0 and not forbidden[row]:
            found[edges[row, 0]] = found[edges[row, 1]] = True
    return found


@njit(cache=True, nogil=True)
def _rows(edges: I64, columns: Columns, new: I32, frozen: Flags, linkage: int) -> Rows:
    """The rows between nodes that have a new number, unless both are frozen."""
    weight, size, rank, local, forbidden = columns
    out, count = np.empty(0, ROW), 0
    for fill in (False, True):
        count = 0
        for i in range(weight.size):
            u, v = edges[i]
            if new[u] >= 0 and new[v] >= 0 and not (frozen[u] and frozen[v]):
                if fill:
                    row = out[count]
                    row.u, row.v = new[u], new[v]
                    row.weight, row.size = weight[i], np.int64(1) if linkage == SUM else size[i]
                    row.value = row.weight / row.size
                    row.tag = tagged(rank[i], local[i], forbidden[i])
                count += 1
        if not fill:
            out = np.empty(count, ROW)
    return out


@njit(cache=True, nogil=True)
def _flatten(parent: I64) -> None:
    """Every node names the smallest of its cluster. A parent is never larger than its node."""
    for node in range(parent.size):
        parent[node] = parent[parent[node]]
