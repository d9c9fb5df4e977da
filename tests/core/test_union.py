import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cellflow.core.union import join, numbered, root

pairs = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)


@given(pairs)
def test_trees_are_the_components_numbered_by_their_smallest_nodes(pairs):
    parent, count = np.arange(20), 20
    for i, j in pairs:
        count -= join(parent, i, j)
    u, v = np.array(pairs, np.int64).reshape(-1, 2).T
    expected, labels = connected_components(
        coo_array((np.ones(len(u)), (u, v)), shape=(20, 20)), directed=False
    )
    assert count == expected
    first = np.unique(labels, return_index=True)[1][labels]
    assert [root(parent, i) for i in range(20)] == first.tolist()
    assert numbered(parent).tolist() == np.unique(first, return_inverse=True)[1].tolist()
