"""A graph on disk with its truth, made as a user makes it; a partition stands on it alone."""

import json

import numpy as np
import pytest
from graph_tables import load_edges, load_nodes, load_truth
from running import cellflow

from cellflow.core.contingency import contingency_block
from cellflow.core.graph_phantom import GraphPhantom, graph_and_truth, graph_range
from cellflow.core.metrics import scores
from cellflow.engine.parts import load_part
from cellflow.engine.stage import read_receipt
from cellflow.solvers import Multicut

P = GraphPhantom(edges=100_000, seed=2)


def make(folder, *more):
    return cellflow(
        folder, "phantom", "rag", "--graph", "--seed", "2", "--workers", "1", *more, "--set", "edges=100000"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom")
    done = make(root)
    assert done.returncode == 0, done.stderr
    return root / "rag"


def test_the_files_hold_the_graph_of_the_whole(folder):
    result = read_receipt(folder, "graph")["result"]
    table = folder / "graph" / "table"
    edges, nodes = load_edges(table, result["ranges"]), load_nodes(table, result["ranges"])
    made = graph_range(P, 1, P.n_nodes + 1)
    for found, expected in ((edges, made.edges), (nodes, made.nodes)):
        for name, values in vars(expected).items():
            assert getattr(found, name).dtype == values.dtype
            np.testing.assert_array_equal(getattr(found, name), values, name)
    np.testing.assert_array_equal(load_truth(table, result["ranges"]), made.truth)
    assert result == {
        "nodes": P.n_nodes,
        "edges": len(made.edges.edges),
        "contacts": int(made.edges.size.sum()),
        "cells": np.unique(made.truth).size,
        "ranges": 4,
        "nodes_per_range": 4096,
        "quantiles": [],
    }


def test_it_takes_a_third_of_the_disk_of_its_columns(folder):
    edges = folder / "graph" / "table" / "edges"
    whole = sum(column.nbytes for i in range(4) for column in load_part(edges, i).values())
    assert 3 * sum(file.stat().st_size for file in edges.iterdir()) < whole


def test_made_again_it_is_the_same_bytes(folder, tmp_path):
    assert make(tmp_path).returncode == 0
    files = [f.relative_to(folder) for f in folder.glob("graph/**/*.npz")]
    assert len(files) == 12
    for name in (*files, "graph.json"):
        assert (tmp_path / "rag" / name).read_bytes() == (folder / name).read_bytes()


def test_a_partition_stands_on_it_alone_and_is_that_of_the_graph_in_memory(folder):
    job = {"params": {}, "storage": {}}
    done = cellflow(
        folder.parent, "run", "partition", "rag", "rag/graph.json", "--job", json.dumps(job)
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    segments = np.load(folder / "partition" / "segments.npy")
    graph, truth = graph_and_truth(P)
    expected = Multicut()(graph)
    np.testing.assert_array_equal(segments[1:], expected.labels.astype(np.uint64) + 1)
    assert read_receipt(folder, "partition")["result"]["energy"] == expected.facts["energy"]
    found = scores(contingency_block(truth[None], segments[None, 1:]))
    assert found["adapted_rand_error"] < 0.2


def test_options_of_a_volume_are_refused_for_a_graph(tmp_path):
    done = make(tmp_path, "--shape", "8", "8", "8")
    assert done.returncode == 2
    assert "--shape: found with --graph, expected without" in done.stderr
    assert not (tmp_path / "rag").exists()


def test_a_wrong_parameter_is_refused_in_one_line(tmp_path):
    done = make(tmp_path, "--set", "holez=0.1")
    assert done.returncode == 2
    assert "unknown key 'holez'; did you mean 'holes'?" in done.stderr
