"""Tiles as large as a budget allows, and no larger."""

import pytest
from small_networks import architecture

from cellflow.core.tiles import Lattice
from cellflow.networks.budget import SLICES, chosen_core, shrunk, smallest, tile_bytes
from cellflow.networks.field import pooling, reach

GIB = 1 << 30
HUGE = (4096, 4096, 4096)


def bare_of(a, shape, overlap=(0, 0, 0)):
    bare = Lattice(shape, pooling(a), pooling(a), reach(a), overlap)
    return Lattice(shape, smallest(bare), bare.period, bare.halo, overlap)


def chosen(a, shape=HUGE, budget=8 * GIB, precision="float32"):
    bare = bare_of(a, shape)
    core = chosen_core(a, bare, budget, 1, precision)
    return Lattice(shape, core, bare.period, bare.halo)


@pytest.mark.parametrize("more", [{"layer_order": "gcr"}, {}, {"num_levels": 3}, {"name": "UNet2D"}])
def test_more_memory_means_less_waste_and_never_more_than_there_is(more):
    a = architecture(f_maps=32, **{"num_levels": 4, **more})
    before = 0.0
    for budget in (4 * GIB, 8 * GIB, 32 * GIB, 128 * GIB):
        lattice = chosen(a, budget=budget)
        assert tile_bytes(a, lattice, 1, "float32") <= budget
        share = HUGE[0] ** 3 / lattice.computed
        assert share >= before
        before = share
    assert before > 0.25


def test_networks_that_compute_the_middle_alone_need_less():
    lattice = Lattice(HUGE, (64, 64, 64), (8, 8, 8), (51, 51, 51))
    plain, whole = (
        architecture(f_maps=32, num_levels=4),
        architecture(f_maps=32, num_levels=4, layer_order="gcr"),
    )
    assert tile_bytes(plain, lattice, 1, "float32") < 0.3 * tile_bytes(whole, lattice, 1, "float32")
    assert tile_bytes(plain, lattice, 1, "bfloat16") < 0.6 * tile_bytes(plain, lattice, 1, "float32")
    assert tile_bytes(plain, lattice, 3, "float32") > 2 * tile_bytes(plain, lattice, 1, "float32")


def test_a_tile_is_no_larger_than_the_volume_needs():
    a = architecture(f_maps=4, num_levels=3)
    assert len(chosen(a, (20, 40, 48))) == 1
    assert chosen(a, (20, 40, 48)).core == (24, 48, 48)


def test_a_small_volume_has_several_tiles_for_several_workers_if_that_costs_little():
    a = architecture(f_maps=4, num_levels=3)
    lattice = chosen(a, (128, 192, 192))
    whole = Lattice(lattice.shape, lattice.shape, lattice.period, lattice.halo)
    assert len(lattice) == 4
    assert lattice.computed < 1.5 * whole.computed


def test_a_budget_for_nothing_gives_the_smallest_tile():
    a = architecture(num_levels=3)
    assert chosen(a, budget=1).core == smallest(bare_of(a, HUGE)) == (4, 4, 4)


def test_a_flat_network_sees_a_few_slices_and_an_overlap_fits_into_a_core():
    a = architecture(name="UNet2D", num_levels=3)
    assert chosen(a).core[0] == SLICES
    assert smallest(bare_of(a, (2, 64, 64), (0, 10, 10))) == (2, 12, 12)


def test_a_shrunk_core_is_a_quarter_shorter_and_a_multiple_of_the_period():
    assert shrunk((64, 64, 8), (8, 8, 8)) == (48, 48, 8)
    assert shrunk((10, 8, 8), (1, 8, 8)) == (7, 8, 8)


@pytest.mark.parametrize("seam", [{"layer_order": "gcr"}, {"name": "ResidualUNetSE3D", "layer_order": "bcr"}])
def test_tiles_that_leave_seams_are_few_nevertheless(seam):
    assert len(chosen(architecture(f_maps=8, num_levels=3), (128, 192, 192))) > 1
    assert len(chosen(architecture(f_maps=8, num_levels=3, **seam), (128, 192, 192))) == 1
