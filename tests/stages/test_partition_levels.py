import numpy as np
import pytest

from cellflow.core.graph_phantom import GraphPhantom, graph_and_truth
from cellflow.core.graphs import connected
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.signed import segments
from cellflow.engine import hierarchy
from cellflow.engine.stage import Job, execute, read_receipt
from cellflow.solvers import Agglomerate, Gasp, Multicut, MutexWatershed, multicut
from cellflow.stages import graph, graph_phantom, partition

SOLVERS = [
    Gasp(beta=0.6),
    Gasp(linkage="max", beta="q0.2"),
    Gasp(linkage="min"),
    Gasp(linkage="abs_max"),
    Gasp(cannot_link=True, beta=0.6),
    MutexWatershed(),
    Agglomerate(threshold="q0.6"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A graph in ranges of 7 nodes."""
    from conftest import Sample, cut, tissue

    sample = Sample(tmp_path_factory.mktemp("graph") / "root", tissue(), cut(64, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "NODES_PER_RANGE", 7)
        sample.run("ingest-raw", "ingest-boundaries", "supervoxels", "graph")
    return sample


def solved(made, **params):
    made.params["partition"] = partition.Params(**params)
    made.run("partition")
    return np.load(made.folder / "partition" / "segments.npy"), read_receipt(made.folder, "partition")[
        "result"
    ]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: f"{s.name} {getattr(s, 'linkage', '')}")
def test_a_graph_in_groups_gives_the_segments_of_the_whole_graph(made, solver):
    whole, facts = solved(made, solver=solver)
    for at_once in (200, 40, 1):
        parts, said = solved(made, solver=solver, solve_at_once=at_once)
        assert len(said.pop("levels")) > 1
        np.testing.assert_array_equal(parts, whole)
        assert said == facts
    assert 3 < whole.max() < len(whole) - 1


def test_workers_and_a_run_that_was_stopped_change_nothing(made, monkeypatch):
    whole, _ = solved(made, solver=Gasp(beta=0.6))
    contract = hierarchy.contract

    def fails(*args):
        raise KeyError("lost")

    monkeypatch.setattr(hierarchy, "contract", fails)
    with pytest.raises(RuntimeError, match="lost"):
        solved(made, solver=Gasp(beta=0.6), solve_at_once=40)
    monkeypatch.setattr(hierarchy, "contract", contract)
    made.workers = 2
    np.testing.assert_array_equal(solved(made, solver=Gasp(beta=0.6), solve_at_once=40)[0], whole)


PHANTOM = GraphPhantom(edges=20_000, noise=0.6)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A graph that never was a volume, in ranges of 64 nodes."""
    from conftest import Sample, cut

    sample = Sample(tmp_path_factory.mktemp("phantom") / "rag", {}, cut(64, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_phantom, "NODES_PER_RANGE", 64)
        execute(graph_phantom, Job("graph", sample.folder, PHANTOM, sample.storage), 1)
    return sample


def gap(facts, reference):
    """How far the energy lies above that of another solution, relative to it."""
    return (facts["energy"] - reference["energy"]) / abs(reference["energy"])


def test_a_multicut_in_groups_has_nearly_the_energy_of_the_whole_graph(cells):
    whole, facts = solved(cells, solver=Multicut())
    made = graph_and_truth(PHANTOM)[0]
    assert facts == Multicut()(made).facts
    for at_once, least in ((10_000, 2), (2000, 4), (1, 6)):
        parts, said = solved(cells, solver=Multicut(), solve_at_once=at_once)
        assert len(said["levels"]) >= least
        assert gap(said, facts) < 0.001
        assert said["energy_lower_bound"] <= min(said["energy"], facts["energy"])
        u, v = parts[1:][made.edges.T]
        assert (parts[1:] - 1).tolist() == connected(made.n_nodes, made.edges, u == v).tolist()
        assert said["segments"] == parts.max()
        assert said["edges_cut"] == np.count_nonzero(u != v)
        same = ("nodes", "edges", "edges_repulsive", "beta")
        assert [said[name] for name in same] == [facts[name] for name in same]
    assert 20 < whole.max() < len(whole) / 10


def test_the_energy_that_groups_add_up_is_that_of_their_segments(cells):
    parts, said = solved(cells, solver=Multicut(), solve_at_once=2000)
    made, solver = graph_and_truth(PHANTOM)[0], Multicut()
    costs = solver.interactions(made).weight
    u, v = parts[1:][made.edges.T]
    expected = costs[u != v].sum() / 2**20 / made.sizes.max()
    assert said["energy"] == pytest.approx(expected, abs=1e-6)


def test_a_group_that_trusts_its_border_ends_higher(cells, monkeypatch):
    """Each group joins all that greedy contraction of what it sees joins, up to its border."""

    def rash(part, frozen, *_):
        own = ~frozen[part.edges].any(axis=1)
        return segments(part.n_nodes, part.edges, own, greedy(part))

    _, facts = solved(cells, solver=Multicut())
    monkeypatch.setattr(multicut, "certain", rash)
    _, said = solved(cells, solver=Multicut(), solve_at_once=2000)
    assert gap(said, facts) > 0.001


def test_workers_do_not_change_a_multicut_in_groups(cells):
    alone, said = solved(cells, solver=Multicut(beta="q0.5"), solve_at_once=5000)
    cells.workers = 2
    several, again = solved(cells, solver=Multicut(beta="q0.5"), solve_at_once=5000)
    cells.workers = 1
    np.testing.assert_array_equal(alone, several)
    assert said == again


def test_a_million_edges_are_solved_level_by_level(tmp_path):
    from conftest import Sample, cut

    sample = Sample(tmp_path / "rag", {}, cut(64, 8))
    execute(graph_phantom, Job("graph", sample.folder, GraphPhantom(edges=1_000_000), sample.storage), 1)
    for solver in (Gasp(linkage="abs_max"), Multicut()):
        whole, facts = solved(sample, solver=solver)
        parts, said = solved(sample, solver=solver, solve_at_once=200_000)
        assert len(said["levels"]) > 1
        assert gap(said, facts) < 0.001 if solver.name == "multicut" else (parts == whole).all()
        assert 1000 < parts.max() < len(parts) / 10
