"""A network at work: loaded once a process, in a thread of its own, so that tiles are made ready meanwhile.

The same tile gives the same bits whatever is computed before, beside or after it in the same batch size: one
thread, one kind of convolution. torch would choose between two by the size of a batch, and one of them is
several times slower on small tiles.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import chain, combinations
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box
from cellflow.networks.budget import can_focus
from cellflow.networks.focus import focused
from cellflow.networks.model import Model, load_model
from cellflow.networks.outputs import Flips, Outputs, Setting
from cellflow.networks.reuse import Reusing, can_reuse
from cellflow.networks.spec import ModelSpec

_LOADING = Lock()


class Session:
    """A model that predicts batches of tiles, one after the other, in the order they are handed in."""

    def __init__(self, spec: ModelSpec, setting: Setting) -> None:
        self.setting = setting
        self._thread = ThreadPoolExecutor(1, "network")
        self.model: Model = self._thread.submit(_loaded, spec, setting).result()
        self._whole: Any = torch.compile(self.model.network) if setting.compile else self.model.network
        self._focused: Any = torch.compile(focused) if setting.compile else focused
        self._reusing: Any = _reusing(self.model, setting)

    @property
    def device_bytes(self) -> int | None:
        """Memory of the GPU that is free beside the model; None on a CPU."""
        if self.model.device.type == "cpu":
            return None
        return int(torch.cuda.mem_get_info(self.model.device)[0])

    def submit(
        self, images: NDArray[np.float32], inner: Box, crops: Sequence[Box], *, as_bytes: bool = True
    ) -> "Future[list[NDArray[Any]]]":
        """The maps (channel, z, y, x) of a crop of each tile, from normalised images (n, z, y, x).

        Crops lie in `inner`: only that is computed where a network allows it, so the bits depend on it, and
        on the shape of the batch. Images beyond the last crop only fill the batch. Bytes: probability x 255.
        The future raises `MemoryError` if the device is too small, `BadInput` if a prediction is no number.
        """
        batch = torch.from_numpy(np.ascontiguousarray(images))[:, None]
        if self.model.device.type == "cuda":
            batch = batch.pin_memory()
        region = self._region(inner, batch.shape[2:])
        return self._thread.submit(self._predicted, batch, region, crops, as_bytes)

    def _region(self, inner: Box, size: torch.Size) -> Box:
        """What is computed of a tile: the inner part and what its pairs reach, or else all."""
        if not can_focus(self.model.description.architecture):
            z, y, x = (slice(0, n) for n in size)
            return z, y, x
        reached = zip(inner, self.setting.outputs.halo, strict=True)
        z, y, x = (slice(part.start - h, part.stop + h) for part, h in reached)
        return z, y, x

    @torch.inference_mode()
    def _predicted(
        self, batch: Tensor, region: Box, crops: Sequence[Box], as_bytes: bool
    ) -> list[NDArray[Any]]:
        try:
            maps = self._mean(batch.to(self.model.device, non_blocking=True), region)
            outputs, tiles = self.setting.outputs, range(len(crops))
            each = [{name: one[i] for name, one in maps.items()} for i in tiles]
            found = [taken(each[i], outputs, _within(crops[i], region)) for i in tiles]
            if not all(bool(one.isfinite().all()) for one in found):
                raise BadInput(
                    "model: predicts NaN, expected numbers; check predictor.normalisation, or take "
                    "predictor.precision float32 or bfloat16"
                )
            if as_bytes:
                found = [(one * 255).round_().to(torch.uint8) for one in found]
            return [one.cpu().numpy() for one in found]
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()
            raise MemoryError(f"tile of {tuple(batch.shape[2:])}: {error}") from error

    def _mean(self, batch: Tensor, region: Box) -> dict[str, Tensor]:
        """Each head's prediction (n, c, z, y, x) of the region, the mean over all flips."""
        first, *others = _turns(self.setting.flips)
        total = self._turned(batch, first, region)
        for axes in others:
            for name, more in self._turned(batch, axes, region).items():
                total[name].add_(more)
        return {name: maps.div_(1 + len(others)) for name, maps in total.items()} if others else total

    def _turned(self, batch: Tensor, axes: tuple[int, ...], region: Box) -> dict[str, Tensor]:
        if not axes:
            return self.forward(batch, region)
        sides = [batch.shape[2 + i] if 2 + i in axes else None for i in range(3)]
        z, y, x = (_mirrored(part, n) for part, n in zip(region, sides, strict=True))
        return {name: maps.flip(axes) for name, maps in self.forward(batch.flip(axes), (z, y, x)).items()}

    def forward(self, batch: Tensor, region: Box) -> dict[str, Tensor]:
        """Each head's prediction of the region in float32."""
        n, _, z = batch.shape[:3]
        flat = self.model.description.dims == 2
        if flat:
            batch = batch[:, :, region[0]].movedim(2, 1).flatten(0, 1)
            z = region[0].stop - region[0].start
        batch = batch.contiguous(memory_format=_format(self.model))
        half = self.setting.precision != "float32"
        with torch.autocast(self.model.device.type, getattr(torch, self.setting.precision), enabled=half):
            made = self._compute(batch, region)
        if flat:
            made = {name: maps.reshape(n, z, *maps.shape[1:]).movedim(1, 2) for name, maps in made.items()}
        return {name: maps.float() for name, maps in made.items()}

    def _compute(self, batch: Tensor, region: Box) -> dict[str, Tensor]:
        made: dict[str, Tensor]
        if self._reusing is not None:
            made = self._reusing(batch, region)
        elif can_focus(self.model.description.architecture):
            made = self._focused(self.model.network, batch, region)
        else:
            made = self._whole(batch)
        return made


