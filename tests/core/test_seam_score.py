import numpy as np
import pytest

from cellflow.core.grid import Grid
from cellflow.core.seam_score import SeamScore, seam_block, seam_score


def scored(labels: np.ndarray, block: int) -> SeamScore | None:
    rows = []
    for b in Grid(labels.shape, (block,) * 3):
        box = tuple(slice(s.start, min(s.stop + 1, n)) for s, n in zip(b.core, labels.shape, strict=True))
        rows += seam_block(labels[box], b, labels.shape)
    return seam_score(rows)


@pytest.fixture
def tissue() -> np.ndarray:
    """Balls of one label each around random points: they know nothing of blocks."""
    rng = np.random.default_rng(3)
    centres = rng.uniform(0, 48, (60, 3))
    voxels = np.stack(np.meshgrid(*[np.arange(48)] * 3, indexing="ij"), -1)
    nearest = np.full((48, 48, 48), np.inf)
    labels = np.zeros((48, 48, 48), np.uint64)
    for i, centre in enumerate(centres, 1):
        distance = ((voxels - centre) ** 2).sum(-1)
        labels[distance < nearest] = i
        nearest = np.minimum(nearest, distance)
    return labels


def test_blocks_are_not_seen_in_segments_that_do_not_know_them(tissue):
    found = scored(tissue, 16)
    assert abs(found.excess) < 3 * found.noise + 0.01


def test_blocks_are_seen_where_every_segment_ends_at_a_face(tissue):
    cut = tissue.copy()
    for b in Grid(cut.shape, (16, 16, 16)):
        cut[b.core] += np.uint64(100 * b.id)
    found = scored(cut, 16)
    assert found.excess > 0.7
    assert found.excess > 10 * found.noise


def test_a_few_cut_segments_are_seen(tissue):
    cut = tissue.copy()
    cut[16:][(cut[16:] % 3) == 0] += np.uint64(100)  # a third of the cells is cut at z = 16
    assert scored(cut, 16).excess > scored(tissue, 16).excess + 0.02


def test_background_and_a_single_block_have_no_seams(tissue):
    assert scored(np.zeros_like(tissue), 16) is None
    assert scored(tissue, 48) is None


def test_every_face_counts_once(tissue):
    rows = [
        row
        for b in Grid(tissue.shape, (16, 16, 16))
        for row in seam_block(
            tissue[tuple(slice(s.start, min(s.stop + 1, 48)) for s in b.core)], b, tissue.shape
        )
    ]
    assert sum(row[0] for row in rows) == 3 * 2 * 48 * 48
