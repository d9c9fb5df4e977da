"""The graph on disk, read range by range: the same rows as of the whole table."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellflow.core.nodes import NodeTable, at_border
from cellflow.engine.parts import save_part
from cellflow.engine.tables import load_sizes, load_touching


def _in_ranges(folder, nodes, pairs, per_range):
    """Write edges of nodes 1..n, sorted, with a mean of their own; how many ranges there are."""
    edges = np.array(sorted(pairs), np.uint64).reshape(-1, 2)
    mean, ranges = np.arange(len(edges)) / 8, -(-nodes // per_range)
    for i in range(ranges):
        own = (edges[:, 0].astype(np.int64) - 1) // per_range == i
        save_part(folder / "edges", i, {"edges": edges[own], "mean": mean[own], "size": mean[own]})
    return edges.astype(np.int64) - 1, mean, ranges


@given(data=st.data())
def test_rows_that_touch_flagged_nodes_are_those_of_the_whole_table(data, tmp_path_factory):
    nodes, per_range = data.draw(st.integers(2, 9)), data.draw(st.integers(1, 4))
    every = [(a, b) for a in range(1, nodes + 1) for b in range(a + 1, nodes + 1)]
    pairs = data.draw(st.sets(st.sampled_from(every)))
    flagged = np.array(data.draw(st.lists(st.booleans(), min_size=nodes, max_size=nodes)))
    folder = tmp_path_factory.mktemp("table")
    edges, mean, ranges = _in_ranges(folder, nodes, pairs, per_range)
    found = load_touching(folder, ranges, ["mean"], flagged)
    rows = [row for row, (a, b) in enumerate(edges) if flagged[a] or flagged[b]]
    np.testing.assert_array_equal(found["edges"], edges[rows])
    np.testing.assert_array_equal(found["mean"], mean[rows])
    assert found.keys() == {"edges", "mean"}


def test_sizes_and_borders_of_ranges_follow_one_another(tmp_path):
    random = np.random.default_rng(3)
    lower = random.integers(0, 4, (10, 3))
    size = random.integers(1, 99, 10)
    whole = NodeTable(np.arange(1, 11).astype(np.uint64), size, lower, lower + 2, lower)
    for i, rows in enumerate((slice(0, 4), slice(4, 8), slice(8, 10))):
        save_part(tmp_path / "nodes", i, {name: column[rows] for name, column in vars(whole).items()})
    found, border = load_sizes(tmp_path, 3, (5, 5, 5))
    np.testing.assert_array_equal(found, size)
    np.testing.assert_array_equal(border, at_border(whole, (5, 5, 5)))
    assert 0 < border.sum() < 10
