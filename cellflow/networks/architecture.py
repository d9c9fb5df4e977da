"""What a U-Net looks like: a record that both a config and pytorch-3dunet's `model:` block can be read as."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from cellflow.core.schema import Schema
from cellflow.networks.heads import Boundary, Head, Output

Kernel = Annotated[int, Field(ge=1, le=31)]
Pool = Annotated[int, Field(ge=1, le=4)]
Maps = Annotated[int, Field(ge=1, le=65536)]
Share = Annotated[float, Field(ge=0, lt=1)]

LETTERS = {
    "c": "conv",
    "b": "batchnorm",
    "g": "groupnorm",
    "r": "ReLU",
    "l": "LeakyReLU",
    "e": "ELU",
    "d": "dropout",
    "D": "dropout2d",
}
"""Layers by their letter in `layer_order`, as pytorch-3dunet names them in its weights."""

THEIR_HEAD = ("out_channels", "final_sigmoid", "is_segmentation")
"""How pytorch-3dunet speaks of its only head."""


class Architecture(Schema):
    """A U-Net, in the words of pytorch-3dunet's `model:` block, which may be pasted here as it is.

    Unlike there, BatchNorm is the default: such a network gives the same whatever the tiles.
    """

    name: Literal[
        "UNet3D", "UNet2D", "ResidualUNet3D", "ResidualUNet2D", "ResidualUNetSE3D", "ResidualUNetSE2D"
    ] = "UNet3D"
    """Plain, residual, or residual with squeeze and excitation; those in 2D see one z slice at a time."""
    in_channels: Maps = 1
    """Channels of the image."""
    heads: Annotated[tuple[Head, ...], Field(min_length=1)] = (Boundary(),)
    """What is predicted, from one body. pytorch-3dunet's `out_channels`, `final_sigmoid` and
    `is_segmentation` may stand in place of one head without a meaning."""
    f_maps: Maps | Annotated[tuple[Maps, ...], Field(min_length=2, max_length=8)] = 32
    """Feature maps of the first level, doubled at each further one; or a list with those of each level.
    Twice as many: four times the work and the weights."""
    num_levels: Annotated[int, Field(ge=2, le=8)] | None = None
    """Levels, each of half the resolution. One more: twice the reach. Default: 4, of residual networks 5;
    with a list of `f_maps`, its length."""
    layer_order: str = "bcr"
    """A letter for each layer around a convolution, in their order: c convolution, b BatchNorm, g GroupNorm,
    r ReLU, l LeakyReLU, e ELU, d dropout, D dropout of whole maps. g makes seams between tiles."""
    num_groups: Maps = 8
    """Groups of a GroupNorm; one group where there are fewer maps than this."""
    conv_kernel_size: Kernel | Annotated[tuple[Kernel, ...], Field(min_length=2, max_length=3)] = 3
    """Voxels along a side of the convolutions' kernels, odd, for all axes or a list."""
    pool_kernel_size: Pool | Annotated[tuple[Pool, ...], Field(min_length=2, max_length=3)] = 2
    """Voxels that become one from a level to the next, for all axes or a list: [1, 2, 2] keeps z."""
    pool_type: Literal["max", "avg"] = "max"
    """Which of these voxels counts: the largest, or their mean."""
    upsample: Literal["default", "nearest", "bilinear", "trilinear", "deconv"] = "default"
    """The way back up: by the nearest voxel, by interpolation, or learnt (`deconv`). Default: `nearest`; in
    residual networks learnt, and added instead of joined."""
    conv_upscale: Literal[1, 2] = 2
    """Which of a plain encoder's two convolutions has the larger number of maps."""
    dropout_prob: Share | tuple[Share, Share] = 0.1
    """Share of values that dropout switches off in training; a list for the two convolutions of a level."""

    @model_validator(mode="before")
    @classmethod
    def _pasted(cls, block: object) -> object:
        return _with_heads(_without_padding(block)) if isinstance(block, dict) else block

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        _check_order(self.layer_order)
        for key, sizes in (("conv_kernel_size", self.kernel), ("pool_kernel_size", self.pool)):
            if len(sizes) != self.dims:
                raise ValueError(f"{key} has {len(sizes)} axes, expected {self.dims} in {self.name}")
        if not all(k % 2 for k in self.kernel):
            raise ValueError(f"conv_kernel_size is {self.conv_kernel_size}, expected odd numbers")
        if self.num_levels is not None and self.num_levels != len(self.maps):
            raise ValueError(f"num_levels is {self.num_levels}, but f_maps lists {len(self.maps)} levels")
        if len({head.name for head in self.heads}) < len(self.heads):
            raise ValueError("heads repeat a name, expected each once; give one of them more channels")
        return self._upsampling_fits()

    def _upsampling_fits(self) -> Self:
        if self.residual and self.upsample not in ("default", "deconv"):
            raise ValueError(f"upsample is {self.upsample!r}, expected 'default' or 'deconv' in {self.name}")
        if self.upsample == {2: "trilinear", 3: "bilinear"}[self.dims]:
            raise ValueError(f"upsample is {self.upsample!r}, which does not fit {self.dims}D")
        maps = self.maps
        doubled = all(upper == 2 * lower for lower, upper in pairwise(maps))
        if self.upsample == "deconv" and not doubled:
            raise ValueError(f"f_maps are {list(maps)}, expected each twice the one before with 'deconv'")
        return self

    @property
    def dims(self) -> Literal[2, 3]:
        """Axes that the network sees."""
        return 2 if self.name.endswith("2D") else 3

    @property
    def residual(self) -> bool:
        """Whether levels add to what they are given."""
        return self.name.startswith("Residual")

    @property
    def excited(self) -> bool:
        """Whether levels weigh their maps by squeeze and excitation."""
        return "SE" in self.name

    @property
    def maps(self) -> tuple[int, ...]:
        """Feature maps of each level."""
        if isinstance(self.f_maps, tuple):
            return self.f_maps
        return tuple(self.f_maps << level for level in range(self.num_levels or (5 if self.residual else 4)))

    @property
    def kernel(self) -> tuple[int, ...]:
        """Size of the convolutions along each axis."""
        return _each(self.conv_kernel_size, self.dims)

    @property
    def dropout(self) -> tuple[float, float]:
        """Share of values switched off at each of a level's convolutions."""
        share = self.dropout_prob
        return share if isinstance(share, tuple) else (share, share)

    @property
    def pool(self) -> tuple[int, ...]:
        """Voxels that become one at each level, along each axis."""
        return _each(self.pool_kernel_size, self.dims)


