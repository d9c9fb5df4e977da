from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from cellflow.core.errors import BadInput
from cellflow.engine import store
from cellflow.engine.store import Array, Storage

CHUNK = (4, 8, 5)
STORAGE = Storage(block=(16, 16, 20), shard=(8, 16, 10), chunk=CHUNK)
SHAPE = (19, 37, 23)
KINDS = [("labels", np.uint64), ("scratch", np.uint32), ("intensity", np.uint8), ("intensity", np.float32)]

sides = st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)) for n in SHAPE))


def _values(seed, dtype):
    """Chunks with voxels of all kinds, of zeros, and of zeros but for the last voxel."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, SHAPE) * rng.integers(1, 99)
    for at in product(*(range(0, n, c) for n, c in zip(SHAPE, CHUNK, strict=True))):
        chunk = values[tuple(slice(a, a + c) for a, c in zip(at, CHUNK, strict=True))]
        chunk *= rng.random() < 0.5
        chunk[-1, -1, -1] += rng.random() < 0.3
    return values.astype(dtype)


def _written(folder, values, kind):
    like = STORAGE.fitted(SHAPE)
    array = store.create(folder, like, values.dtype, kind)
    for block in like.grid():
        store.write_block(array, block.core, values[block.core])
    return array


def _by_zarr(folder, values, kind):
    store.create(folder, STORAGE.fitted(SHAPE), values.dtype, kind)
    zarr.open_array(str(folder), mode="r+")[:] = values
    return store.open_read(folder)


@given(st.integers(0, 99), st.sampled_from(KINDS), sides)
def test_zarr_reads_what_we_write_and_we_what_zarr_writes(seed, kind, box):
    name, dtype = kind
    values = _values(seed, dtype)
    part = tuple(slice(min(ends), max(ends)) for ends in box)
    with TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")
        assert _written(ours, values, name).files is not None
        np.testing.assert_array_equal(zarr.open_array(str(ours), mode="r")[:], values)
        np.testing.assert_array_equal(store.open_read(ours)[part], values[part])
        np.testing.assert_array_equal(_by_zarr(theirs, values, name)[part], values[part])


def _left_out(array):
    """The files of a volume, and the chunks that each leaves out."""
    files = sorted((array.files.folder / "c").rglob("*"))
    found = {}
    for file in (f for f in files if f.is_file()):
        with file.open("rb") as opened:
            starts = array.files._index(opened)[..., 0]
        found[file.relative_to(array.files.folder)] = (starts == np.uint64(2**64 - 1)).tolist()
    return found


def test_chunks_and_shards_of_zeros_are_left_out_as_zarr_does_it(tmp_path):
    values = _values(3, np.uint64)
    values[:8, :16, :10] = 0
    ours, theirs = _written(tmp_path / "a", values, "labels"), _by_zarr(tmp_path / "b", values, "labels")
    assert _left_out(ours) == _left_out(theirs)
    assert not (tmp_path / "a" / "c" / "0" / "0" / "0").exists()
    first = STORAGE.fitted(SHAPE).grid()[0].core
    assert ours[first].any()
    store.write_block(ours, first, np.zeros([s.stop - s.start for s in first]))
    assert not ours[first].any()


SELECTIONS = [
    np.s_[3],
    np.s_[..., 2],
    np.s_[::2],
    np.s_[2:9, 3],
    np.s_[-5:, :-1, 4:999],
    np.s_[7:2],
    np.s_[:],
]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_voxels_are_selected_as_numpy_does_it(tmp_path, selection):
    values = _values(5, np.uint32)
    np.testing.assert_array_equal(_written(tmp_path / "a", values, "labels")[selection], values[selection])


@pytest.mark.parametrize("cut", [-1, -7, 0, 30])
def test_a_damaged_file_is_named(tmp_path, cut):
    values = _values(1, np.uint64) + np.uint64(1)
    array = _written(tmp_path / "a", values, "labels")
    shard = tmp_path / "a" / "c" / "1" / "0" / "1"
    content = bytearray(shard.read_bytes())
    if cut <= 0:
        content[cut] ^= 1  # of the index, or of a chunk
    shard.write_bytes(content if cut <= 0 else content[:cut])
    with pytest.raises(BadInput, match=r"c/1/0/1: found a damaged shard, expected .*; remove the receipt"):
        array[:]
    np.testing.assert_array_equal(array[:8], values[:8])


@pytest.mark.parametrize("box", [np.s_[0:8, 0:16, 0:9], np.s_[1:8, 0:16, 0:10], np.s_[16:18, 0:16, 0:10]])
def test_a_part_of_a_shard_is_not_written(tmp_path, box):
    array = store.create(tmp_path / "a", STORAGE.fitted(SHAPE), np.uint8, "labels")
    with pytest.raises(ValueError, match="expected whole shards"):
        store.write_block(array, box, np.ones([s.stop - s.start for s in box]))
    assert not (tmp_path / "a" / "c").exists()


def test_volumes_that_are_cut_otherwise_are_read_by_zarr(tmp_path):
    values = _values(2, np.uint16)
    made = zarr.create_array(str(tmp_path / "a"), shape=SHAPE, chunks=CHUNK, dtype=np.uint16)
    made[:] = values
    array = Array(made.async_array)
    assert array.files is None
    np.testing.assert_array_equal(array[2:9], values[2:9])
    with pytest.raises(ValueError, match="not to be written to"):
        store.write_block(array, (slice(0, 8),) * 3, values[:8, :8, :8])
