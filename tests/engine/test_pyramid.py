import numpy as np
import pytest
from conftest import cut

from cellflow.core.downsample import mean, mode
from cellflow.core.schema import Schema
from cellflow.engine import pyramid, store
from cellflow.engine.cluster import ThreadExecutor
from cellflow.engine.stage import Context, Job
from cellflow.engine.store import Storage

CUBE = (1.0, 1.0, 1.0)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a volume block by block in a shuffled order: its levels, and the passes that were needed."""
    monkeypatch.setattr(pyramid, "SMALLEST_LEVEL", 3)

    def written(values, kind, storage, voxel=CUBE):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        context = Context(Job("x", folder, Schema(), storage), ThreadExecutor(1), "key")
        like = context.fitted(values.shape)
        target = context.create("made", like, values.dtype, kind, voxel)
        for block in np.random.default_rng(0).permutation(np.array(list(like.grid()), object)):
            target.write(block.core, values[block.core])
        context.pyramid("made")
        made = context.work / "volumes" / "made"
        paths = sorted((p for p in made.iterdir() if p.is_dir()), key=lambda p: int(p.name))
        passes = [p.stem for p in (context.work / "journal").glob("*")]
        return [store.open_read(path) for path in paths], sorted(passes)

    return written


def test_voxels_become_cubes_and_stay_so():
    found = pyramid.levels((200, 2000, 2000), (2.0, 0.5, 0.5))
    assert [level.factor for level in found] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8), (4, 16, 16)]
    assert found[-1].shape == (50, 125, 125)
    assert [level.factor for level in pyramid.levels((1, 300, 300), (1, 1, 1))][-1] == (1, 4, 4)
    assert len(pyramid.levels((128, 128, 128), (1, 1, 1))) == 1
    assert pyramid.levels((3000, 10, 10), (0.1, 5, 5))[-1].shape[0] <= 128


@pytest.mark.parametrize(
    ("storage", "passes"),
    [
        (cut(32, 8), ["made level 2", "made level 4"]),  # 0 and 1, 2 and 3, 4 and 5
        (cut(16, 8), [f"made level {k}" for k in (2, 3, 4, 5)]),  # a pass has blocks of a chunk
        (cut(8, 8), [f"made level {k}" for k in (1, 2, 3, 4, 5)]),  # half a block is less than a chunk
        (cut(24, 8), [f"made level {k}" for k in (1, 2, 3, 4, 5)]),  # half a shard is no multiple of a chunk
        (Storage(block=(32, 16, 32), shard=(16, 16, 16), chunk=(4, 8, 8)), None),
        (cut(64, 4), None),
    ],
)
@pytest.mark.parametrize("kind", ["intensity", "labels"])
def test_levels_do_not_depend_on_blocks_nor_on_who_writes_them(write, rng, storage, passes, kind):
    values = rng.integers(0, 9, (41, 35, 50)).astype(np.uint64)
    found, needed = write(values, kind, storage)
    assert len(found) == 6
    for level in found:
        np.testing.assert_array_equal(level[:], values)
        values = (mode if kind == "labels" else mean)(values, (2, 2, 2))
    assert passes is None or needed == passes


def test_axes_of_coarse_voxels_are_left_alone(write, rng):
    values = rng.integers(0, 255, (12, 50, 40)).astype(np.uint8)
    found, _ = write(values, "intensity", cut(16, 8), (2.0, 0.5, 0.5))
    np.testing.assert_array_equal(found[1][:], mean(values, (1, 2, 2)))
    np.testing.assert_array_equal(found[3][:], mean(mean(found[1][:], (1, 2, 2)), (2, 2, 2)))


def test_odd_ends_are_halved_too(write, rng):
    values = rng.integers(0, 99, (7, 17, 11)).astype(np.uint8)
    found, _ = write(values, "intensity", cut(8, 4))
    np.testing.assert_array_equal(found[1][:], mean(values, (2, 2, 2)))
    assert found[3].shape == (1, 3, 2)


def test_a_level_is_not_written_beside_where_two_blocks_would_share_a_shard():
    assert pyramid.beside(cut(16, 8), (2, 2, 2)) == Storage(block=(8,) * 3, shard=(8,) * 3, chunk=(8,) * 3)
    assert pyramid.beside(cut(16, 16), (2, 2, 2)) is None
    assert pyramid.beside(cut(16, 16), (1, 1, 1)) is not None
    assert pyramid.beside(Storage(block=(32,) * 3, shard=(8,) * 3, chunk=(8,) * 3), (1, 1, 2)) is None
