"""Predict the middle of a tile without computing all of it.

The halo is there for the deep levels, which see far. On the way up again, each level needs little more than
what lies below the kept voxels::

    level 0    encoder [----------------------------]      decoder          [--kept--]
    level 1       encoder [----------------------]         decoder        [------------]
    level 2          encoder [----------------]  ---------------->  as far as level 1 asks

Most of the work of a U-Net is on the way up, at full size: with thick halos this is several times faster, and
needs a fraction of the memory. Each kept value is the sum of the same products as in a whole pass.
"""

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from cellflow.core.grid import Box
from cellflow.networks.architecture import Architecture
from cellflow.networks.field import CONVOLUTIONS
from cellflow.networks.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cellflow.networks.blocks import Encoder

Span = tuple[int, int]
"""First voxel and the one after the last, along an axis."""


class Part(NamedTuple):
    """What a level needs on its way up, along each axis."""

    joined: list[Span]
    """Of the encoder's maps; the maps from below are brought to the same."""
    kept: list[Span]
    """Of the decoder's maps."""


def focused(network: UNet, x: Tensor, kept: Box) -> dict[str, Tensor]:
    """Each head's prediction of the kept voxels (z, y, x) of tiles (n, c, z, y, x), or (n, c, y, x) in 2D.

    Sides of a tile must be multiples of the network's pooling.
    """
    a = network.architecture
    wanted = [(side.start, side.stop) for side in kept][-a.dims :]
    parts, deepest = parts_of(a, list(x.shape[2:]), wanted)
    skips = []
    encoders: Iterable[Encoder] = network.encoders  # type: ignore[assignment]
    for part, encoder in zip([*parts, None], encoders, strict=True):
        x = encoder.pooling(x)
        x = encoder.basic_module(x)
        if part is not None:
            skips.append(cut(x, part.joined).clone())  # a copy lets go of the rest
    x = cut(x, deepest)
    for part, decoder in zip(reversed(parts), network.decoders, strict=True):
        x = decoder(skips.pop(), x)
        x = cut(x, [(k0 - j0, k1 - j0) for (k0, k1), (j0, _) in zip(part.kept, part.joined, strict=True)])
    return network.predicted(x)


def parts_of(a: Architecture, size: list[int], wanted: list[Span]) -> tuple[list[Part], list[Span]]:
    """For each level but the deepest what is needed, the finest first; and of the deepest."""
    parts = []
    # At the ends of a part, interpolation has not both its neighbours.
    more = int(a.upsample in ("bilinear", "trilinear"))
    for _ in a.maps[1:]:
        around = [(lo - m, hi + m) for (lo, hi), m in zip(wanted, _dilation(a), strict=True)]
        size = [n // p for n, p in zip(size, a.pool, strict=True)]
        below = [
            (max(0, lo // p - more), min(n, -(-hi // p) + more))
            for (lo, hi), p, n in zip(around, a.pool, size, strict=True)
        ]
        joined = [(lo * p, hi * p) for (lo, hi), p in zip(below, a.pool, strict=True)]
        parts.append(Part(joined, wanted))
        wanted = below
    return parts, wanted


def _dilation(a: Architecture) -> list[int]:
    """Voxels at the end of a part that the zeros of its convolutions reach."""
    return [CONVOLUTIONS * (k // 2) for k in a.kernel]


def cut(x: Tensor, spans: list[Span]) -> Tensor:
    """These voxels of maps (n, c, ...); a view."""
    return x[(slice(None), slice(None), *(slice(lo, hi) for lo, hi in spans))]
