"""A lifted multicut of a graph that is too large to be solved at once, with nuclei that are mostly right."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import Sample, cut

from cellflow.core.graph_phantom import GraphPhantom, graph_and_truth
from cellflow.core.graphs import connected
from cellflow.core.lifted import nuclei_pairs
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.signed import segments
from cellflow.core.schema import Schema
from cellflow.core.thresholds import statistics
from cellflow.engine.parts import save_part
from cellflow.engine.stage import Job, execute, read_receipt
from cellflow.solvers import LiftedMulticut, lifted_multicut
from cellflow.stages import graph_phantom, partition
from cellflow.stages.partition import levels

PHANTOM = GraphPhantom(edges=20_000, noise=0.8)
NODES_PER_RANGE, NUCLEI_PER_RANGE, DEPTH = 128, 100, 3
SOLVER = LiftedMulticut(weight=0.1)
"""Boundaries and nuclei both have a say."""


@dataclass
class Nucleated(Sample):
    """A graph that never was a volume, and the nucleus of each of its nodes."""

    def job(self, name):
        p = self.params.get(name) or partition.Params()
        return Job(name, self.folder, p, self.storage, ("graph", "nuclei"))

    def give_nuclei(self, nucleus):
        """Stand in for the stage of this name."""

        def run(context, _):
            starts = range(0, nucleus.size, NUCLEI_PER_RANGE)
            for i, start in enumerate(starts):
                own = nucleus[start : start + NUCLEI_PER_RANGE]
                columns = {"nucleus": own, "overlap": np.ones(own.size, np.int64), "contested": own == 0}
                save_part(context.output("table") / "nuclei", i, columns)
            return {"ranges": len(starts), "nodes_per_range": NUCLEI_PER_RANGE, "depth": DEPTH}

        execute(SimpleNamespace(run=run), Job("nuclei", self.folder, Schema(), self.storage, ("graph",)), 1)


def nuclei(truth):
    """A third of the nodes hold the nucleus of their cell, one in twenty of them another."""
    rng = np.random.default_rng(3)
    found = np.where(rng.random(truth.size) < 0.05, rng.permutation(truth), truth)
    return np.where(rng.random(truth.size) < 1 / 3, found, 0).astype(np.uint64)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    sample = Nucleated(tmp_path_factory.mktemp("nucleated") / "rag", {}, cut(64, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_phantom, "NODES_PER_RANGE", NODES_PER_RANGE)
        execute(graph_phantom, Job("graph", sample.folder, PHANTOM, sample.storage), 1)
    sample.give_nuclei(nuclei(graph_and_truth(PHANTOM)[1]))
    return sample


def solved(made, **params):
    made.params["partition"] = partition.Params(**{"solver": SOLVER, **params})
    execute(partition, made.job("partition"), made.workers)
    segments = np.load(made.folder / "partition" / "segments.npy")
    return segments[1:].astype(np.int64), read_receipt(made.folder, "partition")["result"]


def whole_graph():
    graph, truth = graph_and_truth(PHANTOM)
    pairs, _ = nuclei_pairs(graph.n_nodes, graph.edges, nuclei(truth), DEPTH, 8 * len(graph.edges))
    return replace(graph, lifted=pairs)


def gap(said, facts):
    return (said["energy"] - facts["energy"]) / abs(facts["energy"])


def test_a_lifted_multicut_in_groups_has_nearly_the_energy_of_the_whole_graph(made):
    graph = whole_graph()
    facts = SOLVER(graph).facts
    for at_once, least in ((30_000, 3), (1, 5)):
        labels, said = solved(made, solve_at_once=at_once)
        assert len(said["levels"]) >= least
        assert gap(said, facts) < 0.001
        assert said["energy_lower_bound"] <= min(said["energy"], facts["energy"])
        u, v = labels[graph.edges.T]
        assert (labels - 1).tolist() == connected(graph.n_nodes, graph.edges, u == v).tolist()
        same = ("nodes", "edges", "edges_repulsive", "beta", "lifted")
        assert [said[name] for name in same] == [facts[name] for name in same]
        assert (said["lifted_pairs"], said["lifted_depth"]) == (len(graph.lifted.edges), DEPTH)
    assert facts["energy"] < facts["energy_multicut"] - 0.01 * abs(facts["energy"])


def test_the_energy_that_groups_add_up_is_that_of_their_segments(made):
    labels, said = solved(made, solve_at_once=8000)
    graph, solver = whole_graph(), SOLVER
    seen = statistics(graph)
    rows = solver.interactions(graph)
    u, v = labels[rows.edges.T]
    total = solver.summary({"energy": int(rows.weight[u != v].sum()), "lifted": 0}, seen)
    assert said["energy"] == pytest.approx(total["energy"], abs=1e-6)
    assert said["edges_cut"] == np.count_nonzero((u != v) & rows.local)


def test_a_group_that_trusts_its_border_ends_higher(made, monkeypatch):
    """Each group joins all that greedy contraction of what it sees joins, up to its border."""

    def rash(part, frozen, *_):
        own = ~frozen[part.edges].any(axis=1) & part.local
        return segments(part.n_nodes, part.edges, own, greedy(part))

    _, facts = solved(made)
    monkeypatch.setattr(lifted_multicut, "certain", rash)
    _, said = solved(made, solve_at_once=8000)
    assert gap(said, facts) > 0.001


def test_without_levels_to_go_the_whole_graph_is_solved_at_once(made):
    """A few thousand edges may have eight pairs each, but have not."""
    _, facts = solved(made)
    _, said = solved(made, solve_at_once=90_000)
    assert len(said["levels"]) == 1
    assert gap(said, facts) < 0.0005


def test_workers_do_not_change_a_lifted_multicut_in_groups(made):
    alone, said = solved(made, solver=LiftedMulticut(beta="q0.6"), solve_at_once=30_000)
    made.workers = 2
    several, again = solved(made, solver=LiftedMulticut(beta="q0.6"), solve_at_once=30_000)
    made.workers = 1
    np.testing.assert_array_equal(alone, several)
    assert said == again


def test_too_many_pairs_lower_the_depth_as_in_the_whole_graph(made, monkeypatch):
    graph, truth = graph_and_truth(PHANTOM)
    monkeypatch.setattr(levels, "PAIRS_PER_EDGE", 1)
    pairs, depth = nuclei_pairs(graph.n_nodes, graph.edges, nuclei(truth), DEPTH, len(graph.edges))
    _, said = solved(made, solve_at_once=30_000)
    assert (said["lifted_pairs"], said["lifted_depth"]) == (len(pairs.edges), depth)
    assert 0 < depth < DEPTH


@pytest.mark.parametrize("beside", [True, False])
def test_a_group_sees_the_pairs_of_the_whole_graph(made, monkeypatch, beside):
    """All of them, whatever lies between: but not if it looks at its own ranges alone."""
    seen = []

    def noted(evidence, group):
        pairs = evidence.looks.nuclei.pairs(evidence.table, group.start, group.stop)
        seen.append((group.start, pairs))
        return of(evidence, group)

    of = levels.Evidence.of
    monkeypatch.setattr(levels.Evidence, "of", noted)
    if not beside:
        deepest = levels.deepest

        def alone(context, table, nuclei, *more):
            return deepest(context, table, replace(nuclei, into=[(i,) for i in range(table.ranges)]), *more)

        monkeypatch.setattr(levels, "deepest", alone)
    solved(made, solve_at_once=8001 if beside else 8002)
    parts = [pairs for _, pairs in sorted(seen, key=lambda part: part[0])]
    expected = whole_graph().lifted
    assert len(parts) > 6
    found = np.concatenate([part.edges for part in parts])
    assert np.array_equal(found, expected.edges) == beside
    if beside:
        np.testing.assert_array_equal(np.concatenate([p.attraction for p in parts]), expected.attraction)
