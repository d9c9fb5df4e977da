from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from group_levels import by_levels
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_graphs import graph_of, numbered, random_graph, random_graphs

from cellflow.core import groups
from cellflow.core.costs import multicut_costs
from cellflow.core.graphs import Graph, Lifted, connected
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.signed import segments
from cellflow.core.thresholds import statistics
from cellflow.solvers import LiftedMulticut, Multicut, lifted_multicut

seeds = st.integers(0, 2**32 - 1)


def with_pairs(graph, seed):
    """Priors between a third of all pairs, and long-range pairs between another third."""
    rng = np.random.default_rng(seed)
    pairs = np.array(list(combinations(range(graph.n_nodes), 2)), np.int64).reshape(-1, 2)
    prior, far = pairs[rng.random(len(pairs)) < 0.3], pairs[rng.random(len(pairs)) < 0.3]
    sizes = rng.integers(1, 20, len(far)).astype(float)
    return replace(
        graph,
        lifted=Lifted(graph.n_nodes, prior, rng.uniform(-1, 1, len(prior))),
        long_range=Graph(graph.n_nodes, far, rng.random(len(far)), sizes),
    )


def energy(solver, graph, labels):
    """Counted pair by pair."""
    largest = graph.sizes.max(initial=1)
    costs = multicut_costs(graph.boundary, solver.beta) * graph.sizes / largest
    total = [c for (u, v), c in zip(graph.edges, costs, strict=True) if labels[u] != labels[v]]
    middles = (np.minimum(np.floor(graph.boundary * 65536), 65535) + 0.5) / 65536  # of bins
    surest = np.abs(multicut_costs(middles, solver.beta) * graph.sizes / largest).max(initial=0)
    for (u, v), a in zip(graph.lifted.edges, graph.lifted.attraction, strict=True):
        total.append(a * solver.weight * surest if labels[u] != labels[v] else 0)
    far = graph.long_range
    for (u, v), c, s in zip(far.edges, multicut_costs(far.boundary, solver.beta), far.sizes, strict=True):
        total.append(c * s / largest * solver.long_range if labels[u] != labels[v] else 0)
    return float(sum(total))


def partitions(graph):
    """Every partition into segments that are connected in the graph."""
    joined = np.ones(len(graph.edges), bool)
    for cut in range(2 ** len(graph.edges)):
        joined[:] = [cut >> e & 1 for e in range(len(graph.edges))]
        labels = connected(graph.n_nodes, graph.edges, joined)
        yield tuple(labels.tolist())


@settings(max_examples=60)
@given(random_graphs(5), seeds)
def test_the_energy_is_counted_right_and_lies_between_bound_and_plain_multicut(graph, seed):
    graph, solver = with_pairs(graph, seed), LiftedMulticut(beta=0.4)
    found = solver(graph)
    assert found.facts["energy"] == pytest.approx(energy(solver, graph, found.labels), abs=1e-5)
    plain = energy(solver, graph, Multicut(beta=0.4)(graph).labels)
    assert found.facts["energy"] <= plain + 1e-5
    best = min(energy(solver, graph, labels) for labels in set(partitions(graph)))
    assert found.facts["energy_lower_bound"] - 1e-5 <= best <= found.facts["energy"] + 1e-5
    assert numbered(found.labels) == found.labels.tolist()


def test_small_graphs_are_mostly_solved_to_the_optimum():
    reached = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pairs = np.array(list(combinations(range(5), 2)))
        graph = with_pairs(Graph(5, pairs, rng.random(10), rng.integers(1, 9, 10).astype(float)), seed)
        solver = LiftedMulticut()
        best = min(energy(solver, graph, labels) for labels in set(partitions(graph)))
        reached += solver(graph).facts["energy"] <= best + 1e-5
    assert reached >= 54


def test_two_nuclei_come_apart_and_one_nucleus_stays_together():
    chain = graph_of(4, [(0, 1), (1, 2), (2, 3)], [0.4, 0.2, 0.4])
    assert set(LiftedMulticut()(chain).labels) == {0}
    apart = replace(chain, lifted=Lifted(4, np.array([[0, 3]]), np.array([-1.0])))
    assert LiftedMulticut()(apart).labels.tolist() == [0, 0, 1, 1]
    torn = graph_of(3, [(0, 1), (1, 2)], [-0.3, -0.3])
    together = replace(torn, lifted=Lifted(3, np.array([[0, 2]]), np.array([1.0])))
    assert LiftedMulticut()(together).labels.tolist() == [0, 0, 0]
    assert LiftedMulticut(weight=0.01)(together).labels.tolist() == [0, 1, 2]


