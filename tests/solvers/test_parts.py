"""Solvers that agglomerate give the same partition when a graph comes in parts, step by step."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from toy_graphs import random_graph, random_graphs

from cellflow.core.graphs import Graph, partition
from cellflow.core.interactions import Interactions, Ranks
from cellflow.core.thresholds import statistics, together
from cellflow.solvers import Agglomerate, Gasp, MutexWatershed

SOLVERS = [Agglomerate(threshold="q0.4", linkage=linkage) for linkage in ("mean", "max", "min")]
SOLVERS += [
    Gasp(linkage=linkage, beta=0.6, cannot_link=cannot_link)
    for linkage in ("mean", "max", "min", "abs_max")
    for cannot_link in (False, True)
]
SOLVERS += [MutexWatershed(beta="q0.6")]


def with_far_pairs(graph, seed):
    """Some edges become pairs that do not touch, of values that leave many ties."""
    values, far = (
        np.round(graph.boundary * 16) / 16,
        np.random.default_rng(seed).random(len(graph.edges)) < 0.3,
    )
    near, further = (
        Graph(graph.n_nodes, graph.edges[kind], values[kind], graph.sizes[kind]) for kind in (~far, far)
    )
    return replace(near, long_range=further)


def part_of(graph, rows, nodes):
    """The edges of these rows, nodes numbered by their place among `nodes`."""
    edges = np.searchsorted(nodes, graph.edges[rows])
    return Graph(len(nodes), edges, graph.boundary[rows], graph.sizes[rows])


def touching(graph, mine):
    return np.flatnonzero(mine[graph.edges].any(axis=1))


def solved_in_parts(solver, graph, group):
    """As a driver does: no step but the last sees more than the rows that touch one group."""
    n, numbers = graph.n_nodes, np.unique(group)
    own = [group[graph.edges[:, 0]] == number for number in numbers]
    parts = [statistics(part_of(graph, e, np.arange(n))) for e in own]
    solver = solver.resolved(together(parts))
    labels, owned = np.arange(n), []
    for number in numbers:
        mine = group == number
        near, far = touching(graph, mine), touching(graph.long_range, mine)
        ends = [graph.edges[near].ravel(), graph.long_range.edges[far].ravel(), np.flatnonzero(mine)]
        nodes = np.unique(np.concatenate(ends))
        part = replace(part_of(graph, near, nodes), long_range=part_of(graph.long_range, far, nodes))
        rows = solver.interactions(part, Ranks(near, len(graph.edges) + far, far[:0]))
        found = solver.reduce(len(nodes), rows, frozen=~mine[nodes])
        labels[mine] = nodes[found.labels[mine[nodes]]]
        # A row between two parts is seen by both, and belongs to the part of its smaller node.
        rows, here = found.interactions, mine[nodes[found.interactions.edges[:, 0]]]
        owned.append(Interactions(nodes[rows.edges[here]], *(column[here] for column in rows.columns)))
    rows = solver.merged([solver.contracted(rows, labels) for rows in owned])
    return partition(graph, solver.reduce(n, rows).labels[labels]).labels


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@given(graph=random_graphs(12))
@settings(max_examples=30, deadline=None)
def test_parts_give_the_partition_of_the_whole(solver, graph):
    for seed in range(2):
        drawn = with_far_pairs(graph, seed)
        group = np.random.default_rng(seed).integers(0, 3, graph.n_nodes)
        assert solved_in_parts(solver, drawn, group).tolist() == solver(drawn).labels.tolist()


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_larger_graph_too(solver):
    drawn = with_far_pairs(random_graph(1, 150, density=0.1), 1)
    group = np.arange(drawn.n_nodes) // 40
    assert solved_in_parts(solver, drawn, group).tolist() == solver(drawn).labels.tolist()


def test_a_quantile_has_to_be_resolved_first():
    with pytest.raises(ValueError, match=r"found the quantile q0\.4, expected a number"):
        SOLVERS[0].interactions(random_graph(1, 9))
