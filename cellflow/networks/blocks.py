"""Parts of a U-Net, under the names that pytorch-3dunet's weights have for them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellflow.core.errors import BadInput
from cellflow.networks.architecture import LETTERS, Architecture

RESIDUAL_SLOPE = 0.1
"""Of the LeakyReLU after a residual sum, as in pytorch-3dunet; elsewhere it is torch's default."""

LAYERS: dict[int, dict[str, Callable[..., nn.Module]]] = {
    2: {
        "conv": nn.Conv2d,
        "transposed": nn.ConvTranspose2d,
        "batchnorm": nn.BatchNorm2d,
        "max": nn.MaxPool2d,
        "avg": nn.AvgPool2d,
        "mean": nn.AdaptiveAvgPool2d,
    },
    3: {
        "conv": nn.Conv3d,
        "transposed": nn.ConvTranspose3d,
        "batchnorm": nn.BatchNorm3d,
        "max": nn.MaxPool3d,
        "avg": nn.AvgPool3d,
        "mean": nn.AdaptiveAvgPool3d,
    },
}
"""What a layer is called in two and in three dimensions."""

BENDS: dict[str, Callable[..., nn.Module]] = {"r": nn.ReLU, "l": nn.LeakyReLU, "e": nn.ELU}
"""What makes a network more than one linear map."""