def test_long_range_pairs_count_as_much_as_asked():
    chain = graph_of(3, [(0, 1), (1, 2)], [0.3, 0.1])
    far = Graph(3, np.array([[0, 2]]), np.array([0.99]), np.array([1.0]))
    assert set(LiftedMulticut()(replace(chain, long_range=far)).labels) == {0, 1}
    assert set(LiftedMulticut(long_range=0)(replace(chain, long_range=far)).labels) == {0}


def test_contradicting_pairs_and_nodes_without_a_way_give_a_valid_partition():
    """0-1 and 1-2 must be together, 0-2 apart; 3 is to join 0, and no edge leads there."""
    graph = graph_of(4, [(0, 1), (1, 2)], [0.1, 0.1])
    pairs, attraction = np.array([[0, 1], [0, 2], [0, 3], [1, 2]]), np.array([1.0, -1.0, 1.0, 1.0])
    found = LiftedMulticut()(replace(graph, lifted=Lifted(4, pairs, attraction)))
    assert found.labels.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_graphs_without_edges_are_all_single_segments(n):
    none = Lifted(n, np.empty((0, 2), np.int64), np.empty(0))
    graph = Graph(n, np.empty((0, 2), np.int64), np.empty(0), np.empty(0), lifted=none)
    assert LiftedMulticut()(graph).labels.tolist() == list(range(n))


def test_a_quantile_is_the_number_that_the_facts_tell():
    graph = random_graph(5, 30, density=0.4)
    by_quantile = LiftedMulticut(beta="q0.7")(graph)
    by_number = LiftedMulticut(beta=by_quantile.facts["beta"])(graph)
    assert by_number.facts == by_quantile.facts
    assert by_quantile.facts["beta"] != LiftedMulticut()(graph).facts["beta"] == 0.5


def in_groups(graph, solver, per_group):
    """The labels that a driver finds that looks at groups of nodes."""
    seen = statistics(graph)
    solver = solver.resolved(seen)
    rows = solver.interactions(graph, seen=seen)
    return numbered(by_levels(rows, graph.n_nodes, solver, per_group, 2))


@settings(max_examples=60)
@given(random_graphs(6), seeds, st.integers(1, 3))
def test_groups_find_connected_segments_no_better_than_the_best(graph, seed, per_group):
    graph, solver = with_pairs(graph, seed), LiftedMulticut(beta=0.4)
    labels = in_groups(graph, solver, per_group)
    u, v = np.array(labels)[graph.edges].T
    assert labels == connected(graph.n_nodes, graph.edges, u == v).tolist()
    best = min(energy(solver, graph, found) for found in set(partitions(graph)))
    assert best <= energy(solver, graph, labels) + 1e-5


def optima_in_groups():
    """How many of 60 graphs are solved to the optimum in groups of one or two nodes."""
    reached = 0
    for seed in range(60):
        graph, solver = with_pairs(random_graph(seed, 6, density=0.7), seed), LiftedMulticut()
        best = min(energy(solver, graph, labels) for labels in set(partitions(graph)))
        reached += energy(solver, graph, in_groups(graph, solver, 1 + seed % 2)) <= best + 1e-5
    return reached


def test_small_graphs_in_groups_are_mostly_solved_to_the_optimum(monkeypatch):
    assert optima_in_groups() >= 54
    monkeypatch.setattr(
        lifted_multicut,
        "certain",
        lambda graph, *_: segments(graph.n_nodes, graph.edges, graph.local, greedy(graph)),
    )
    assert optima_in_groups() < 54


@pytest.mark.parametrize("bridges", [True, False])
def test_what_nothing_attracts_may_still_connect_a_nucleus_across_groups(monkeypatch, bridges):
    if not bridges:
        monkeypatch.setattr(groups, "_bridges", lambda _, frozen: np.zeros_like(frozen))
    torn = graph_of(4, [(0, 1), (1, 2), (2, 3)], [-0.3, -0.3, -0.3])
    together = replace(torn, lifted=Lifted(4, np.array([[0, 3]]), np.array([1.0])))
    assert LiftedMulticut()(together).labels.tolist() == [0, 0, 0, 0]
    assert in_groups(together, LiftedMulticut(), 1) == ([0, 0, 0, 0] if bridges else [0, 1, 2, 3])


def test_many_strong_pairs_of_large_contacts_do_not_overflow():
    """Contacts of 2^30 voxel pairs, and pairs that weigh a million of them each."""
    graph = random_graph(1, 40, density=0.5)
    pairs = np.array(list(combinations(range(graph.n_nodes), 2)))
    attraction = np.where(np.arange(len(pairs)) % 3 == 0, 1.0, -1.0)
    large = replace(graph, sizes=graph.sizes * 2**30, lifted=Lifted(graph.n_nodes, pairs, attraction))
    small = replace(large, sizes=graph.sizes)
    solver = LiftedMulticut(weight=1e6)
    found, same = solver(large), solver(small)
    assert found.facts["energy"] == pytest.approx(same.facts["energy"], rel=1e-6)
