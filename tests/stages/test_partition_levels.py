import numpy as np
import pytest

from cellflow.engine import hierarchy
from cellflow.engine.stage import read_receipt
from cellflow.solvers import Agglomerate, Gasp, MutexWatershed
from cellflow.stages import graph, partition

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
