"""A network at work in a process: loaded once, in a thread of its own, so that tiles are made ready meanwhile.

The same tile gives the same bits whatever is computed before, beside or after it in the same batch size: one
thread, one kind of convolution. torch would choose between two by the size of a batch, and one of them is
several times slower on small tiles.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box
from cellflow.networks.model import Model, load_model
from cellflow.networks.outputs import Outputs
from cellflow.networks.spec import ModelSpec

Precision = Literal["float32", "bfloat16", "float16"]
Flips = Literal["none", "x", "yx", "zyx"]


@dataclass(frozen=True)
class Setting:
    """How a network is used."""

    outputs: Outputs
    device: str = "cpu"
    precision: Precision = "float32"
    flips: Flips = "none"
    compile: bool = False


class Session:
    """A model that predicts batches of tiles, one after the other, in the order in which they are handed in."""

    def __init__(self, spec: ModelSpec, setting: Setting) -> None:
        self.setting = setting
        self._thread = ThreadPoolExecutor(1, "network")
        self.model: Model = self._thread.submit(_loaded, spec, setting).result()
        self._network: Any = torch.compile(self.model.network) if setting.compile else self.model.network

    def submit(
        self, images: NDArray[np.float32], crop: Box, *, as_bytes: bool = True
    ) -> "Future[NDArray[Any]]":
        """The maps (n, channel, z, y, x) of the cropped tiles, from normalised images (n, z, y, x).

        Bytes: probability x 255. The future raises `MemoryError` if the device is too small, `BadInput` if
        what is predicted is no number.
        """
        batch = torch.from_numpy(np.ascontiguousarray(images))[:, None]
        if self.model.device.type == "cuda":
            batch = batch.pin_memory()
        return self._thread.submit(self._predicted, batch, crop, as_bytes)

    def _predicted(self, batch: Tensor, crop: Box, as_bytes: bool) -> NDArray[Any]:
        try:
            with torch.inference_mode():
                found = self._maps(batch.to(self.model.device, non_blocking=True), crop)
                if as_bytes:
                    found = (found * 255).round_().to(torch.uint8)
                made: NDArray[Any] = found.cpu().numpy()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise MemoryError(f"tile of {tuple(batch.shape[2:])}: {error}") from error
        return made

    def _maps(self, batch: Tensor, crop: Box) -> Tensor:
        """The mean over all flips, between 0 and 1."""
        first, *others = _turns(self.setting.flips)
        total = self._turned(batch, first, crop)
        for axes in others:
            total += self._turned(batch, axes, crop)
        if not bool(total.isfinite().all()):
            raise BadInput(
                "model: predicts NaN or infinity, expected numbers; check predictor.normalisation, or take "
                "predictor.precision float32 or bfloat16"
            )
        return total.div_(1 + len(others))

    def _turned(self, batch: Tensor, axes: tuple[int, ...], crop: Box) -> Tensor:
        made = self._forward(batch.flip(axes))
        return taken({name: maps.flip(axes) for name, maps in made.items()}, self.setting.outputs, crop)

    def _forward(self, batch: Tensor) -> dict[str, Tensor]:
        """Each head's prediction (n, c, z, y, x) in float32."""
        n, _, z = batch.shape[:3]
        flat = self.model.description.dims == 2
        if flat:
            batch = batch.movedim(2, 1).flatten(0, 1)
        batch = batch.contiguous(memory_format=_format(self.model))
        half = self.setting.precision != "float32"
        with torch.autocast(self.model.device.type, getattr(torch, self.setting.precision), enabled=half):
            made: dict[str, Tensor] = self._network(batch)
        if flat:
            made = {name: maps.unflatten(0, (n, z)).movedim(1, 2) for name, maps in made.items()}
        return {name: maps.float() for name, maps in made.items()}


@lru_cache(maxsize=1)
def session(spec: ModelSpec, setting: Setting) -> Session:
    """The session of this process: a worker loads a model once."""
    return Session(spec, setting)


def taken(made: dict[str, Tensor], outputs: Outputs, crop: Box) -> Tensor:
    """The wanted maps (n, channel, *crop) of heads (n, c, z, y, x), between 0 and 1."""
    found = [made[head][(slice(None), slice(c, c + 1), *crop)] for _, head, c in outputs.maps]
    if outputs.embedded:
        found.append(_nearness(made["embeddings"], outputs, crop))
    elif outputs.offsets:
        found.append(made["affinities"][(slice(None), slice(None), *crop)])
    return torch.cat(found, dim=1).clamp_(0, 1)


def _nearness(points: Tensor, outputs: Outputs, crop: Box) -> Tensor:
    """Affinities of points in space: 1 in one place, 0 from twice the push on, a parabola between.

    Source: SPOCO, arXiv 2103.14572.
    """
    here, far = points[(slice(None), slice(None), *crop)], 2 * outputs.push
    found = []
    for step in outputs.offsets:
        there = tuple(slice(c.start + d, c.stop + d) for c, d in zip(crop, step, strict=True))
        distance = (here - points[(slice(None), slice(None), *there)]).norm(dim=1)
        found.append(((far - distance) / far).clamp_(min=0).square_())
    return torch.stack(found, dim=1)


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
        return torch.mkldnn_convolution(x, c.weight, c.bias, c.padding, c.stride, c.dilation, c.groups)


def _loaded(spec: ModelSpec, setting: Setting) -> Model:
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    model = load_model(spec, setting.device)
    if model.device.type == "cpu" and torch.backends.mkldnn.is_available():
        _with_one_dnn(model.network)
    model.network.to(memory_format=_format(model))
    return model


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
