"""What every solver promises, whatever it optimises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from toy_graphs import graph_of, numbered, permuted, random_graph, random_graphs

from cellflow.core.graphs import connected
from cellflow.solvers import Agglomerate, Gasp, Multicut, MutexWatershed, Solver

SOLVERS = [Multicut(), Multicut(proposals=0, iterations=0), MutexWatershed()]
SOLVERS += [Gasp(linkage=linkage) for linkage in ("mean", "sum", "max", "min", "abs_max")]
SOLVERS += [Gasp(cannot_link=True), *(Agglomerate(linkage=linkage) for linkage in ("mean", "max", "min"))]
every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=repr)


@every_solver
@pytest.mark.parametrize("n_nodes", [0, 1, 4])
def test_without_edges_every_node_is_its_own_segment(solver, n_nodes):
    result = solver(graph_of(n_nodes, [], []))
    assert result.labels.tolist() == list(range(n_nodes))
    assert result.labels.dtype == np.int64
    assert result.facts["segments"] == n_nodes


@every_solver
def test_components_are_solved_apart_and_isolated_nodes_stay_alone(solver):
    graph = graph_of(7, [(0, 2), (3, 5), (3, 6)], [0.4, 0.4, -0.4])
    assert solver(graph).labels.tolist() == [0, 1, 0, 2, 3, 2, 4]


@every_solver
def test_all_edges_repulsive_merge_nothing_and_all_attractive_merge_all(solver):
    rows = [(0, 1), (0, 2), (1, 2), (2, 3)]
    assert solver(graph_of(4, rows, [-0.1, -0.2, -0.3, -0.4])).labels.tolist() == [0, 1, 2, 3]
    assert solver(graph_of(4, rows, [0.1, 0.2, 0.3, 0.4])).labels.tolist() == [0, 0, 0, 0]


@every_solver
def test_edges_without_evidence_merge_nothing(solver):
    assert solver(graph_of(3, [(0, 1), (1, 2)], [0, 0])).labels.tolist() == [0, 1, 2]


@every_solver
def test_certain_boundaries_of_zero_and_one_are_finite(solver):
    assert solver(graph_of(3, [(0, 1), (1, 2)], [0.5, -0.5])).labels.tolist() == [0, 0, 1]


of_beta = pytest.mark.parametrize("solver", [s for s in SOLVERS if hasattr(s, "beta")], ids=repr)


@of_beta
def test_turning_beta_up_cuts_more(solver):
    graph = random_graph(3, 40, density=0.2)
    cut = [solver.model_copy(update={"beta": b})(graph).facts["edges_cut"] for b in (0.02, 0.5, 0.98)]
    assert cut[0] < cut[1] < cut[2]


@every_solver
@given(graph=random_graphs(12))
@settings(max_examples=30, deadline=None)
def test_segments_are_connected_and_numbered_by_their_smallest_node(solver, graph):
    labels = solver(graph).labels
    u, v = graph.edges.T
    assert labels.tolist() == numbered(labels)
    assert labels.tolist() == connected(graph.n_nodes, graph.edges, labels[u] == labels[v]).tolist()


@pytest.mark.parametrize("solver", [s for s in SOLVERS if s != Multicut()], ids=repr)
@given(graph=random_graphs(12), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_numbering_of_the_nodes_plays_no_part(solver, graph, seed):
    """Left out: Kernighan-Lin, which goes by the order of its moves, and noise, drawn for numbers."""
    other, new = permuted(graph, seed)
    assert numbered(solver(other).labels[new]) == solver(graph).labels.tolist()


@every_solver
def test_the_same_graph_gives_the_same_partition_and_facts(solver):
    graph = random_graph(11, 60, density=0.3)
    arrays = (graph.edges, graph.boundary, graph.sizes)
    before = [array.copy() for array in arrays]
    first, second = solver(graph), solver(graph)
    assert first.labels.tobytes() == second.labels.tobytes()
    assert first.facts == second.facts
    assert all(np.array_equal(a, b) for a, b in zip(before, arrays, strict=True))


def test_a_solver_is_read_from_its_name_and_a_wrong_name_lists_the_right_ones():
    read = TypeAdapter(Solver).validate_python
    assert read({"name": "gasp", "linkage": "max", "beta": 0.7}) == Gasp(linkage="max", beta=0.7)
    assert read({"name": "mutex_watershed"}) == MutexWatershed()
    known = "'multicut', 'lifted_multicut', 'gasp', 'mutex_watershed', 'agglomerate'"
    with pytest.raises(ValidationError, match=known):
        read({"name": "multicat"})
    with pytest.raises(ValidationError, match="linkage"):
        read({"name": "multicut", "linkage": "max"})


@of_beta
@pytest.mark.parametrize("beta", [0, 1, float("nan")])
def test_beta_outside_zero_to_one_is_refused(solver, beta):
    with pytest.raises(ValidationError, match="beta"):
        type(solver)(beta=beta)
