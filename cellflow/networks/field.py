"""How far a U-Net sees, and what it asks of a tile: worked out axis by axis from its architecture.

A network treats each axis alike, so one axis at a time is enough: every value on the way through the
network is stood for by the interval of input voxels that it hears of::

    input     . . . . . . . .      conv     the intervals of its neighbours, joined
    encoder     [-]                pooling  those of the voxels that become one, joined
    pooled        [---]            up       that of the voxel it is copied from
    decoder   [-------]            join     those of both sides, joined

No weights are needed, and none can be so lucky that a voxel is missed: it is what a network *can* see.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Triple
from cellflow.networks.architecture import Architecture

CONVOLUTIONS = 2
"""In each encoder and each decoder, plain or residual."""


class Axis(NamedTuple):
    """What happens along one axis."""

    kernel: int
    pool: int
    levels: int
    upsample: str

    @property
    def period(self) -> int:
        """Voxels that become one at the deepest level: the network is the same again after so many."""
        return int(self.pool ** (self.levels - 1))


class Spans(NamedTuple):
    """The first and the last input voxel that each position hears of."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def take(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> "Spans":
        """Positions that hear of those from `first` to `last`; beyond the ends there is nothing."""
        end = len(self.first) - 1
        return Spans(self.first[first.clip(0, end)], self.last[last.clip(0, end)])


def pooling(architecture: Architecture) -> Triple:
    """Voxels along z, y, x that become one at the deepest level.

    Tiles must start at multiples of it, and be as long as a multiple, to give what the whole volume gives.
    """
    return _zyx([axis.period for axis in _axes(architecture)], flat=1)


def reach(architecture: Architecture) -> Triple:
    """Voxels along z, y, x, per side, that a voxel of the output can depend on: the halo of a tile.

    Exact for a tile that starts at a multiple of `pooling`. GroupNorm and squeeze and excitation, which look
    at all of a tile, are left out.
    """
    return _zyx([_reach(axis) for axis in _axes(architecture)], flat=0)


def stretches(architecture: Architecture) -> bool:
    """Whether the way back up scales maps by an amount that depends on the length of the tile.

    Learnt upsampling of pytorch-3dunet always doubles, and is then resized to fit: for some kernels and
    poolings that is a shift by a voxel, for others a stretch.
    """
    return any(_stretches(axis) for axis in _axes(architecture))


def _axes(a: Architecture) -> list[Axis]:
    upsample = a.upsample
    if upsample == "default":
        upsample = "deconv" if a.residual else "nearest"
    return [Axis(k, p, len(a.maps), upsample) for k, p in zip(a.kernel, a.pool, strict=True)]


def _zyx(values: list[int], flat: int) -> Triple:
    y, x = values[-2:]
    return (values[0] if len(values) == 3 else flat, y, x)


def _reach(axis: Axis) -> int:
    periods = 4
    while True:
        spans = _spans(axis, periods * axis.period)
        middle = np.arange(axis.period) + periods // 2 * axis.period
        first, last = spans.first[middle], spans.last[middle]
        if first.min() > 0 and last.max() < len(spans.first) - 1:
            return int(max((middle - first).max(), (last - middle).max()))
        periods *= 2


def _stretches(axis: Axis) -> bool:
    """Whether the middle of a tile hears of other voxels in a longer tile, or a period later."""
    halo = -(-_reach(axis) // axis.period) * axis.period
    length = 4 * (halo + axis.period)
    short, long = _spans(axis, length), _spans(axis, length + axis.period)
    inside = np.arange(halo, length - halo - axis.period)
    return any(
        not np.array_equal(one[inside], other[inside])
        or not np.array_equal(one[inside] + axis.period, one[inside + axis.period])
        for one, other in zip(short, long, strict=True)
    )


def _spans(axis: Axis, length: int) -> Spans:
    """What each position of the output hears of, in an input of this length."""
    at = np.arange(length)
    now = _convolved(Spans(at, at), axis)
    skips = []
    for _ in range(axis.levels - 1):
        skips.append(now)
        now = _convolved(_pooled(now, axis.pool), axis)
    for skip in reversed(skips):
        up = _up(now, len(skip.first), axis)
        joined = Spans(np.minimum(skip.first, up.first), np.maximum(skip.last, up.last))
        now = _convolved(joined, axis)
    return now


def _convolved(spans: Spans, axis: Axis) -> Spans:
    at, half = np.arange(len(spans.first)), CONVOLUTIONS * (axis.kernel // 2)
    return spans.take(at - half, at + half)


def _pooled(spans: Spans, pool: int) -> Spans:
    start = np.arange(len(spans.first) // pool) * pool
    return spans.take(start, start + pool - 1)


def _up(spans: Spans, length: int, axis: Axis) -> Spans:
    if axis.upsample == "deconv":
        # Output j of a transposed convolution with stride 2 and padding 1 hears of i where
        # 0 <= j + 1 - 2 i < kernel; there are 2 n - 4 + kernel of them.
        j = np.arange(max(1, 2 * len(spans.first) - 4 + axis.kernel))
        last = (j + 1) // 2
        spans = spans.take(np.minimum(-((axis.kernel - 2 - j) // 2), last), last)
    at = np.arange(length)
    if axis.upsample in ("bilinear", "trilinear"):
        left = ((2 * at + 1) * len(spans.first) - length) // (2 * length)
        return spans.take(left, left + 1)
    source = at * len(spans.first) // length
    return spans.take(source, source)
