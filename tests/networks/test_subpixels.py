"""Maps convolved at their own size are those that are brought to size and then convolved."""

import pytest
import torch
from small_networks import network

from cellflow.networks import subpixels
from cellflow.networks.focus import focused
from cellflow.networks.reuse import Reusing
from cellflow.networks.subpixels import at_their_size, channels_last, folded, interleave


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("pool", [1, 2, 3, 4])
def test_a_folded_kernel_sees_each_voxel_as_the_equal_ones_it_stands_for(kernel, pool):
    torch.manual_seed(kernel * 10 + pool)
    voxels, weights = torch.randn(1, 1, 6, dtype=torch.float64), torch.randn(kernel, dtype=torch.float64)
    expected = torch.conv1d(voxels.repeat_interleave(pool, 2), weights[None, None], padding=kernel // 2)
    fold = folded(kernel, pool)
    places = torch.conv1d(voxels, (fold.weights @ weights)[:, None], padding=fold.ends)[0]
    found = torch.stack([places[r, start : start + 6] for r, start in enumerate(fold.starts)], 1)
    assert torch.allclose(found.flatten(), expected.flatten())
    assert fold.weights.shape[1] <= -(-(kernel - 1) // pool) + 1  # no more voxels than a kernel can meet


@pytest.mark.parametrize(
    ("kernel", "pool"), [((3, 3, 3), (2, 2, 2)), ((1, 3, 5), (1, 2, 3)), ((3, 5), (2, 1))]
)
def test_a_convolution_of_small_maps_is_that_of_large_ones(kernel, pool):
    torch.manual_seed(1)
    convolve = {2: torch.conv2d, 3: torch.conv3d}[len(pool)]
    size = (4, 3, 5)[: len(pool)]
    maps, weight = torch.randn(2, 3, *size), torch.randn(4, 3, *kernel)
    large = maps
    for axis, p in enumerate(pool, start=2):
        large = large.repeat_interleave(p, axis)
    expected = convolve(large, weight, padding=tuple(k // 2 for k in kernel))
    below = at_their_size(weight, pool)
    groups, found = convolve(maps, below.weight, padding=below.ends), torch.empty_like(expected)
    interleave(channels_last(groups), found, below, size)
    assert torch.allclose(found, expected, 1e-4, 1e-4)


def test_a_kernel_that_is_folded_the_wrong_way_is_noticed(monkeypatch):
    def backwards(*sizes):
        return folded(*sizes)._replace(weights=folded(*sizes).weights.flip(0))

    monkeypatch.setattr(subpixels, "folded", backwards)
    made, kept = network(num_levels=3), (slice(8, 16),) * 3
    for name, values in made.named_parameters():
        values.data *= 3 if name.endswith("conv.weight") else 1
    torch.manual_seed(0)
    x = torch.randn(1, 1, 24, 24, 24)
    with torch.inference_mode():
        off = (Reusing(made)(x, kept)["boundary"] - focused(made, x, kept)["boundary"]).abs().max()
    assert off > 1e-3
