import numpy as np
import pytest

from cellflow.core.grid import Grid, box_shape
from cellflow.core.seam_score import SeamScore, seam_block, seam_score


def counts(labels: np.ndarray, block: int) -> list[np.ndarray]:
    parts = []
    for b in Grid(labels.shape, (block,) * 3):
        box = tuple(slice(s.start, min(s.stop + 1, n)) for s, n in zip(b.core, labels.shape, strict=True))
        parts.append(seam_block(labels[box], box_shape(b.core), (block,) * 3))
    return parts


def scored(labels: np.ndarray, block: int) -> SeamScore | None:
    return seam_score(counts(labels, block), (block,) * 3)


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Cells around random points: they know nothing of blocks."""
    rng = np.random.default_rng(3)
    centres = rng.uniform(0, 48, (150, 3))
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
    assert abs(found.excess) < 2 * found.noise


def test_blocks_are_seen_where_every_segment_ends_at_a_face(tissue):
    cut = tissue.copy()
    for b in Grid(cut.shape, (16, 16, 16)):
        cut[b.core] += np.uint64(1000 * b.id)
    found = scored(cut, 16)
    assert found.excess > 0.7
    assert found.excess > 10 * found.noise


def test_a_few_cut_segments_are_seen(tissue):
    cut = tissue.copy()
    for b in Grid(cut.shape, (16, 16, 16)):
        core = cut[b.core]
        core[core % 5 == 0] += np.uint64(1000 * b.id)  # every fifth cell is cut
    assert scored(cut, 16).excess > 2 * scored(cut, 16).noise


def test_layers_of_cells_that_happen_to_end_at_a_face_are_noise(tissue):
    layers = np.broadcast_to(np.arange(48, dtype=np.uint64)[:, None, None] // 4 + 1, (48, 48, 48))
    found = scored(np.ascontiguousarray(layers), 16)
    assert abs(found.excess) <= 2 * found.noise + 1e-9


def test_background_and_a_single_block_have_no_seams(tissue):
    assert scored(np.zeros_like(tissue), 16) is None
    assert scored(tissue, 48) is None


def test_every_pair_counts_once(tissue):
    total = sum(counts(tissue, 16))
    assert total[:, :, 0].sum() == 3 * 47 * 48 * 48
    assert total[0, :, 1].sum() == (tissue[1:] != tissue[:-1]).sum()
    assert total[2, -1, 0] == 2 * 48 * 48  # two faces along an axis


def test_a_remainder_joined_to_the_last_block_brings_no_face_of_its_own(tissue):
    assert scored(tissue[:40, :40, :40], 36) is None  # one block of 40, and nothing at 36
    cut = tissue[:35, :35, :35].copy()
    cut[16:] += np.uint64(1000)  # blocks of 16 and 19
    cut[:, 16:] += np.uint64(2000)
    cut[:, :, 16:] += np.uint64(4000)
    assert scored(cut, 16).excess > 0.7
