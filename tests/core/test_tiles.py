"""Tiles of one lattice: every voxel once, weights that add up to one, mirrored only beyond the volume."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellflow.core.grid import Grid
from cellflow.core.tiles import Lattice, assembled, filled, mirrored, needed

lengths = st.integers(1, 24)


@st.composite
def lattices(draw, *, overlapping=True):
    axes = []
    for _ in range(3):
        period = draw(st.sampled_from([1, 2, 3, 4]))
        core = period * draw(st.integers(1, 5))
        overlap = 2 * draw(st.integers(0, core // 2)) if overlapping else 0
        axes.append((draw(lengths), core, period, draw(st.integers(0, 9)), overlap))
    return Lattice(*zip(*axes, strict=True))


@st.composite
def lattices_and_grids(draw):
    lattice = draw(lattices())
    return lattice, Grid(lattice.shape, tuple(draw(st.integers(1, 40)) for _ in range(3)))


@given(lattices())
def test_every_voxel_is_in_one_core_and_tiles_are_known_by_their_number(lattice):
    owners = np.zeros(lattice.shape, int)
    for tile in lattice:
        owners[tile.core] += 1
    assert (owners == 1).all()
    assert [tile.id for tile in lattice] == list(range(len(lattice)))
    assert [lattice[number] for number in range(len(lattice))] == list(lattice)


@given(lattices())
def test_tiles_start_at_multiples_of_the_period_and_see_the_halo_around_what_they_keep(lattice):
    for tile in lattice:
        for axis in range(3):
            core, kept, outer = tile.core[axis], tile.kept[axis], tile.outer[axis]
            period, half = lattice.period[axis], lattice.overlap[axis] // 2
            assert core.start % period == outer.start % period == len(outer) % period == 0
            assert kept.start == max(0, core.start - half)
            assert kept.stop == min(lattice.shape[axis], core.start + lattice.core[axis] + half)
            assert outer.start <= kept.start - lattice.halo[axis]
            assert outer.stop >= kept.stop + lattice.halo[axis]
            inner, crop = tile.inner[axis], tile.crop[axis]
            assert 0 <= inner.start <= crop.start < crop.stop <= inner.stop <= len(outer)
    assert lattice.computed == sum(np.prod(tile.outer_shape) for tile in lattice)
    assert max(np.prod(tile.outer_shape) for tile in lattice) == np.prod(lattice.largest_outer)


@given(lattices_and_grids())
def test_blocks_share_out_the_tiles_and_know_which_have_a_say(both):
    lattice, grid = both
    owned = [tile.id for block in grid for tile in lattice.owned(block.core)]
    assert sorted(owned) == list(range(len(lattice)))
    for block in grid:
        said = {tile.id for tile in lattice.touching(block.core)}
        expected = {
            tile.id
            for tile in lattice
            if all(k.start < c.stop and c.start < k.stop for k, c in zip(tile.kept, block.core, strict=True))
        }
        assert said == expected
    if lattice.divides(grid.starts):
        for block in grid:
            inside = np.zeros(lattice.shape, int)
            for tile in lattice.owned(block.core):
                inside[tile.core] = 1
            assert inside.sum() == inside[block.core].sum() == inside[block.core].size


@given(lattices(), st.sampled_from(["average", "gaussian"]))
def test_weights_are_positive_and_add_up_to_one(lattice, profile):
    total = np.zeros(lattice.shape)
    for tile in lattice:
        z, y, x = lattice.weights(tile, profile)
        assert min(z.min(), y.min(), x.min()) > 0
        total[tile.kept] += z[:, None, None] * y[:, None] * x
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_weights_that_forget_a_neighbour_do_not_add_up():
    lattice = Lattice((8, 8, 8), (4, 4, 4), overlap=(2, 2, 2))
    total = np.zeros(lattice.shape)
    for tile in list(lattice)[1:]:
        z, y, x = lattice.weights(tile, "gaussian")
        total[tile.kept] += z[:, None, None] * y[:, None] * x
    assert total.min() < 0.5


def test_a_gaussian_falls_from_the_middle_and_an_average_does_not():
    lattice = Lattice((64, 64, 64), (16, 16, 16), overlap=(8, 8, 8))
    tile = lattice[21]  # one inside
    gaussian, average = (lattice.weights(tile, profile)[2] for profile in ("gaussian", "average"))
    assert (np.diff(gaussian[:8]) > 0).all()
    np.testing.assert_array_equal(gaussian, gaussian[::-1])
    np.testing.assert_array_equal(np.unique(average), [0.5, 1])


@given(lattices_and_grids(), st.sampled_from(["average", "gaussian"]), st.integers(0, 2**32 - 1))
def test_tiles_of_one_image_put_together_are_the_image_to_the_bit_whatever_the_box(both, profile, seed):
    lattice, grid = both
    image = np.random.default_rng(seed).random(lattice.shape, np.float32)
    kept = [(tile, image[tile.kept]) for tile in lattice]
    whole = assembled(kept, lattice, tuple(slice(0, n) for n in lattice.shape), profile)
    np.testing.assert_allclose(whole, image, atol=1e-6)
    for block in grid:
        tiles = [(tile, image[tile.kept]) for tile in lattice.touching(block.core)]
        np.testing.assert_array_equal(assembled(tiles, lattice, block.core, profile), whole[block.core])


@given(lattices(), st.sampled_from(["average", "gaussian"]))
def test_bytes_put_together_are_bytes(lattice, profile):
    image = np.random.default_rng(0).integers(0, 256, lattice.shape, dtype=np.uint8)
    tiles = [(tile, image[tile.kept]) for tile in lattice]
    found = assembled(tiles, lattice, tuple(slice(0, n) for n in lattice.shape), profile)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, image)


def test_without_overlap_tiles_are_set_side_by_side_and_missing_ones_are_0():
    lattice = Lattice((4, 4, 8), (4, 4, 4))
    tiles = [(lattice[1], np.full((4, 4, 4), 7, np.uint8))]
    box = tuple(slice(0, n) for n in lattice.shape)
    found = assembled(tiles, lattice, box, "average")
    assert (found[..., :4] == 0).all()
    assert (found[..., 4:] == 7).all()
    assert not assembled([], lattice, box, "average").any()


@given(st.integers(-60, 60), st.integers(1, 60), lengths)
def test_mirrored_is_numpys_reflect(start, length, n):
    before, after = max(0, -start), max(0, start + length - n)
    padded = np.pad(np.arange(n), (before, after), mode="reflect")
    expected = padded[start + before : start + before + length]
    np.testing.assert_array_equal(mirrored(range(start, start + length), n), expected)


@given(lattices())
def test_a_tile_sees_the_mirrored_volume_from_no_more_than_the_voxels_it_needs(lattice):
    image = np.arange(np.prod(lattice.shape)).reshape(lattice.shape)
    pad = [(max(lattice.largest_outer) + 40,) * 2] * 3
    padded = np.pad(image, pad, mode="reflect")
    for number in {0, len(lattice) // 2, len(lattice) - 1}:
        outer = lattice[number].outer
        box = needed(outer, lattice.shape)
        corner = tuple(side.start for side in box)
        expected = padded[
            tuple(slice(o.start + p[0], o.stop + p[0]) for o, p in zip(outer, pad, strict=True))
        ]
        np.testing.assert_array_equal(filled(image[box], corner, outer, lattice.shape), expected)


def test_a_tile_inside_the_volume_is_a_view():
    lattice = Lattice((30, 30, 30), (10, 10, 10), halo=(2, 2, 2))
    image = np.zeros(lattice.shape)
    assert np.shares_memory(filled(image, (0, 0, 0), lattice[13].outer, lattice.shape), image)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 9), (3, 50, 2)])
def test_thin_volumes_have_tiles_too(shape):
    lattice = Lattice(shape, (8, 8, 8), (4, 4, 4), (9, 9, 9))
    image = np.random.default_rng(0).random(shape)
    for tile, at in zip(lattice, product(*map(range, lattice.counts)), strict=True):
        assert tile.at == at
        seen = filled(image, (0, 0, 0), tile.outer, shape)
        np.testing.assert_array_equal(seen[tile.crop], image[tile.kept])
