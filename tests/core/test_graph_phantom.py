import subprocess
import sys
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from running import environment

from cellflow.core.contingency import contingency_block
from cellflow.core.edge_table import statistics
from cellflow.core.errors import BadInput
from cellflow.core.graph_phantom import GraphPhantom, graph_and_truth, graph_range
from cellflow.core.graphs import connected
from cellflow.core.grid import Grid
from cellflow.core.metrics import scores
from cellflow.core.phantom import Phantom, phantom_block
from cellflow.solvers import Multicut
from cellflow.stages.graph import graph_block
from cellflow.stages.supervoxels import Params as Cut
from cellflow.stages.supervoxels import supervoxels_block

SMALL = GraphPhantom(nodes=5000, seed=3)
CLEAR = {"noise": 0, "ambiguous": 0, "holes": 0, "false_boundary": 0}


def columns(made):
    return {
        **asdict(made.edges),
        **{f"node {k}": v for k, v in asdict(made.nodes).items()},
        "truth": made.truth,
    }


@lru_cache
def whole(p):
    return columns(graph_range(p, 1, p.n_nodes + 1))


@given(st.lists(st.integers(1, SMALL.nodes + 1), max_size=4))
@example([950, 953])  # three nodes with more edges than there is room for at first
@settings(max_examples=30)
def test_ranges_computed_alone_have_the_bits_they_have_in_the_whole(cuts):
    ends = [1, *sorted(cuts), SMALL.nodes + 1]
    parts = [columns(graph_range(SMALL, a, b)) for a, b in pairwise(ends)]
    for name, values in whole(SMALL).items():
        joined = np.concatenate([part[name] for part in parts])
        assert joined.dtype == values.dtype
        np.testing.assert_array_equal(joined, values, name)


def test_a_range_holds_the_edges_whose_smaller_node_lies_in_it():
    made = graph_range(SMALL, 1000, 1100)
    assert made.edges.edges[:, 0].min() >= 1000
    assert made.edges.edges[:, 0].max() < 1100
    assert made.nodes.id.tolist() == list(range(1000, 1100))


def test_the_whole_in_memory_is_that_of_the_ranges():
    graph, truth = graph_and_truth(SMALL)
    found = whole(SMALL)
    np.testing.assert_array_equal(graph.edges + 1, found["edges"].astype(np.int64))
    np.testing.assert_array_equal(graph.boundary, found["mean"])
    np.testing.assert_array_equal(graph.sizes, found["size"])
    np.testing.assert_array_equal(truth, found["truth"].astype(np.int64))


@given(st.integers(1, 3000), st.integers(0, 2**63 - 1))
@settings(max_examples=30)
def test_edges_are_those_of_a_connected_graph_sorted_and_unique(nodes, seed):
    """What `Graph` refuses: loops, duplicates, a larger node first, an order of rows; and nodes outside."""
    graph, truth = graph_and_truth(GraphPhantom(nodes=nodes, seed=seed))
    assert connected(nodes, graph.edges, np.ones(len(graph.edges), bool)).max() == 0
    assert truth.min() >= 1
    assert truth.max() <= nodes


@pytest.mark.parametrize("edges", [10_000, 100_000, 1_000_000])
def test_there_are_about_as_many_edges_as_wanted(edges):
    assert len(graph_and_truth(GraphPhantom(edges=edges))[0].edges) == pytest.approx(edges, rel=0.03)


