"""In memory that is kept from tile to tile, the middle of a tile has the same values."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import network

from cellflow.networks import reuse
from cellflow.networks.field import pooling
from cellflow.networks.focus import focused
from cellflow.networks.reuse import Reusing, can_reuse

NETWORKS = {
    "plain": {},
    "three levels": {"num_levels": 3, "dropout_prob": 0.5, "layer_order": "bcrd"},
    "normalised after": {"num_levels": 3, "layer_order": "cbr"},
    "not normalised": {"layer_order": "cr"},
    "as wide": {"conv_upscale": 1, "in_channels": 2},
    "flat": {"name": "UNet2D", "num_levels": 3},
    "uneven": {"pool_kernel_size": [1, 2, 3], "conv_kernel_size": [1, 3, 5], "num_levels": 3},
    "many heads": {"heads": [{"name": "boundary"}, {"name": "embeddings", "channels": 2}]},
}


def noise(made, size, n=1, seed=0):
    torch.manual_seed(seed)
    return torch.randn(n, made.architecture.in_channels, *size[-made.architecture.dims :])


@pytest.mark.parametrize("kind", NETWORKS)
@settings(max_examples=6)
@given(data=st.data())
def test_values_are_those_of_a_pass_that_takes_memory(kind, data):
    made = network(**NETWORKS[kind])
    for name, values in made.named_parameters():
        values.data *= 3 if name.endswith("conv.weight") else 1  # or noise would hardly come through
    assert can_reuse(made.architecture)
    running = Reusing(made)
    for seed in range(2):
        size = [data.draw(st.integers(2, 5)) * max(p, 4) for p in pooling(made.architecture)]
        size = [-(-n // p) * p for n, p in zip(size, pooling(made.architecture), strict=True)]
        starts = [data.draw(st.integers(0, n - 1)) for n in size]
        kept = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, size, strict=True))
        x = noise(made, size, data.draw(st.integers(1, 2)), seed)
        before = x.clone()
        with torch.inference_mode():
            whole, expected, found = made(x), focused(made, x, kept), running(x, kept)
        assert torch.equal(x, before)
        assert found.keys() == expected.keys()
        assert all(values.std() > 1e-3 for values in whole.values())
        assert all(torch.allclose(expected[name], found[name], 1e-5, 1e-5) for name in found)


def test_nothing_is_left_of_the_tile_before_and_no_memory_is_taken_for_the_next():
    made, kept = network(num_levels=3), (slice(8, 16),) * 3
    running, first, second = Reusing(made), noise(made, (32,) * 3), noise(made, (24,) * 3, seed=1)
    with torch.inference_mode():
        running(first, kept)
        memory = {name: part.data_ptr() for name, part in running._memory.items()}
        again = running(second, kept)["boundary"].clone()
        running(first, kept)
        assert torch.equal(again, Reusing(made)(second, kept)["boundary"])
    assert {name: part.data_ptr() for name, part in running._memory.items()} == memory


def test_what_is_written_where_it_is_still_read_is_noticed(monkeypatch):
    """With a single stretch of memory in place of two, a convolution overwrites what it reads."""
    made, kept = network(num_levels=3), (slice(8, 16),) * 3
    monkeypatch.setattr(Reusing, "_other", lambda self, *maps: self._maps("one", *maps))
    x = noise(made, (24,) * 3)
    with torch.inference_mode():
        off = (Reusing(made)(x, kept)["boundary"] - focused(made, x, kept)["boundary"]).abs().max()
    assert off > 1e-3


def test_what_is_no_number_stays_so():
    made, kept = network(), (slice(0, 8),) * 3
    x = noise(made, (8,) * 3)
    with torch.inference_mode():
        assert Reusing(made)(x, kept)["boundary"].isfinite().all()
        x[..., 3] = torch.nan
        assert Reusing(made)(x, kept)["boundary"].isnan().any()
        made.encoders[0].basic_module.SingleConv1.conv.weight[0] = torch.nan
        assert Reusing(made)(noise(made, (8,) * 3), kept)["boundary"].isnan().any()


@pytest.mark.parametrize(
    "more",
    [
        {"layer_order": "gcr", "num_groups": 2},
        {"layer_order": "bcl"},
        {"layer_order": "crb"},
        {"name": "ResidualUNet3D"},
        {"upsample": "trilinear"},
        {"upsample": "deconv"},
        {"pool_type": "avg"},
    ],
)
def test_other_networks_take_memory(more, monkeypatch):
    assert not can_reuse(network(**more).architecture)
    assert can_reuse(network().architecture)
    monkeypatch.setattr(reuse.torch.ops, "mkldnn", object())
    assert not can_reuse(network().architecture)
