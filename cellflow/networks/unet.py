"""U-Nets in 2D and 3D: plain, residual, with squeeze and excitation; one body, one or more heads.

With a single head the state dict has pytorch-3dunet's keys, so its checkpoints load as they are; with
more, the last convolutions are `heads.<name>` in place of `final_conv`. Sources: arXiv 1505.04597,
1606.06650 (U-Net, 3D U-Net), 1706.00120 (residual), 1709.01507 and 1803.02579 (squeeze and excitation).
"""

import torch
from torch import Tensor, nn

from cellflow.networks.architecture import Architecture
from cellflow.networks.blocks import Decoder, Encoder, pointwise
from cellflow.networks.field import stretches

LOOKS_AT_THE_TILE = {
    "GroupNorm": (nn.GroupNorm,),
    "InstanceNorm": (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    "squeeze and excitation": (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
}
"""Layers that take a mean over all that they are given, whatever its extent."""


class UNet(nn.Module):
    """Maps (n, c, z, y, x), or (n, c, y, x) in 2D, to a tensor of the same extent for each head, by name.

    In training they are bare; in use (`eval`) they have gone through the head's activation.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        down = [*zip((a.in_channels, *a.maps), a.maps, strict=False)]
        up = [*zip(a.maps[:0:-1], a.maps[-2::-1], strict=True)]
        self.encoders = nn.ModuleList(Encoder(a, *m, first=not i) for i, m in enumerate(down))
        self.decoders = nn.ModuleList(Decoder(a, *m) for m in up)
        lasts: dict[str, nn.Module] = {head.name: pointwise(a, a.maps[0], head.channels) for head in a.heads}
        if len(lasts) == 1:
            self.final_conv = lasts.popitem()[1]
        else:
            self.heads = nn.ModuleDict(lasts)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Each head's prediction, (n, its channels, extent of the input)."""
        skips: list[Tensor] = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
        for decoder, skip in zip(self.decoders, skips[-2::-1], strict=True):
            x = decoder(skip, x)
        return self.predicted(x)

    def predicted(self, x: Tensor) -> dict[str, Tensor]:
        """Each head's prediction from the maps of the last decoder."""
        heads = self.architecture.heads
        lasts = [self.final_conv] if len(heads) == 1 else [self.heads[head.name] for head in heads]
        return {
            head.name: self._activated(last(x), head.activation)
            for head, last in zip(heads, lasts, strict=True)
        }

    def _activated(self, x: Tensor, activation: str) -> Tensor:
        if self.training or activation == "none":
            return x
        return torch.sigmoid(x) if activation == "sigmoid" else torch.softmax(x, dim=1)


def tile_dependence(network: UNet) -> tuple[str, ...]:
    """Why a voxel's prediction depends on the tile it lies in, beyond any halo; empty if it does not."""
    found = [
        reason
        for reason, kinds in LOOKS_AT_THE_TILE.items()
        if any(isinstance(module, kinds) for module in network.modules())
    ]
    return (*found, *(["stretched upsampling"] if stretches(network.architecture) else []))
