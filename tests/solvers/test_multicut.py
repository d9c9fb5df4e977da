"""Multicut energies against brute force and against a library."""

from itertools import combinations

import numpy as np
import pytest
from bioimage_cpp.graph import UndirectedGraph, lifted_multicut
from hypothesis import given, settings
from toy_graphs import graph_of, random_graph, random_graphs

from cellflow.core.costs import multicut_costs
from cellflow.core.graph_phantom import GraphPhantom, graph_and_truth
from cellflow.core.graphs import Graph, cut_edges
from cellflow.core.multicut import solve
from cellflow.solvers import Multicut


def energy(graph, solver, labels):
    costs = multicut_costs(graph.boundary, solver.beta, graph.sizes if solver.size_weighted else None)
    return costs[cut_edges(graph, labels)].sum()


def partitions(n):
    """All set partitions of n nodes, one per row (877 for 7 nodes)."""
    rows = np.zeros((1, 1), dtype=np.int64)
    for _ in range(n - 1):
        rows = np.vstack([[*row, label] for row in rows for label in range(row.max() + 2)])
    return rows


PARTITIONS = {n: partitions(n) for n in range(1, 8)}


def optimum(graph, solver):
    return min(energy(graph, solver, labels) for labels in PARTITIONS[graph.n_nodes])


@given(graph=random_graphs(7))
@settings(max_examples=60, deadline=None)
def test_the_energy_lies_between_the_optimum_and_the_greedy_energy(graph):
    solver = Multicut()
    result = solver(graph)
    assert result.facts["energy"] == pytest.approx(energy(graph, solver, result.labels), abs=1e-5)
    assert result.facts["energy_lower_bound"] <= optimum(graph, solver) + 1e-5
    assert optimum(graph, solver) <= result.facts["energy"] + 1e-5
    assert result.facts["energy"] <= result.facts["energy_greedy"]


def test_most_small_graphs_are_solved_to_the_optimum():
    solver, solved = Multicut(size_weighted=False), 0
    for seed in range(100):
        graph = random_graph(seed, 7)
        solved += solver(graph).facts["energy"] < optimum(graph, solver) + 1e-5
    assert solved >= 95


GREEDY_TRAP = (
    [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)],
    np.array([1.0, 0.6, 0.6, -0.65, -0.65, 0.5]),
)


def graph_of_costs(n, rows, costs, sizes=None):
    """Graph whose unweighted multicut costs at beta 0.5 are `costs`."""
    return graph_of(n, rows, 0.5 - 1 / (1 + np.exp(costs)), sizes)


def test_kernighan_lin_leaves_the_trap_that_greedy_contraction_falls_into():
    """Greedy joins 0 and 1 first, which repels the pair 2, 3; then 0 is better off with that pair."""
    graph = graph_of_costs(4, *GREEDY_TRAP)
    greedy, refined = Multicut(proposals=0, iterations=0)(graph), Multicut()(graph)
    assert greedy.labels.tolist() == [0, 0, 1, 1]
    assert greedy.facts["energy"] == pytest.approx(-0.1, abs=1e-5)
    assert refined.labels.tolist() == [0, 1, 0, 0]
    assert refined.facts["energy"] == pytest.approx(-0.3, abs=1e-5)
    assert refined.facts["energy_greedy"] == pytest.approx(-0.1, abs=1e-5)


def test_sizes_decide_only_when_costs_are_weighted_by_them():
    graph = graph_of_costs(3, [(0, 1), (0, 2), (1, 2)], np.array([1.0, 0.8, -0.9]), sizes=[1, 10, 10])
    assert Multicut(size_weighted=False)(graph).labels.tolist() == [0, 0, 1]
    assert Multicut(size_weighted=True)(graph).labels.tolist() == [0, 1, 0]


