"""The middle of a tile, as in `focus`, in memory that is kept from tile to tile; float32, on a CPU.

Maps of a tile are hundreds of megabytes, which malloc takes from the system and gives back for each of them:
zeroing those pages takes a third of the time. Here two stretches of memory take turns, one for the maps that
a step reads and one for those it writes; each encoder has a third for what its decoder will join. What is
normalised, cut or pooled is written where the next convolution reads it.

Maps from below are convolved at their own size, not at that to which a decoder brings them (`subpixels`).

Plain networks alone, with the layers of `ORDERS`.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from cellflow.core.grid import Box
from cellflow.networks.architecture import Architecture
from cellflow.networks.budget import can_focus
from cellflow.networks.focus import Part, cut, focused, parts_of
from cellflow.networks.subpixels import Below, at_their_size, channels_last, interleave
from cellflow.networks.unet import UNet

ORDERS = ("bcr", "cbr", "cr")
"""Layers around a convolution, apart from dropout, which does nothing in use."""


def can_reuse(a: Architecture) -> bool:
    """Whether a network has nothing but layers that are known here, and torch a convolution for them."""
    plain = "".join(letter for letter in a.layer_order if letter not in "dD") in ORDERS
    nearest = a.upsample in {"default", "nearest"} and a.pool_type == "max"
    return can_focus(a) and plain and nearest and hasattr(torch.ops.mkldnn, "_convolution_pointwise_")


@dataclass(frozen=True)
class Step:
    """A convolution with its ReLU; what comes in is first brought to `x * scale + shift`."""

    weight: Tensor
    bias: Tensor | None
    scale: Tensor | None
    shift: Tensor | None

    def normalise(self, x: Tensor, target: Tensor, channels: slice = slice(None)) -> None:
        """Write these channels of what comes in, channels last, to where the convolution will read them."""
        if self.scale is not None and self.shift is not None:
            torch.addcmul(self.shift[channels], x, self.scale[channels], out=target)
        elif target.data_ptr() != x.data_ptr():
            target.copy_(x)


class Reusing:
    """A network in eval mode, called as `focus.focused`: the values are the same but for rounding.

    Not for two threads at once: a tile overwrites the maps of the one before. A ReLU within a convolution
    makes 0 of what is no number, so where an image or the weights hold such, the network is called itself.
    """

    def __init__(self, network: UNet) -> None:
        self._network = network
        self._finite = all(bool(values.isfinite().all()) for values in network.state_dict().values())
        encoders, decoders = (
            [_steps(level) for level in part] for part in (network.encoders, network.decoders)
        )
        self._encoders, self._decoders = encoders, [_split(steps, network.architecture) for steps in decoders]
        self._memory: dict[Hashable, Tensor] = {}
        self._turn = False
        self._most = 0

    def __call__(self, x: Tensor, kept: Box) -> dict[str, Tensor]:
        """Each head's prediction of the kept voxels of tiles (n, c, z, y, x), or (n, c, y, x) in 2D."""
        if not (self._finite and bool(x.isfinite().all())):
            return focused(self._network, x, kept)
        self._turn = False  # each map where that of the tile before lay, so that it needs no new pages
        a = self._network.architecture
        wanted = [(side.start, side.stop) for side in kept][-a.dims :]
        parts, deepest = parts_of(a, list(x.shape[2:]), wanted)
        self._most = _largest(a, x, parts)
        skips = []
        for level, (part, steps) in enumerate(zip([*parts, None], self._encoders, strict=True)):
            x = self._pooled(x, a.pool) if level else self._other(x.shape[1], x.shape[2:], x).copy_(x)
            x = self._convolved(x, steps)
            if part is not None:
                joined = cut(x, part.joined)
                skip = self._maps(("skip", level), joined.shape[1], joined.shape[2:], joined)
                skips.append(skip.copy_(joined))
        spans = deepest
        for part, (below, steps) in zip(reversed(parts), self._decoders, strict=True):
            x = self._joined(skips.pop(), cut(x, spans), steps[0], below)
            x = self._convolved(x, steps[1:])
            spans = [(k0 - j0, k1 - j0) for (k0, k1), (j0, _) in zip(part.kept, part.joined, strict=True)]
        # Cut afterwards: a head reads a few voxels more, but no copy of all maps is made for it.
        return {head: cut(maps, spans) for head, maps in self._network.predicted(x).items()}

    def _convolved(self, x: Tensor, steps: Sequence[Step]) -> Tensor:
        """The maps after all steps."""
        for step in steps:
            step.normalise(_last(x), _last(x))
            zeros = self._other(step.weight.shape[0], x.shape[2:], x).zero_()
            x = _added(zeros, x, step.weight, step.bias, "relu")
        return x

    def _pooled(self, x: Tensor, pool: Sequence[int]) -> Tensor:
        """The largest of each few voxels; overwrites what comes in."""
        for axis, size in enumerate(pool[-(x.dim() - 2) :], start=2):
            every = (slice(None),) * axis
            first = x[(*every, slice(0, None, size))]
            for k in range(1, size):
                torch.maximum(first, x[(*every, slice(k, None, size))], out=first)
            x = first
        return self._other(x.shape[1], x.shape[2:], x).copy_(x)

    def _joined(self, skip: Tensor, x: Tensor, step: Step, below: Below) -> Tensor:
        """The first convolution of the encoder's maps and of those from below, as if brought to size."""
        own = skip.shape[1]
        ready = self._other(x.shape[1], x.shape[2:], x)
        step.normalise(_last(x), _last(ready), slice(own, None))
        ends = zip(x.shape[2:], below.ends, below.weight.shape[2:], strict=True)
        size = [n + 2 * end - k + 1 for n, end, k in ends]
        zeros = self._other(below.weight.shape[0], size, x).zero_()
        groups = _added(zeros, ready, below.weight, None, None, below.ends)
        target = self._other(step.weight.shape[0], skip.shape[2:], skip)
        interleave(groups, target, below, x.shape[2:])
        step.normalise(_last(skip), _last(skip), slice(own))
        return _added(target, skip, step.weight, step.bias, "relu")

    def _other(self, channels: int, size: Sequence[int], like: Tensor) -> Tensor:
        """Maps in the stretch of memory that was not written last."""
        self._turn = not self._turn
        # As long as the longest maps from the start: what is not written takes no memory.
        return self._maps(self._turn, channels, size, like, self._most)

    def _maps(
        self, name: Hashable, channels: int, size: Sequence[int], like: Tensor, least: int = 0
    ) -> Tensor:
        """Maps of as many tiles, of this size, channels last, in the memory of this name."""
        shape = (like.shape[0], *size, channels)
        if name not in self._memory or self._memory[name].numel() < prod(shape):
            self._memory[name] = torch.empty(max(prod(shape), least))
        return self._memory[name][: prod(shape)].view(shape).movedim(-1, 1)


