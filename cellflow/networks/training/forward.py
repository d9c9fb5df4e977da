"""One pass of a network in training: patches in, what is said before activation, and how wrong it is."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from cellflow.networks.training.patches import Sample
from cellflow.networks.training.targets import Target

Batch = tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]
"""Images (n, 1, z, y, x); values and masks (n, c, z, y, x) of each target."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as tensors."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    maps = zip(*(sample.maps for sample in samples), strict=True)
    return images, tuple(
        (torch.from_numpy(np.stack([v for v, _ in each])), torch.from_numpy(np.stack([k for _, k in each])))
        for each in maps
    )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch where the network is."""
    images, maps = batch
    return images.to(device, non_blocking=True), tuple(
        (values.to(device, non_blocking=True), known.to(device, non_blocking=True)) for values, known in maps
    )


def bare(
    network: nn.Module, images: Tensor, dims: int, precision: Literal["float32", "bfloat16", "float16"]
) -> dict[str, Tensor]:
    """What each head says before its activation, float32 (n, c, z, y, x); in 2D slice by slice."""
    n, _, z = images.shape[:3]
    if dims == 2:
        images = images.movedim(2, 1).flatten(0, 1)
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    with torch.autocast(images.device.type, DTYPES[precision], enabled=precision != "float32"):
        made: dict[str, Tensor] = network(images.contiguous(memory_format=layout))
    if dims == 2:
        made = {name: maps.reshape(n, z, *maps.shape[1:]).movedim(1, 2) for name, maps in made.items()}
    return {name: maps.float() for name, maps in made.items()}


def losses(
    said: dict[str, Tensor], maps: Sequence[tuple[Tensor, Tensor]], targets: Sequence[Target]
) -> Tensor:
    """The weighted sum of all targets' losses, for each sample: (n,)."""
    total: Tensor | None = None
    for target, (values, known) in zip(targets, maps, strict=True):
        one = target.weight * target.loss(said[target.head], values, known)
        total = one if total is None else total + one
    if total is None:
        raise ValueError("no targets")
    return total
