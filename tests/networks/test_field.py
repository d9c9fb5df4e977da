"""Reach and pooling: worked out from the architecture, and measured on the network itself."""

import numpy as np
import pytest
import torch
from small_networks import architecture, network

from cellflow.networks.field import _axes, _spans, pooling, reach, stretches
from cellflow.networks.unet import UNet

SEEN = [
    {},
    {"num_levels": 3},
    {"num_levels": 3, "pool_type": "avg", "layer_order": "cl"},
    {"conv_kernel_size": 5},
    {"conv_kernel_size": [1, 3, 5], "pool_kernel_size": [1, 2, 3]},
    {"upsample": "trilinear", "num_levels": 3},
    {"upsample": "deconv", "num_levels": 3},
    {"upsample": "deconv", "conv_kernel_size": 5},
    {"upsample": "deconv", "pool_kernel_size": [1, 2, 2]},
    {"name": "ResidualUNet3D", "num_levels": 3},
    {"name": "UNet2D", "num_levels": 3},
    {"name": "ResidualUNet2D", "upsample": "deconv"},
]

NOISE = 1e-12
"""Differences by rounding, of 64 bits, in deviations of the prediction."""


def heard(made, axis, length, at):
    """Which positions along an axis of z, y, x hear of a voxel: those that a NaN put into it spreads to."""
    a = made.architecture
    extent = [length if i == axis else pooling(a)[i] for i in range(3)][-a.dims :]
    values = torch.zeros(1, 1, *extent)
    values.index_fill_(axis - 3, torch.tensor([at]), torch.nan)
    with torch.inference_mode():
        (out,) = made(values).values()
    others = tuple(i for i in range(out.ndim) if i != out.ndim + axis - 3)
    return np.flatnonzero(out.isnan().numpy().any(axis=others))


def measured(made, axis):
    """The farthest that a voxel is heard along an axis, over a whole period of positions."""
    period = pooling(made.architecture)[axis]
    length = 2 * (reach(made.architecture)[axis] // period + 3) * period
    far = 0
    for at in range(length // 2, length // 2 + period):
        hit = heard(made, axis, length, at)
        assert 0 < hit[0] <= hit[-1] < length - 1
        far = max(far, at - hit[0], hit[-1] - at)
    return far


@pytest.mark.parametrize("more", SEEN, ids=str)
def test_reach_is_how_far_a_voxel_is_heard(more):
    made = network(**{"f_maps": 2, "layer_order": "bcr", **more})
    axes = range(3 - made.architecture.dims, 3)
    assert [reach(made.architecture)[i] for i in axes] == [measured(made, i) for i in axes]


@pytest.mark.parametrize("more", SEEN, ids=str)
def test_each_voxel_is_heard_where_the_intervals_say(more):
    """Voxel by voxel along x, also at the ends, where the network adds zeros."""
    made = network(**{"f_maps": 2, "layer_order": "bcr", **more})
    axis = _axes(made.architecture)[-1]
    length = 6 * axis.period
    first, last = _spans(axis, length)
    for at in (0, *range(3 * axis.period, 4 * axis.period), length - 1):
        expected = np.flatnonzero((first <= at) & (at <= last))
        assert np.array_equal(heard(made, 2, length, at), expected)


def test_a_network_of_four_levels_reaches_51_voxels():
    made = network(f_maps=1, num_levels=4)
    assert reach(made.architecture) == (51, 51, 51)
    assert measured(made, 2) == 51


def test_a_2d_network_sees_no_other_slice():
    assert reach(architecture(name="UNet2D", num_levels=4)) == (0, 51, 51)
    assert pooling(architecture(name="UNet2D", num_levels=4)) == (1, 8, 8)


def test_pooling_is_the_product_over_the_levels():
    assert pooling(architecture(num_levels=3, pool_kernel_size=[1, 2, 3])) == (1, 4, 9)


def gap(made, halo, start=None):
    """The largest difference between a tile with this halo and the same voxels of the whole, along x.

    In deviations of the whole.
    """
    pool = pooling(made.architecture)[2]
    torch.manual_seed(1)
    whole = torch.randn(1, 1, 8, 8, 160, dtype=torch.float64)
    made = made.double()
    start = pool * (40 // pool) if start is None else start
    stop = start + 2 * pool
    tile = whole[..., start - halo : stop + halo]
    with torch.inference_mode():
        all_of_it, part = made(whole)["boundary"], made(tile)["boundary"]
    found = (part[..., halo : halo + stop - start] - all_of_it[..., start:stop]).abs().max()
    return float(found / all_of_it.std())


def round_up(n, step):
    return -(-n // step) * step


@pytest.mark.parametrize(
    "more", [{}, {"num_levels": 3}, {"upsample": "trilinear"}, {"upsample": "deconv"}], ids=str
)
def test_a_tile_with_a_halo_of_the_reach_gives_what_the_whole_gives(more):
    made = network(layer_order="bcl", **more)
    halo = round_up(reach(made.architecture)[2], pooling(made.architecture)[2])
    assert gap(made, halo) < NOISE
    assert gap(made, halo // 2 // 4 * 4) > 1e-4


def test_a_tile_off_the_pooling_grid_does_not():
    made = network(layer_order="bcl", num_levels=3)
    assert gap(made, 24, start=40) < NOISE
    assert gap(made, 24, start=42) > 1e-4


def test_with_groupnorm_no_halo_is_enough():
    made = network(layer_order="gcl", num_groups=2)
    assert gap(made, 32) > 1e-4


@pytest.mark.parametrize(
    ("kernel", "pool", "stretched"),
    [(3, 1, False), (3, 2, False), (3, 3, True), (5, 2, False), (7, 2, True), (1, 2, True)],
)
def test_learnt_upsampling_that_stretches_is_found_and_shows(kernel, pool, stretched):
    a = architecture(upsample="deconv", conv_kernel_size=[3, 3, kernel], pool_kernel_size=[2, 2, pool])
    assert stretches(a) is stretched
    torch.manual_seed(0)
    made = UNet(a).eval()
    halo = round_up(max(24, reach(a)[2]), 6)
    assert any(gap(made, halo, start=at) > NOISE for at in (36, 48, 60)) is stretched


@pytest.mark.parametrize("more", SEEN, ids=str)
def test_the_networks_that_are_measured_do_not_stretch(more):
    assert not stretches(architecture(**more))