def convolution(a: Architecture, maps: tuple[int, int], order: str, dropout: float) -> nn.Sequential:
    """A convolution from maps[0] to maps[1] with the layers of `order` around it; it keeps the size."""
    layers = nn.Sequential()
    for at, letter in enumerate(order):
        if letter == "c":
            padding = tuple(k // 2 for k in a.kernel)
            bias = not {"b", "g"} & set(order)
            layer = LAYERS[a.dims]["conv"](*maps, a.kernel, padding=padding, bias=bias)
        else:
            layer = _beside(a, letter, maps[at > order.index("c")], dropout)
        layers.add_module(LETTERS[letter], layer)
    return layers


def _beside(a: Architecture, letter: str, maps: int, dropout: float) -> nn.Module:
    if letter in BENDS:
        return BENDS[letter](inplace=True)
    if letter == "g":
        return _group_norm(a, maps)
    if letter == "b":
        return LAYERS[a.dims]["batchnorm"](maps)
    return nn.Dropout2d(dropout) if letter == "D" else nn.Dropout(dropout)


def pointwise(a: Architecture, before: int, after: int) -> nn.Module:
    """A convolution of one voxel, with a bias."""
    return LAYERS[a.dims]["conv"](before, after, 1)


def level(a: Architecture, before: int, after: int, *, encoder: bool) -> nn.Module:
    """What a level does with its maps, plain or residual."""
    if not a.residual:
        return Double(a, before, after, encoder=encoder)
    return Excited(a, before, after) if a.excited else Residual(a, before, after)


class Double(nn.Sequential):
    """Two convolutions; in an encoder the first has half the maps, or as many as come in."""

    def __init__(self, a: Architecture, before: int, after: int, *, encoder: bool) -> None:
        half = encoder and a.conv_upscale == 2
        between = max(after // 2 if half else after, before) if encoder else after
        first, second = a.dropout
        super().__init__()
        self.add_module("SingleConv1", convolution(a, (before, between), a.layer_order, first))
        self.add_module("SingleConv2", convolution(a, (between, after), a.layer_order, second))


class Residual(nn.Module):
    """Two convolutions added to what came in, which is brought to the same maps before."""

    def __init__(self, a: Architecture, before: int, after: int) -> None:
        super().__init__()
        linear = "".join(letter for letter in a.layer_order if letter not in "rle")
        self.conv1 = pointwise(a, before, after) if before != after else nn.Identity()
        self.conv2 = convolution(a, (after, after), a.layer_order, a.dropout[0])
        self.conv3 = convolution(a, (after, after), linear, a.dropout[1])
        self.non_linearity = _non_linearity(a.layer_order)

    def forward(self, x: Tensor) -> Tensor:
        """The new maps."""
        kept = self.conv1(x)
        found: Tensor = self.non_linearity(self.conv3(self.conv2(kept)) + kept)
        return found


class Excited(Residual):
    """A residual level whose maps are then weighed, by place and as a whole (arXiv 1803.02579)."""

    def __init__(self, a: Architecture, before: int, after: int) -> None:
        super().__init__(a, before, after)
        self.se_module = SqueezeExcite(a, after)

    def forward(self, x: Tensor) -> Tensor:
        """The new maps."""
        found: Tensor = self.se_module(super().forward(x))
        return found


class SqueezeExcite(nn.Module):
    """The larger of both weighings, value by value."""

    def __init__(self, a: Architecture, maps: int) -> None:
        super().__init__()
        self.cSE = WholeMaps(a, maps)
        self.sSE = Places(a, maps)

    def forward(self, x: Tensor) -> Tensor:
        """The weighed maps."""
        found: Tensor = torch.max(self.cSE(x), self.sSE(x))
        return found


class WholeMaps(nn.Module):
    """Each map times a weight that comes from the means of all maps: it looks at the whole tile."""

    def __init__(self, a: Architecture, maps: int) -> None:
        super().__init__()
        self.avg_pool = LAYERS[a.dims]["mean"](1)
        self.fc1 = nn.Linear(maps, maps)
        self.fc2 = nn.Linear(maps, maps)

    def forward(self, x: Tensor) -> Tensor:
        """The weighed maps."""
        weights = torch.sigmoid(self.fc2(torch.relu(self.fc1(self.avg_pool(x).flatten(1)))))
        found: Tensor = x * weights.reshape(*weights.shape, *[1] * (x.ndim - 2))
        return found


class Places(nn.Module):
    """Each voxel times a weight that comes from its own maps."""

    def __init__(self, a: Architecture, maps: int) -> None:
        super().__init__()
        self.conv = pointwise(a, maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The weighed maps."""
        found: Tensor = x * torch.sigmoid(self.conv(x))
        return found


class Encoder(nn.Module):
    """A level on the way down; the first one pools nothing."""

    def __init__(self, a: Architecture, before: int, after: int, *, first: bool) -> None:
        super().__init__()
        self.pooling = nn.Identity() if first else LAYERS[a.dims][a.pool_type](a.pool)
        self.basic_module = level(a, before, after, encoder=True)

    def forward(self, x: Tensor) -> Tensor:
        """The maps of this level."""
        found: Tensor = self.basic_module(self.pooling(x))
        return found


class Decoder(nn.Module):
    """A level on the way up: maps from below, brought to size, joined with those of the encoder."""

    def __init__(self, a: Architecture, before: int, after: int) -> None:
        super().__init__()
        self.adds = a.residual and a.upsample == "default"
        learnt = a.residual or a.upsample == "deconv"
        self.upsampling = Learnt(a, before, after) if learnt else Interpolated(a)
        joined = after + (after if learnt else before)
        self.basic_module = level(a, after if self.adds else joined, after, encoder=False)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """The maps of this level."""
        up = self.upsampling(x, skip.shape[2:])
        found: Tensor = self.basic_module(skip + up if self.adds else torch.cat((skip, up), dim=1))
        return found


class Interpolated(nn.Module):
    """Maps of another size, without weights."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.mode = "nearest" if a.upsample == "default" else a.upsample

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """The maps in this size."""
        return functional.interpolate(x, size=size, mode=self.mode)


class Learnt(nn.Module):
    """Maps of twice the size by a transposed convolution, then of the size that is wanted."""

    def __init__(self, a: Architecture, before: int, after: int) -> None:
        super().__init__()
        transposed = LAYERS[a.dims]["transposed"](before, after, a.kernel, stride=2, padding=1, bias=False)
        self.upsample = nn.ModuleDict({"conv_transposed": transposed})

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """The maps in this size."""
        return functional.interpolate(self.upsample["conv_transposed"](x), size=size)


def _group_norm(a: Architecture, maps: int) -> nn.GroupNorm:
    groups = a.num_groups if maps >= a.num_groups else 1
    if maps % groups:
        raise BadInput(
            f"num_groups: found {groups}, expected a divisor of {maps}, a layer's maps; change one of them"
        )
    return nn.GroupNorm(groups, maps)


def _non_linearity(order: str) -> nn.Module:
    if "l" in order:
        return nn.LeakyReLU(RESIDUAL_SLOPE, inplace=True)
    return nn.ELU(inplace=True) if "e" in order else nn.ReLU(inplace=True)