def session(spec: ModelSpec, setting: Setting) -> Session:
    """The session of this process: a worker loads a model once, for all its threads."""
    with _LOADING:
        return _session(spec, setting)


@lru_cache(maxsize=1)
def _session(spec: ModelSpec, setting: Setting) -> Session:
    return Session(spec, setting)


def taken(made: dict[str, Tensor], outputs: Outputs, crop: Box) -> Tensor:
    """The wanted maps (channel, *crop) of a tile's heads (c, z, y, x), between 0 and 1."""
    found = [made[head][(slice(c, c + 1), *crop)] for _, head, c in outputs.maps]
    if outputs.embedded:
        found.append(_nearness(made["embeddings"], outputs, crop))
    elif outputs.offsets:
        found.append(made["affinities"][(slice(None), *crop)])
    return torch.cat(found).clamp_(0, 1)


def _nearness(points: Tensor, outputs: Outputs, crop: Box) -> Tensor:
    """Affinities of points in space: 1 in one place, 0 from twice the push on, a parabola between.

    Source: SPOCO, arXiv 2103.14572.
    """
    here, far = points[(slice(None), *crop)], 2 * outputs.push
    found = []
    for step in outputs.offsets:
        there = tuple(slice(c.start + d, c.stop + d) for c, d in zip(crop, step, strict=True))
        distance = (here - points[(slice(None), *there)]).norm(dim=0)
        found.append(((far - distance) / far).clamp_(min=0).square_())
    return torch.stack(found)


def _within(crop: Box, region: Box) -> Box:
    z, y, x = (slice(c.start - r.start, c.stop - r.start) for c, r in zip(crop, region, strict=True))
    return z, y, x


def _mirrored(part: slice, side: int | None) -> slice:
    """The part of an axis of this length seen from its other end; as it is without one."""
    return part if side is None else slice(side - part.stop, side - part.start)


class OneDnn(nn.Module):
    """A convolution that always runs in oneDNN, in float32 on a CPU."""

    def __init__(self, layer: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The same as the layer, to the last bits but for their order of sums."""
        c = self.layer
        if torch.is_autocast_enabled("cpu"):
            found: Tensor = c(x)
            return found
        padding = [k // 2 for k in c.kernel_size]  # the only padding of these networks
        return torch.mkldnn_convolution(x, c.weight, c.bias, padding, c.stride, c.dilation, c.groups)


def _loaded(spec: ModelSpec, setting: Setting) -> Model:
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    model = load_model(spec, setting.device)
    if _is_one_dnn(model, setting):
        _with_one_dnn(model.network)
    network: Any = model.network  # whose type knows no memory formats
    network.to(memory_format=_format(model))
    return model


def _reusing(model: Model, setting: Setting) -> Reusing | None:
    """The same network in memory of its own, where that is possible."""
    plain = can_reuse(model.description.architecture) and _is_one_dnn(model, setting)
    return Reusing(model.network) if plain and setting.precision == "float32" else None


def _is_one_dnn(model: Model, setting: Setting) -> bool:
    """Whether its convolutions run in oneDNN; a compiler knows no such convolution."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return model.device.type == "cpu" and there and not setting.compile


def _with_one_dnn(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                setattr(module, name, OneDnn(layer))


def _format(model: Model) -> Any:  # noqa: ANN401 - torch has no type for it that mypy knows
    return torch.channels_last if model.description.dims == 2 else torch.channels_last_3d


def _turns(flips: Flips) -> list[tuple[int, ...]]:
    """Sets of axes of (n, c, z, y, x) to flip, the empty one first."""
    axes = [] if flips == "none" else [2 + "zyx".index(letter) for letter in flips]
    return list(chain.from_iterable(combinations(axes, k) for k in range(len(axes) + 1)))


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