def test_the_scale_of_the_sizes_plays_no_part():
    graph = random_graph(5, 60, density=0.3)
    larger = Graph(graph.n_nodes, graph.edges, graph.boundary, graph.sizes * 2**20)
    assert Multicut()(larger).labels.tolist() == Multicut()(graph).labels.tolist()


def test_one_huge_contact_elsewhere_does_not_stop_the_refinement_of_the_others():
    """All costs shrink with the largest size: a fixed smallest gain would leave the greedy partition."""
    rows, costs = GREEDY_TRAP
    graph = graph_of_costs(6, [*rows, (4, 5)], np.append(costs, -1), sizes=[*[1] * 6, 10**8])
    assert Multicut()(graph).labels.tolist() == [0, 1, 0, 0, 2, 3]


def tissue_graph():
    """30 000 edges of a tissue that never was a volume."""
    return graph_and_truth(GraphPhantom(edges=30_000, noise=0.6))[0]


def test_the_energy_is_no_higher_than_the_librarys():
    """A lifted multicut without lifted edges: the library's other Kernighan-Lin may raise the energy."""
    graph, solver = tissue_graph(), Multicut()
    costs = multicut_costs(graph.boundary, 0.5, graph.sizes)
    base = UndirectedGraph.from_unique_edges(graph.n_nodes, graph.edges.view(np.uint64))
    objective = lifted_multicut.LiftedMulticutObjective(base, costs)
    greedy = energy(graph, solver, lifted_multicut.LiftedGreedyAdditiveMulticut().optimize(objective))
    library = energy(graph, solver, lifted_multicut.LiftedKernighanLinMulticut().optimize(objective))
    ours = solver(graph).facts
    assert ours["energy_greedy"] == pytest.approx(greedy, rel=1e-5)
    assert ours["energy_lower_bound"] < ours["energy"] < library < greedy


def test_more_proposals_and_moves_each_lower_the_energy():
    graph = tissue_graph()
    ways = ({"proposals": 0, "iterations": 0}, {"proposals": 0}, {}, {"proposals": 20})
    found = [Multicut(**way)(graph).facts["energy"] for way in ways]
    assert found == sorted(set(found), reverse=True)


def test_the_proposals_of_small_graphs_are_moved_before_they_are_fused(monkeypatch):
    graphs = [graph_and_truth(GraphPhantom(edges=30_000, noise=0.6, seed=seed))[0] for seed in range(3)]
    moved = [Multicut()(graph).facts["energy"] for graph in graphs]
    monkeypatch.setattr(solve, "MOVED", 0)
    unmoved = [Multicut()(graph).facts["energy"] for graph in graphs]
    assert all(one <= other for one, other in zip(moved, unmoved, strict=True))
    assert sum(moved) < sum(unmoved)


def test_the_lower_bound_is_close():
    facts = Multicut()(tissue_graph()).facts
    assert facts["energy"] - facts["energy_lower_bound"] < 0.002 * abs(facts["energy"])


def test_a_quantile_is_the_number_that_the_facts_tell():
    graph = random_graph(5, 60, density=0.3)
    by_quantile = Multicut(beta="q0.7")(graph)
    assert np.mean(graph.boundary > 1 - by_quantile.facts["beta"]) == pytest.approx(0.3, abs=0.01)
    by_number = Multicut(beta=by_quantile.facts["beta"])(graph)
    assert by_number.labels.tolist() == by_quantile.labels.tolist()
    assert by_number.facts == by_quantile.facts


def test_planted_cells_are_found_again():
    rng = np.random.default_rng(2)
    truth = np.repeat(np.arange(6), 8)
    rows = np.array([pair for pair in combinations(range(48), 2) if rng.random() < 0.5])
    boundary = np.where(truth[rows[:, 0]] != truth[rows[:, 1]], 0.8, 0.2) + rng.uniform(
        -0.15, 0.15, len(rows)
    )
    graph = Graph(48, rows, boundary, np.ones(len(rows)))
    assert Multicut()(graph).labels.tolist() == truth.tolist()
