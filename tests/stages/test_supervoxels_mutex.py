from dataclasses import replace

import numpy as np
import pytest
from conftest import cut
from test_affinities_start import Started

from cellflow.core.affinities import affinities, silenced
from cellflow.stages import supervoxels
from cellflow.stages.supervoxels import mutex

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -4, 0), (0, 0, -5), (-3, 4, -4), (0, 3, 6))
SHAPE = (12, 20, 24)


@pytest.fixture(scope="module")
def noisy():
    """Affinities of cells of 6 voxels, with noise: many pairs are wrong, many equally strong."""
    rng = np.random.default_rng(4)
    cells = np.indices(SHAPE) // np.array([5, 6, 7])[:, None, None, None]
    labels = (cells * np.array([100, 10, 1])[:, None, None, None]).sum(0) + 1
    perfect = affinities(labels, OFFSETS).astype(float)
    return np.clip(perfect + rng.normal(0, 110, perfect.shape), 0, 255).astype(np.uint8), labels


def reference(values, strides, inside=None):
    """Pairs one after the other by falling strength, with sets of exclusions."""
    if inside is not None:
        values = silenced(values.copy(), OFFSETS, inside, tuple(slice(0, n) for n in SHAPE))
    every = (pairs_of(values[k], k, strides) for k in range(len(OFFSETS)))
    size = int(np.prod(SHAPE))
    parent, never = list(range(size)), [set() for _ in range(size)]

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for _, _, signed, u, v in sorted(pair for channel in every for pair in channel):
        a, b = root(u), root(v)
        if a != b and b not in never[a]:
            join_or_forbid(parent, never, a, b, signed > 0)
    out, number = np.zeros(SHAPE, np.uint64), {}
    for i, place in enumerate(np.ndindex(SHAPE)):
        if inside is None or inside[place]:
            out[place] = number.setdefault(root(i), len(number) + 1)
    return out


def pairs_of(channel, k, strides):
    """Strength, rank, weight and voxels of every pair of a channel."""
    step = OFFSETS[k]
    direct = np.abs(step).sum() == 1
    for place in np.ndindex(SHAPE):
        other = tuple(np.add(place, step))
        on_lattice = all(p % s == 0 for p, s in zip(place, strides, strict=True))
        signed = int(channel[place]) - (0 if direct else 255)
        if (direct or on_lattice) and signed and all(0 <= o < n for o, n in zip(other, SHAPE, strict=True)):
            u, v = np.ravel_multi_index(place, SHAPE), np.ravel_multi_index(other, SHAPE)
            yield -abs(signed), u * len(OFFSETS) + k, signed, u, v


def join_or_forbid(parent, never, a, b, attracts):
    if not attracts:
        never[a].add(b)
        never[b].add(a)
        return
    parent[b] = a
    never[a] |= never[b]
    for c in never[b]:
        never[c] = never[c] - {b} | {a}


def solved(folder, given, block, strides, inside=None, *, workers=1):
    values, labels = given
    volumes = {"raw": values[0], "truth": labels.astype(np.uint16)}
    if inside is not None:
        volumes["mask"] = inside.astype(np.uint8)
    params = {"supervoxels": supervoxels.Params(mutex={"strides": strides})}
    made = Started(folder / "root", volumes, cut(block), values=values, offsets=OFFSETS, params=params)
    made.start()
    made.workers = workers
    if inside is not None:
        made.run("ingest-mask")
    made.run("supervoxels")
    return made.read("supervoxels")


@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 3, 4)])
@pytest.mark.parametrize("at_once", [10**6, 1])
def test_voxels_are_joined_as_one_after_the_other_whatever_the_blocks(
    tmp_path, noisy, strides, at_once, monkeypatch
):
    monkeypatch.setattr(mutex, "PAIRS_AT_ONCE", at_once)
    expected = reference(noisy[0], strides)
    assert 10 < expected.max() < expected.size / 4
    for n, block in enumerate([(16, 24, 24), (8, 8, 8), (8, 16, 8)]):
        found = solved(tmp_path / str(n), noisy, block, strides)
        np.testing.assert_array_equal(found, expected)


def test_a_mask_and_workers_change_nothing_of_the_rest(tmp_path, noisy):
    inside = np.random.default_rng(1).random(SHAPE) < 0.9
    expected = reference(noisy[0], (2, 2, 2), inside)
    for workers in (1, 2):
        found = solved(tmp_path / str(workers), noisy, (8, 8, 8), (2, 2, 2), inside, workers=workers)
        np.testing.assert_array_equal(found, expected)


def test_ties_by_the_order_of_arrival_are_caught(tmp_path, noisy, monkeypatch):
    pairs = mutex.voxel_pairs

    def unranked(*args):
        rows = pairs(*args)
        return replace(rows, rank=np.arange(len(rows.rank)))

    monkeypatch.setattr(mutex, "voxel_pairs", unranked)
    found = solved(tmp_path, noisy, (8, 8, 8), (2, 3, 4))
    assert not np.array_equal(found, reference(noisy[0], (2, 3, 4)))


def test_what_does_nothing_beside_mutex_is_refused():
    with pytest.raises(ValueError, match="threshold, min_size would do nothing beside mutex"):
        supervoxels.Params(mutex={}, threshold=0.3, min_size=3)
