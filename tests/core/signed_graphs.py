"""Small signed graphs with many ties, and agglomeration word by word: in fractions, one row at a time."""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from cellflow.core.agglomeration import agglomerate, unfinished
from cellflow.core.interactions import Interactions, contracted

LINKAGES = ("mean", "sum", "max", "min", "abs_max")


def interactions_of(rows):
    """Rows (u, v, weight, size, rank, local, forbidden), sorted by pair."""
    columns = list(zip(*sorted(rows), strict=True)) or [()] * 7
    edges = np.array(columns[:2], np.int64).T.reshape(-1, 2)
    numbers, flags = (np.array(c, np.int64) for c in columns[2:5]), (np.array(c, bool) for c in columns[5:])
    return Interactions(edges, *numbers, *flags)


def rows_of(interactions):
    """As lists, to compare."""
    return [
        [*edge, *rest]
        for edge, *rest in zip(
            interactions.edges.tolist(), *(c.tolist() for c in interactions.columns), strict=True
        )
    ]


def signed_graph(seed, most=9, largest=3, degree=None):
    """A number of nodes and random rows; a few weights only, so that most are tied with others.

    A node has about `degree` rows, or a row with a third of the others at least.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, most + 1))
    density = rng.uniform(0.3, 1) if degree is None else degree / n
    near, repelled = rng.choice([0.5, 0.8, 1]), rng.integers(0, largest + 1)
    pairs = [pair for pair in combinations(range(n), 2) if rng.random() < density]
    ranks = rng.permutation(3 * len(pairs))
    return n, interactions_of(
        [
            (
                u,
                v,
                int(rng.integers(-repelled, largest + 1)),
                int(rng.integers(1, 4)),
                int(rank),
                rng.random() < near,
                rng.random() < 0.05,
            )
            for (u, v), rank in zip(pairs, ranks, strict=False)
        ]
    )


def signed_graphs(most=9, largest=3):
    return st.integers(0, 2**32 - 1).map(lambda seed: signed_graph(seed, most, largest))


def value(piece, linkage):
    weight, size, *_ = piece
    return Fraction(weight, 1 if linkage == "sum" else size)


def together(a, b, linkage):
    """Two pieces (weight, size, rank, local, forbidden) as one."""
    flags = a[3] or b[3], a[4] or b[4]
    if linkage in ("mean", "sum"):
        return a[0] + b[0], a[1] + b[1], min(a[2], b[2]), *flags
    if linkage == "abs_max":
        return *max(a, b, key=lambda piece: (abs(value(piece, linkage)), -piece[2]))[:3], *flags
    choose = max if linkage == "max" else min
    return *choose(a, b, key=lambda piece: (value(piece, linkage), -piece[2]))[:3], *flags


def reference(n, interactions, linkage, *, cannot_link=False):
    """For each node the smallest of its cluster."""
    labels = list(range(n))
    pieces = {(u, v): tuple(rest) for u, v, *rest in rows_of(interactions)}
    while True:
        found = [
            (abs(strength), -piece[2], pair)
            for pair, piece in pieces.items()
            for strength in [value(piece, linkage)]
            if not piece[4] and ((strength > 0 and piece[3]) or (strength < 0 and cannot_link))
        ]
        if not found:
            return labels
        u, v = pair = max(found)[2]
        if pieces[pair][0] < 0:
            pieces[pair] = (*pieces[pair][:4], True)
            continue
        del pieces[pair]
        labels = [u if label == v else label for label in labels]
        moved = {}
        for (a, b), piece in pieces.items():
            new = tuple(sorted((u if a == v else a, u if b == v else b)))
            moved[new] = together(moved[new], piece, linkage) if new in moved else piece
        pieces = moved


def selected(interactions, keep):
    return Interactions(interactions.edges[keep], *(column[keep] for column in interactions.columns))


def in_parts(n, interactions, linkage, groupings, *, cannot_link=False, far_repels=False):
    """Labels by way of parts: for each grouping (n,) of the nodes, group by group; what is left at once.

    Rows of finished nodes are dropped on the way.
    """
    labels = np.arange(n)
    for group in groupings:
        merged, forbidden = np.arange(n), interactions.forbidden.copy()
        for number in np.unique(group):
            u, v = interactions.edges.T
            rows = np.flatnonzero((group[u] == number) | (group[v] == number))
            nodes = np.unique(interactions.edges[rows])
            part = selected(interactions, rows)
            part = replace(part, edges=np.searchsorted(nodes, part.edges))
            frozen = group[nodes] != number
            found = agglomerate(
                len(nodes), part, linkage, cannot_link=cannot_link, frozen=frozen, far_repels=far_repels
            )
            assert (found.labels[frozen] == np.flatnonzero(frozen)).all()
            merged[nodes[~frozen]] = nodes[found.labels[~frozen]]
            forbidden[rows] |= found.interactions.forbidden
        interactions = contracted(replace(interactions, forbidden=forbidden), merged, linkage)
        interactions = selected(interactions, unfinished(n, interactions)[interactions.edges].all(axis=1))
        labels = merged[labels]
    return agglomerate(n, interactions, linkage, cannot_link=cannot_link).labels[labels]