def partition_of(labels):
    """Labels numbered by their first node, to compare partitions."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


@given(st.integers(1, 4000), st.integers(0, 1000), st.sampled_from([1, 5, 30, 300]))
@settings(max_examples=30)
def test_without_noise_the_edges_below_a_half_are_the_truth(nodes, seed, wanted):
    p = GraphPhantom(nodes=nodes, seed=seed, supervoxels_per_cell=wanted, **CLEAR)
    graph, truth = graph_and_truth(p)
    found = connected(nodes, graph.edges, graph.boundary < 0.5)
    np.testing.assert_array_equal(found, partition_of(truth))


def rand_error(labels, truth):
    return scores(contingency_block(truth[None], labels[None] + 1))["adapted_rand_error"]


def test_with_noise_an_untuned_multicut_beats_every_threshold():
    graph, truth = graph_and_truth(GraphPhantom(edges=100_000, seed=1))
    thresholds = [
        rand_error(connected(graph.n_nodes, graph.edges, graph.boundary < t), truth)
        for t in (0.1, 0.2, 0.3, 0.5)
    ]
    found = rand_error(Multicut()(graph).labels, truth)
    assert found < 0.2
    assert found < 0.5 * min(thresholds)


def inner_degrees(edges, lower, upper, end):
    """Neighbours of the nodes that do not touch the border of the volume."""
    degree = np.bincount(edges.astype(np.int64).ravel(), minlength=len(lower) + 1)[1:]
    return degree[(lower > 0).all(axis=1) & (upper < end).all(axis=1)]


def test_degrees_and_contact_sizes_are_near_those_of_a_voxel_phantom():
    p = Phantom(shape=(80, 96, 96), voxel_size_um=(0.3, 0.3, 0.3), seed=11, cell_um=4, holes=0.1, tissue=1)
    boundaries = phantom_block(p, tuple(slice(0, n) for n in p.shape)).boundaries
    cut = supervoxels_block(boundaries, Cut(sigma_seeds=1, min_size=20), (1, 1, 1)).astype(np.uint64)
    rows, nodes = graph_block(cut, boundaries, Grid(p.shape, p.shape)[0])
    table = statistics(rows)
    real = inner_degrees(table.edges, nodes.lower, nodes.upper, p.shape)
    made = whole(GraphPhantom(nodes=8**5))
    side = 16 * 32  # a cube of the curve
    ours = inner_degrees(made["edges"], made["node lower"] - 8, made["node upper"], side)
    assert real.size > 200
    assert ours.mean() == pytest.approx(real.mean(), rel=0.1)
    assert 0.75 < ours.std() / real.std() < 1.4
    for share in (0.25, 0.75, 0.95):
        ratios = [np.quantile(s, share) / np.median(s) for s in (made["size"], table.size)]
        assert 0.6 < ratios[0] / ratios[1] < 1.7
    assert made["size"].min() == 1
    assert 300 < np.quantile(made["size"], 0.95) < 1000


def test_the_moments_of_an_edge_are_those_of_samples_that_can_be():
    made = whole(SMALL)
    low, mean, high = made["minimum"], made["mean"], made["maximum"]
    assert ((low >= 0) & (low <= mean) & (mean <= high) & (high <= 1)).all()
    assert high.max() > mean.max() > 0.9
    share = np.divide(mean - low, high - low, out=np.zeros_like(mean), where=high > low)
    variance = share * (high - mean) ** 2 + (1 - share) * (mean - low) ** 2
    np.testing.assert_allclose(made["variance"], variance, atol=1e-15)
    assert made["quantiles"].shape == (mean.size, 0)


def test_supervoxels_fit_into_their_boxes():
    made = whole(SMALL)
    size, lower, upper = made["node size"], made["node lower"], made["node upper"]
    assert (size >= 1).all()
    assert (size <= np.prod(upper - lower, axis=1)).all()
    centroid = made["node sums"] / size[:, None]
    assert ((centroid >= lower) & (centroid <= upper - 1)).all()
    assert lower.min() >= 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("edges", 3000),
        ("nodes", 700),
        ("supervoxels_per_cell", 10),
        ("noise", 0.1),
        ("ambiguous", 0.2),
        ("holes", 0.2),
        ("false_boundary", 0.2),
        ("seed", 1),
    ],
)
def test_every_field_changes_the_graph(field, value):
    base = GraphPhantom(edges=10_000)
    means = [whole(p)["mean"] for p in (base, GraphPhantom(**{**base.model_dump(), field: value}))]
    least = min(m.size for m in means)
    assert means[0].size != means[1].size or (means[0][:least] != means[1][:least]).mean() > 0.05


def test_that_list_of_fields_is_complete():
    mark = next(m for m in test_every_field_changes_the_graph.pytestmark if m.name == "parametrize")
    assert [field for field, _ in mark.args[1]] == list(GraphPhantom.model_fields)


def test_shares_of_wrong_and_ambiguous_edges_are_those_wanted():
    p = GraphPhantom(nodes=20_000, noise=0, ambiguous=0.1, holes=0.2, false_boundary=0.05)
    graph, truth = graph_and_truth(p)
    inside = truth[graph.edges[:, 0]] == truth[graph.edges[:, 1]]
    assert (graph.boundary == 0.5).mean() == pytest.approx(0.1, abs=0.01)
    assert (graph.boundary[inside] > 0.5).mean() == pytest.approx(0.05, abs=0.01)
    assert (graph.boundary[~inside] < 0.5).mean() == pytest.approx(0.2, abs=0.01)


def test_shares_above_one_are_refused():
    with pytest.raises(ValueError, match="expected 1 at most together"):
        GraphPhantom(ambiguous=0.5, holes=0.6)


@pytest.mark.parametrize("ends", [(0, 4), (3, 2), (1, 5002), (5002, 5002)])
def test_a_range_outside_the_graph_is_refused(ends):
    with pytest.raises(BadInput, match="expected a range within 1 to 5001"):
        graph_range(SMALL, *ends)


RANGES = """
import resource
from cellflow.core.graph_phantom import GraphPhantom, graph_range

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

p = GraphPhantom(edges=10**12)
graph_range(p, 1, 8193)
before = peak()
for start in range(1, p.n_nodes, p.n_nodes // 20):
    start -= (start - 1) % 8192  # 21 ranges, all over the graph
    graph_range(p, start, min(start + 8192, p.n_nodes + 1))
print(peak() - before)
"""


def test_a_range_of_an_immense_graph_needs_no_more_memory_than_the_first():
    command = [sys.executable, "-c", RANGES]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30  # MB


def test_the_bits_of_a_known_range_stay_what_they_are():
    made = columns(graph_range(GraphPhantom(), 9000, 9100))
    digest = sha256(b"".join(made[name].astype("<f8").tobytes() for name in sorted(made)))
    assert digest.hexdigest()[:16] == "b6b4249e88a92360"
