import multiprocessing

import numpy as np
import pytest

from cellflow.core.errors import BadInput
from cellflow.engine import store
from cellflow.engine.store import Storage

STORAGE = Storage(block=(16, 16, 16), shard=(8, 16, 8), chunk=(4, 4, 4))


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (
            Storage(block=(48, 32, 32), shard=(32, 32, 32), chunk=(16, 16, 16)),
            r"storage\.block along z: found 48, expected a multiple of the shard \(32\).* Use 64",
        ),
        (
            Storage(block=(32, 32, 32), shard=(32, 24, 32), chunk=(16, 16, 16)),
            r"storage\.block along y: found 32, expected a multiple of the shard \(24\).* Use 48",
        ),
        (
            Storage(block=(32, 32, 32), shard=(32, 32, 16), chunk=(16, 16, 12)),
            r"storage\.shard along x: found 16, expected a multiple of the chunk \(12\).* Use 24",
        ),
        (
            Storage(block=(100, 32, 32), chunk=(16, 16, 16)),
            r"storage\.shard along z: found 100, expected a multiple of the chunk \(16\).* Use 112",
        ),
    ],
)
@pytest.mark.parametrize("shape", [(500, 500, 500), (3, 3, 3)])
def test_two_tasks_that_would_share_a_file_are_refused(storage, message, shape):
    with pytest.raises(BadInput, match=message):
        storage.fitted(shape)


@pytest.mark.parametrize(
    ("shape", "shard", "chunk"),
    [
        ((1000, 1000, 1000), (256, 256, 256), (64, 64, 64)),
        ((300, 300, 300), (256, 256, 256), (64, 64, 64)),
        ((40, 200, 1), (40, 256, 1), (40, 64, 1)),
        ((100, 64, 65), (128, 64, 128), (64, 64, 64)),
        ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    ],
)
def test_nothing_is_larger_than_a_small_volume_needs(tmp_path, shape, shard, chunk):
    like = Storage().fitted(shape)
    assert (like.shard, like.chunk) == (shard, chunk)
    array = store.create(tmp_path / "a", like, np.uint8, "intensity")
    assert (array.shape, array.shards, array.chunks) == (shape, shard, chunk)
    starts = like.grid().starts
    assert all(s % u == 0 for axis, u in zip(starts, shard, strict=True) for s in axis)


@pytest.mark.parametrize("shape", [(40, 33, 16), (5, 6, 7), (17, 16, 47)])
@pytest.mark.parametrize("kind", ["labels", "intensity"])
def test_blocks_written_in_any_order_make_the_volume(tmp_path, rng, shape, kind):
    values = rng.integers(0, 2**40, shape).astype(np.uint64)
    like = STORAGE.fitted(shape)
    array = store.create(tmp_path / "a", like, np.uint64, kind)
    blocks = list(like.grid())
    for i in rng.permutation(len(blocks)):
        store.write_block(array, blocks[i].core, values[blocks[i].core])
    np.testing.assert_array_equal(store.open_read(tmp_path / "a")[:], values)


def _files(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_block_written_twice_leaves_the_same_bytes(tmp_path, rng):
    like = STORAGE.fitted((40, 33, 16))
    array = store.create(tmp_path / "a", like, np.uint16, "intensity")
    block = like.grid()[1]
    values = rng.integers(0, 999, [s.stop - s.start for s in block.core]).astype(np.uint16)
    first = store.write_block(array, block.core, values)
    before = _files(tmp_path)
    assert store.write_block(array, block.core, values) == first
    assert _files(tmp_path) == before
    assert len(before) > 1


def _crc32c(data):
    """Bit by bit, after RFC 3720."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_the_checksum_is_that_of_the_voxels_as_they_are_stored(tmp_path, rng):
    like = STORAGE.fitted((16, 16, 16))
    array = store.create(tmp_path / "a", like, np.uint64, "labels")
    values = rng.integers(0, 9, (16, 16, 16))
    core = like.grid()[0].core
    expected = _crc32c(values.astype(np.uint64).tobytes())
    assert store.write_block(array, core, values) == expected
    assert store.write_block(array, core, np.asfortranarray(values.astype(np.uint8))) == expected
    values[3, 4, 5] += 1
    assert store.write_block(array, core, values) != expected


def test_a_block_of_zeros_replaces_what_was_there(tmp_path):
    like = STORAGE.fitted((16, 16, 16))
    array = store.create(tmp_path / "a", like, np.uint8, "labels")
    core = like.grid()[0].core
    store.write_block(array, core, np.ones((16, 16, 16), np.uint8))
    store.write_block(array, core, np.zeros((16, 16, 16), np.uint8))
    assert not store.open_read(tmp_path / "a")[:].any()


def test_the_checksum_of_a_volume_tells_the_order_of_its_blocks():
    parts = [{"crc": 1}, {"crc": 2}]
    assert store.checksum(parts) == store.checksum(list(parts))
    assert store.checksum(parts) != store.checksum(parts[::-1])


def _write_every_other(path, start, times):
    like = STORAGE.fitted((36, 36, 36))
    array = store.open_or_create(path, like, np.uint16, "labels")
    blocks = list(like.grid())[start::2]
    for _ in range(times):
        for block in blocks:
            shape = [s.stop - s.start for s in block.core]
            store.write_block(array, block.core, np.full(shape, block.id + 1, np.uint16))


def test_two_processes_lose_nothing(tmp_path):
    like = STORAGE.fitted((36, 36, 36))
    store.create(tmp_path / "a", like, np.uint16, "labels")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_every_other, args=(tmp_path / "a", i, 4)) for i in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    found = store.open_read(tmp_path / "a")[:]
    for block in like.grid():
        assert (found[block.core] == block.id + 1).all()


def test_a_volume_opened_to_read_cannot_be_changed(tmp_path):
    array = store.create(tmp_path / "a", STORAGE.fitted((8, 8, 8)), np.uint8, "labels")
    array[:] = 3
    reader = store.open_read(tmp_path / "a")
    with pytest.raises(ValueError, match="read-only"):
        reader[:] = 4
    with pytest.raises(ValueError, match="not to be written"):
        store.write_block(reader, (slice(0, 8),) * 3, np.ones((8, 8, 8)))
    assert (store.open_read(tmp_path / "a")[:] == 3).all()


def test_a_missing_volume_is_named_and_not_made(tmp_path):
    with pytest.raises(BadInput, match=r"raw/0: found no Zarr array; run the stage"):
        store.open_read(tmp_path / "raw" / "0")
    assert not (tmp_path / "raw").exists()


def test_open_or_create_keeps_what_a_stopped_run_wrote(tmp_path):
    like = STORAGE.fitted((8, 8, 8))
    store.open_or_create(tmp_path / "a", like, np.uint8, "labels")[0] = 5
    assert (store.open_or_create(tmp_path / "a", like, np.uint8, "labels")[0] == 5).all()
