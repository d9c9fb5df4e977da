"""Decide in one part of a graph what will hold in the whole: the step of a multicut by levels.

whole graph     a a a a | b b b b         a part sees the edges that touch its own nodes; nodes of
                a a a a | b b b b         other parts at their far ends are frozen: it sees them, but
part a          a a a f                   not how they are joined to each other.
                a a a f
"""

from cellflow.core.multicut.fusion import agreement, fused
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.kernighan_lin import kernighan_lin
from cellflow.core.multicut.proposals import proposal
from cellflow.core.multicut.signed import I64, Flags, SignedGraph, segments


def certain(graph: SignedGraph, frozen: Flags, proposals: int, rounds: int) -> I64:
    """Segments `(n_nodes,)`, numbered by smallest node: what all solutions of the part agree on.

    Frozen nodes (bool) and those beside them stay alone: too little is known there. Solutions are as many
    `proposals`, and what comes of their fusion with greedy contraction, moved by Kernighan-Lin with the
    frozen nodes free to be joined. A rule of thumb, not a proof: the energy of the whole comes out a little
    higher or lower than at once. To move every solution takes twice the time, and brings some thousandths of
    a percent.
    """
    solutions = [proposal(graph, seed) for seed in range(proposals)]
    best = kernighan_lin(graph, fused(graph, [greedy(graph), *solutions], rounds), rounds)
    pieces = agreement(graph, [best, *solutions])
    border = frozen.copy()
    border[graph.edges[frozen[graph.edges].any(axis=1)]] = True
    inside = ~border[graph.edges].any(axis=1)
    if graph.local.size:
        inside &= graph.local
    found: I64 = segments(graph.n_nodes, graph.edges, inside, pieces)
    return found
