"""Each step of a multicut, against every partition of small graphs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_multicuts import (
    cut,
    drawn,
    graph_of,
    made_of,
    noisy_cells,
    numbers,
    optimum,
    partitions,
    random_segments,
)

from cellflow.core.multicut.aggregate import aggregated
from cellflow.core.multicut.bound import packed
from cellflow.core.multicut.fusion import agreement, fused
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.kernighan_lin import kernighan_lin
from cellflow.core.multicut.proposals import _noisy, proposal
from cellflow.core.multicut.reduce import certain
from cellflow.core.multicut.signed import SignedGraph, lowest
from cellflow.core.multicut.solve import solve

kinds = pytest.mark.parametrize("lifted", [False, True], ids=["local", "lifted"])


def literally_greedy(graph):
    """Join the ends of the largest positive sum between two clusters, again and again."""
    labels = list(range(graph.n_nodes))
    while True:
        sums = {}
        for e, ((u, v), cost) in enumerate(zip(graph.edges.tolist(), graph.cost.tolist(), strict=True)):
            pair = tuple(sorted((labels[u], labels[v])))
            if pair[0] != pair[1]:
                total, first, near = sums.get(pair, (0, e, False))
                local = not graph.local.size or bool(graph.local[e])
                sums[pair] = total + cost, min(first, e), near or local
        found = [(total, -first, pair) for pair, (total, first, near) in sums.items() if near and total > 0]
        if not found:
            return labels
        u, v = max(found)[2]
        labels = [u if label == v else label for label in labels]


@kinds
@given(number=numbers)
@settings(max_examples=300, deadline=None)
def test_greedy_contraction_follows_its_definition(lifted, number):
    graph = drawn(number, most=12, lifted=lifted)
    assert greedy(graph).tolist() == made_of(graph, literally_greedy(graph)).tolist()


@kinds
@given(number=numbers)
@settings(max_examples=200, deadline=None)
def test_no_step_raises_the_energy_and_all_give_connected_segments(lifted, number):
    graph = drawn(number, most=14, lifted=lifted)
    start, other = random_segments(graph, number), random_segments(graph, number + 1)
    for rounds in (0, 1, 20):
        moved = kernighan_lin(graph, start, rounds)
        assert cut(graph, moved) <= cut(graph, start)
        assert moved.tolist() == made_of(graph, moved).tolist()
        both = fused(graph, [start, other], rounds)
        assert cut(graph, both) <= min(cut(graph, start), cut(graph, other))
        assert both.tolist() == made_of(graph, both).tolist()


@kinds
@pytest.mark.parametrize("first", [greedy, lambda graph: np.arange(graph.n_nodes)], ids=["greedy", "alone"])
def test_no_round_raises_the_energy(lifted, first):
    for number in range(150):
        graph = drawn(number, most=40, lifted=lifted)
        found = [cut(graph, kernighan_lin(graph, first(graph), rounds)) for rounds in range(8)]
        assert found == sorted(found, reverse=True)


@kinds
@given(number=numbers)
@settings(max_examples=100, deadline=None)
def test_the_bound_lies_below_every_partition_whatever_it_is_shown(lifted, number):
    graph = drawn(number, most=6, lifted=lifted)
    best = min(cut(graph, labels) for labels in partitions(graph.n_nodes))
    for seed in range(5):
        assert lowest(graph.cost) + packed(graph, random_segments(graph, seed)) <= best


@kinds
@given(number=numbers)
@settings(max_examples=150, deadline=None)
def test_a_solution_lies_between_bound_and_greedy_and_mostly_at_the_optimum(lifted, number):
    graph = drawn(number, lifted=lifted)
    found = solve(graph, 2, 20)
    assert found.lower_bound <= optimum(graph) <= found.energy <= found.energy_greedy
    assert found.energy == cut(graph, found.labels)
    assert found.energy_greedy == cut(graph, greedy(graph))


@kinds
def test_nearly_all_small_graphs_are_solved_and_most_bounds_are_tight(lifted):
    graphs = [drawn(number, most=6, lifted=lifted) for number in range(200)]
    found = [solve(graph, 2, 20) for graph in graphs]
    gaps = np.array([f.energy - optimum(g) for f, g in zip(found, graphs, strict=True)])
    assert (gaps == 0).mean() >= 0.95
    if not lifted:
        assert np.mean([f.energy == f.lower_bound for f in found]) >= 0.8


def test_what_greedy_contraction_gets_wrong_is_put_right():
    """It joins 0 and 1 first, which repels 2 and 3; then 0 is better off with these."""
    graph = graph_of(4, [(0, 1, 100), (0, 2, 60), (0, 3, 60), (1, 2, -65), (1, 3, -65), (2, 3, 50)])
    assert greedy(graph).tolist() == [0, 0, 1, 1]
    assert kernighan_lin(graph, greedy(graph), 9).tolist() == [0, 1, 0, 0]
    found = solve(graph, 0, 9)
    assert (found.energy, found.energy_greedy, found.lower_bound) == (-30, -10, -30)


@pytest.mark.parametrize(
    ("cycle", "worth"),
    [([5, 4, -3], 3), ([5, 2, -3], 2), ([1, 2, 3, -4], 1), ([3, -3, -3], 0), ([2, 2, 2, 2, 2, 2, -9], 2)],
)
def test_a_cycle_with_one_repulsion_costs_its_smallest_cost(cycle, worth):
    ends = [(i, i + 1) for i in range(len(cycle) - 1)] + [(0, len(cycle) - 1)]
    graph = graph_of(len(cycle), [(*pair, cost) for pair, cost in zip(ends, cycle, strict=True)])
    found = solve(graph, 0, 9)
    assert found.lower_bound - lowest(graph.cost) == worth
    assert found.energy == found.lower_bound


def test_the_bound_closes_most_of_the_gap():
    graph = noisy_cells(1)
    found = solve(graph, 2, 20)
    assert found.energy - found.lower_bound < 0.2 * (found.energy - lowest(graph.cost))


@given(number=numbers)
@settings(max_examples=100, deadline=None)
def test_what_solutions_agree_on_is_what_none_of_them_cuts(number):
    graph = drawn(number, most=9)
    solutions = [random_segments(graph, number + i) for i in range(3)]
    uncut = [
        (u, v, 1) for u, v in graph.edges.tolist() if all(labels[u] == labels[v] for labels in solutions)
    ]
    joined = graph_of(graph.n_nodes, uncut)
    assert agreement(graph, solutions).tolist() == made_of(joined, np.zeros(graph.n_nodes)).tolist()


@kinds
@given(number=numbers)
@settings(max_examples=100, deadline=None)
def test_energies_are_those_of_the_graph_of_the_labels(lifted, number):
    graph = drawn(number, most=9, lifted=lifted)
    labels = random_segments(graph, number)
    few = aggregated(graph, labels, int(labels.max()) + 1)
    coarse = np.random.default_rng(number).integers(0, 3, few.n_nodes)
    assert cut(few, coarse) == cut(graph, coarse[labels])
    assert few.edges.tolist() == np.unique(few.edges, axis=0).reshape(-1, 2).tolist()
    pairs = np.sort(labels[graph.edges], axis=1)
    near = pairs[graph.local] if lifted else pairs
    expected = np.unique(near[near[:, 0] < near[:, 1]], axis=0).reshape(-1, 2)
    assert (few.edges[few.local] if lifted else few.edges).tolist() == expected.tolist()


def test_proposals_differ_and_always_come_out_the_same():
    graph = noisy_cells(2)
    found = [proposal(graph, seed).tobytes() for seed in range(4)]
    assert len(set(found)) == 4
    assert found == [proposal(graph, seed).tobytes() for seed in range(4)]


def test_noise_changes_no_sign_and_at_most_doubles_sums():
    graph = noisy_cells(2)
    noisy = np.array([_noisy(graph.edges, graph.cost, seed) for seed in range(20)])
    assert (np.sign(noisy) == np.sign(graph.cost)).all()
    assert np.abs(noisy).sum(axis=1).max() < 2 * np.abs(graph.cost).sum()
    assert (noisy / graph.cost).std() == pytest.approx(0.5, abs=0.02)
    assert (noisy / graph.cost).mean() == pytest.approx(1, abs=0.02)


def test_the_order_of_the_edges_plays_no_part():
    graph = noisy_cells(3)
    assert len(np.unique(np.abs(graph.cost))) > 0.99 * len(graph.cost)
    shuffled = np.random.default_rng(0).permutation(len(graph.cost))
    other = SignedGraph(graph.n_nodes, graph.edges[shuffled], graph.cost[shuffled])
    mine, theirs = solve(graph, 3, 20), solve(other, 3, 20)
    assert mine.labels.tolist() == theirs.labels.tolist()
    assert mine.energy == theirs.energy


@pytest.mark.parametrize("n_nodes", [0, 1, 5])
def test_nodes_without_edges_stay_alone(n_nodes):
    found = solve(graph_of(n_nodes, []), 2, 9)
    assert found.labels.tolist() == list(range(n_nodes))
    assert (found.energy, found.energy_greedy, found.lower_bound) == (0, 0, 0)


def test_costs_of_zero_join_nothing():
    assert solve(graph_of(3, [(0, 1, 0), (1, 2, 0)]), 2, 9).labels.tolist() == [0, 1, 2]


def test_costs_whose_sum_is_the_largest_allowed_do_not_overflow():
    graph = noisy_cells(4)
    cost = graph.cost * (2**62 // int(np.abs(graph.cost).sum()) - 1)
    large, small = solve(SignedGraph(graph.n_nodes, graph.edges, cost), 3, 20), solve(graph, 3, 20)
    assert 2**61 < np.abs(cost).sum(dtype=np.float64) < 2**62
    assert large.energy == cut(SignedGraph(graph.n_nodes, graph.edges, cost), large.labels)
    assert abs(large.energy / cost[0] - small.energy / graph.cost[0]) < 1e-3 * abs(
        small.energy / graph.cost[0]
    )


@given(number=numbers, share=st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_part_joins_nothing_beside_what_is_frozen(number, share):
    graph = drawn(number, most=14)
    frozen = np.random.default_rng(number).random(graph.n_nodes) < share
    found = certain(graph, frozen, 2, 9)
    u, v = graph.edges.T
    border = frozen | np.isin(np.arange(graph.n_nodes), np.concatenate([u[frozen[v]], v[frozen[u]]]))
    sizes = np.bincount(found)
    assert (sizes[found[border]] == 1).all()
    assert found.tolist() == made_of(graph, found).tolist()


def test_a_part_without_nodes_joins_nothing():
    assert certain(graph_of(0, []), np.zeros(0, bool), 2, 9).tolist() == []


def test_a_part_joins_much_where_nothing_is_frozen():
    graph = noisy_cells(5)
    assert certain(graph, np.zeros(graph.n_nodes, bool), 2, 9).max() < graph.n_nodes / 5