def _each(sizes: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    return sizes if isinstance(sizes, tuple) else (sizes,) * dims


def _check_order(order: str) -> None:
    if unknown := sorted(set(order) - set(LETTERS)):
        raise ValueError(f"layer_order {order!r} has {unknown[0]!r}, expected letters of {''.join(LETTERS)}")
    if len(set(order)) < len(order):
        raise ValueError(f"layer_order {order!r} repeats a letter, expected each at most once")
    if "c" not in order or order[0] in "rle":
        raise ValueError(f"layer_order {order!r}: expected a c, and none of r, l, e in front")


def _with_heads(block: dict[str, Any]) -> dict[str, Any]:
    """pytorch-3dunet's words for its only head, as a head."""
    if not set(THEIR_HEAD) & set(block):
        return block
    if "heads" in block:
        raise ValueError("found heads and out_channels, expected one of them")
    kept = {key: value for key, value in block.items() if key not in THEIR_HEAD}
    activation = "sigmoid" if block.get("final_sigmoid", True) else "softmax"
    if not block.get("is_segmentation", True):
        activation = "none"
    return {**kept, "heads": [{"name": Output().name, "channels": block.get("out_channels", 1),
                               "activation": activation}]}  # fmt: skip


def _without_padding(block: dict[str, Any]) -> dict[str, Any]:
    """Without `conv_padding`, if it is what keeps the size.

    With any other, pytorch-3dunet stretches the maps on their way up by an amount that depends on the tile.
    """
    if "conv_padding" not in block:
        return block
    kept = {key: value for key, value in block.items() if key != "conv_padding"}
    padding, kernel = (_listed(value) for value in (block["conv_padding"], block.get("conv_kernel_size", 3)))
    expected = [k // 2 if isinstance(k, int) else k for k in kernel]
    length = max(len(padding), len(expected))
    if padding * (length // len(padding)) != expected * (length // len(expected)):
        raise ValueError(
            f"conv_padding is {block['conv_padding']}, expected {expected}, half the kernel: "
            "with another one the output does not lie on the image"
        )
    return kept


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
