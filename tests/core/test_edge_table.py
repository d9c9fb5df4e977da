"""Histograms of edges add up without loss, and their statistics are those of numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellflow.core.edge_table import FULL, EdgeHistograms, merge, statistics
from cellflow.core.errors import BadInput

untimed = settings(deadline=None)  # the first example compiles
huge = st.sampled_from([1, 2, FULL - 1, FULL])


def one_edge(value, count):
    value, count = np.array(value, np.uint8), np.array(count, np.uint32)
    return EdgeHistograms(np.array([[1, 2]], np.uint64), np.array([0, value.size]), value, count)


def same(a, b):
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in ("edges", "first", "value", "count"))


@untimed
@given(st.lists(st.integers(0, 255), min_size=1, max_size=60), st.lists(st.floats(0, 1), max_size=4))
def test_any_quantile_equals_numpy(values, quantiles):
    table = statistics(
        one_edge(*np.unique(np.array(values, np.uint8), return_counts=True)), quantiles, samples_per_pair=1
    )
    expected = np.quantile(np.array(values, np.uint8), quantiles, method="inverted_cdf") / 255
    assert np.array_equal(table.quantiles[0], expected)


@pytest.mark.parametrize("count", [(10**12, 10**12), (10**12, 1), (1, 1)])
def test_moments_keep_their_digits_for_huge_contacts(count):
    a, b = count
    full = [[FULL] * (n // FULL) + [n % FULL] for n in count]
    table = statistics(one_edge([254] * len(full[0]) + [255] * len(full[1]), [*full[0], *full[1]]))
    assert table.mean[0] == pytest.approx((254 * a + 255 * b) / (a + b) / 255, rel=1e-15, abs=0)
    assert table.variance[0] == pytest.approx(a / (a + b) * b / (a + b) / 255**2, rel=1e-12, abs=0)
    assert table.size[0] == (a + b) // 2


@untimed
@given(st.lists(st.tuples(st.integers(3, 5), huge), min_size=1, max_size=8), st.randoms())
def test_no_count_overflows(seen, random):
    """Counts beyond one row go on in the next, in a form that does not depend on the order of merging."""
    one_by_one = merge([one_edge([value], [count]) for value, count in seen])
    random.shuffle(seen)
    middle = random.randint(0, len(seen))
    halves = [merge([one_edge([w], [n]) for w, n in half]) for half in (seen[:middle], seen[middle:])]
    assert same(merge(halves), one_by_one)
    for value in {w for w, _ in seen}:
        total = sum(n for w, n in seen if w == value)
        counts = one_by_one.count[one_by_one.value == value].tolist()
        assert sum(counts) == total
        assert set(counts[:-1]) <= {FULL}
        assert counts[-1] > 0


def test_equal_samples_have_no_variance():
    assert statistics(one_edge([77], [4])).variance.tolist() == [0.0]


def test_edges_of_two_parts_interleave_in_order_of_both_labels():
    def part(*edges):
        edges = np.array(edges, np.uint64)
        value = np.zeros(len(edges), np.uint8)
        return EdgeHistograms(edges, np.arange(len(edges) + 1), value, value.astype(np.uint32) + 1)

    merged = merge([part((1, 5), (2, 2**63)), part((1, 4), (2, 3), (2, 2**63))])
    assert merged.edges.tolist() == [[1, 4], [1, 5], [2, 3], [2, 2**63]]
    assert merged.count.tolist() == [1, 1, 1, 2]


def test_what_is_no_quantile_is_refused():
    with pytest.raises(BadInput, match="write the median"):
        statistics(merge([]), (50,))
