import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellflow.core.labels import consecutive, look_up


@given(hnp.arrays(np.uint32, (3, 4, 5), elements=st.integers(0, 40)))
def test_consecutive_labels_keep_their_order_and_their_voxels(labels):
    found, count = consecutive(labels)
    old = np.unique(labels[labels > 0])
    assert found.dtype == np.uint32
    assert count == old.size
    np.testing.assert_array_equal(found > 0, labels > 0)
    for new, label in enumerate(old, start=1):
        np.testing.assert_array_equal(found == new, labels == label)


def test_nothing_but_background_stays_so():
    found, count = consecutive(np.zeros((2, 2, 2), np.uint32))
    assert count == 0
    assert not found.any()
    assert consecutive(np.zeros((0, 2, 2), np.uint32))[1] == 0


def test_look_up_gives_each_voxel_the_row_of_its_label(tmp_path):
    labels = np.array([[[0, 2, 1], [2, 2, 3]]], np.uint64)
    table = np.array([0, 7, 2**50, 0], np.uint64)
    expected = [[[0, 2**50, 7], [2**50, 2**50, 0]]]
    np.testing.assert_array_equal(look_up(labels, table), expected)
    np.save(tmp_path / "t.npy", table)
    np.testing.assert_array_equal(look_up(labels, np.load(tmp_path / "t.npy", mmap_mode="r")), expected)
    assert look_up(labels, table.astype(np.int64)).dtype == np.uint64