def _largest(a: Architecture, x: Tensor, parts: Sequence[Part]) -> int:
    """Numbers in the largest maps of tiles: those of the first encoder, or the groups of the last decoder."""
    whole = a.maps[0] * prod(x.shape[2:])
    # Zeros beyond the ends are fewer than a kernel is wide, in voxels of the next level.
    axes = [zip(part.joined, a.kernel, a.pool, strict=True) for part in parts[:1]]
    groups = [a.maps[0] * prod(hi - lo + k * p for (lo, hi), k, p in one) for one in axes]
    return x.shape[0] * max(whole, *groups)


def _added(  # noqa: PLR0913, PLR0917 - a convolution has as many
    onto: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    bend: str | None,
    ends: Sequence[int] | None = None,
) -> Tensor:
    """The maps `onto` and a convolution of x, where they are: the form of it that does not take memory."""
    ones = [1] * (x.dim() - 2)
    zeros = list(ends or [k // 2 for k in weight.shape[2:]])
    convolve: Any = torch.ops.mkldnn._convolution_pointwise_.binary
    found: Tensor = convolve(onto, x, weight, bias, zeros, ones, ones, 1, "add", 1.0, bend, [], "")
    return found


def _split(steps: Sequence[Step], a: Architecture) -> tuple[Below, list[Step]]:
    """What the first step of a decoder does to the maps from below; and the steps, the first without that."""
    first, *others = steps
    own = first.weight.shape[0]
    below = at_their_size(first.weight[:, own:], a.pool)
    return below, [replace(first, weight=channels_last(first.weight[:, :own])), *others]


def _last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def _steps(level: nn.Module) -> list[Step]:
    singles: Iterable[Any] = level.basic_module.children()  # type: ignore[union-attr]
    return [_step(single) for single in singles]


def _step(single: Any) -> Step:  # noqa: ANN401 - a `Sequential` whose layers have names
    convolution = getattr(single.conv, "layer", single.conv)
    weight, bias = convolution.weight.detach(), convolution.bias
    if not hasattr(single, "batchnorm"):
        return Step(channels_last(weight), bias, None, None)
    norm = single.batchnorm
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    if next(iter(single)) is norm:
        return Step(channels_last(weight), bias, scale.float(), shift.float())
    weight = (weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))).float()
    return Step(channels_last(weight), shift.float(), None, None)
