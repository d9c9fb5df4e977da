"""A multicut of evidence in rows, as it comes in parts: what is solved, and what is said of the solution."""

import numpy as np
from numpy.typing import NDArray

from cellflow.core.agglomeration import Agglomeration
from cellflow.core.interactions import Interactions
from cellflow.core.multicut.bound import packed
from cellflow.core.multicut.signed import I64, NO_FLAGS, SignedGraph, energy, lowest


def signed(n_nodes: int, rows: Interactions) -> SignedGraph:
    """The graph of rows, which the linkage sum combines; rows that are not local are lifted edges."""
    local = NO_FLAGS if rows.local.all() else rows.local.copy()
    return SignedGraph(n_nodes, rows.edges.astype(np.int32), rows.weight.copy(), local)


def solution(labels: I64, rows: Interactions) -> Agglomeration:
    """Segments, numbered in any way, by their smallest nodes."""
    _, first = np.unique(labels, return_index=True)
    return Agglomeration(first[labels], rows)


def measured(rows: Interactions, labels: NDArray[np.integer]) -> dict[str, int]:
    """Energy and lower bound of a part; both add up over parts that share no row."""
    nodes, dense = np.unique(rows.edges, return_inverse=True)
    part = signed(len(nodes), Interactions(dense.reshape(-1, 2), *rows.columns))
    found = labels[nodes].astype(np.int64)
    bound = lowest(part.cost) + packed(part, found)
    return {"energy": energy(part.edges, part.cost, found), "energy_lower_bound": bound}
