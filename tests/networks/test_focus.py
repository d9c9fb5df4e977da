"""The middle of a tile alone has the values of a whole pass."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import network

from cellflow.networks import focus
from cellflow.networks.budget import can_focus
from cellflow.networks.field import pooling

NETWORKS = {
    "plain": {},
    "three levels": {"num_levels": 3},
    "linear": {"upsample": "trilinear", "num_levels": 3},
    "flat": {"name": "UNet2D", "num_levels": 3, "upsample": "bilinear"},
    "uneven": {"pool_kernel_size": [1, 2, 3], "conv_kernel_size": [1, 3, 5], "num_levels": 3},
    "many heads": {"heads": [{"name": "boundary"}, {"name": "embeddings", "channels": 2}]},
}


def difference(made, kept, size, seed=0):
    """The largest, of a network on noise, between the middle alone and the same of a whole pass."""
    torch.manual_seed(seed)
    dims = made.architecture.dims
    x = torch.randn(1, 1, *size[-dims:])
    with torch.inference_mode():
        whole, part = made(x), focus.focused(made, x, kept)
    cut = (slice(None), slice(None), *kept[-dims:])
    assert whole.keys() == part.keys()
    assert all(values.std() > 1e-3 for values in whole.values())
    return max(float((whole[name][cut] - part[name]).abs().max()) for name in whole)


@pytest.mark.parametrize("kind", NETWORKS)
@settings(max_examples=6)
@given(data=st.data())
def test_the_middle_alone_is_what_a_whole_pass_gives(kind, data):
    made = network(**NETWORKS[kind])
    assert can_focus(made.architecture)
    size = [data.draw(st.integers(2, 5)) * max(p, 4) for p in pooling(made.architecture)]
    size = [-(-n // p) * p for n, p in zip(size, pooling(made.architecture), strict=True)]
    starts = [data.draw(st.integers(0, n - 1)) for n in size]
    kept = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, size, strict=True))
    assert difference(made, kept, size) < 1e-6


def test_a_level_that_gets_too_little_is_noticed(monkeypatch):
    made, kept = network(num_levels=3), (slice(12, 20),) * 3
    assert difference(made, kept, (32,) * 3) < 1e-6
    monkeypatch.setattr(focus, "CONVOLUTIONS", 0)
    assert difference(made, kept, (32,) * 3) > 1e-4


@pytest.mark.parametrize(
    "more",
    [
        {"layer_order": "gcr", "num_groups": 2},
        {"name": "ResidualUNet3D"},
        {"name": "ResidualUNetSE3D"},
        {"upsample": "deconv"},
    ],
)
def test_networks_that_look_at_all_of_a_tile_or_learnt_to_scale_compute_all(more):
    assert not can_focus(network(**more).architecture)
