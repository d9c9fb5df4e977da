"""Predictors without training: called on one normalised block (float32, z, y, x) with real voxels around it.

Each says how many voxels it needs around a block, and gives boundary probabilities.
"""

from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import Field, model_validator

from cellflow.core.grid import Block, Triple
from cellflow.core.ridge import contrast_radius, ridge_contrast
from cellflow.core.schema import Schema
from cellflow.core.smoothing import smooth, smoothing_radius
from cellflow.engine import store
from cellflow.engine.pyramid import Target
from cellflow.engine.stage import Context, Voxel
from cellflow.engine.store import Array, Demand, Fitted


class Membrane(Schema):
    """Bright (or dark) membranes, by how sharp and bright they are against their surroundings; no training.

    The defaults suit membranes 2 to 8 voxels thick around cells of 15 to 100 voxels.
    """

    name: Literal["membrane"] = "membrane"
    sigmas: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Field(min_length=1)] = (
        1.0,
        2.0,
        4.0,
    )
    """Scales to look at, about half the membrane's width, in units of the finest voxel. Leave out small ones
    where noise is found, and large ones where small cells are lost."""
    window: float = Field(12.0, gt=0, le=1000)
    """How far the surroundings reach that a voxel is compared with (standard deviation, in units of the
    finest voxel): about half a cell. Higher: dim regions next to bright ones lose boundaries, and a thicker
    halo is read."""
    least_contrast: float = Field(0.005, gt=0)
    """Contrast of the surroundings below which nothing is amplified, as a share of the normalised range.
    Raise it if a noisy background is full of boundaries; lower it if dim regions lose theirs."""
    level: float = Field(1.2, gt=0)
    """Sharpness and brightness that count as boundary probability 0.5, in units of the local contrast; flat
    noise lies near 1. Higher: fewer boundaries, so cells merge; lower: more, so they split."""
    dark: bool = False
    """Membranes are darker than their surroundings, as in electron microscopy."""

    @model_validator(mode="after")
    def _window_is_wider(self) -> Self:
        if self.window <= max(self.sigmas):
            raise ValueError(f"expected a window above the largest of sigmas, {max(self.sigmas)}")
        return self

    def halo(self, voxel_um: Voxel) -> Triple:
        """Voxels needed around a block."""
        return contrast_radius(self.sigmas, self.window, _pitch(voxel_um))

    def __call__(self, values: NDArray[np.float32], voxel_um: Voxel) -> NDArray[np.float32]:
        """Boundary probabilities 0 to 1."""
        if self.dark:
            values = -values
        found = ridge_contrast(values, self.sigmas, self.window, self.least_contrast, _pitch(voxel_um))
        # The fourth power over itself and one: as decisive as a logistic curve, but 0 at 0 and the same
        # bits on every machine.
        found /= np.float32(self.level)
        np.square(found, out=found)
        np.square(found, out=found)
        found /= found + np.float32(1)
        return found


class Direct(Schema):
    """The raw channel is the boundary signal itself, such as a good membrane stain."""

    name: Literal["none"] = "none"
    smoothing: float = Field(0.0, ge=0)
    """Gaussian smoothing before use, in units of the finest voxel."""

    def halo(self, voxel_um: Voxel) -> Triple:
        """Voxels needed around a block."""
        z, y, x = (smoothing_radius(self.smoothing / p) for p in _pitch(voxel_um))
        return z, y, x

    def __call__(self, values: NDArray[np.float32], voxel_um: Voxel) -> NDArray[np.float32]:
        """The normalised intensities, cut to 0 to 1; above 1 they count as 1 before they are smoothed."""
        found = np.clip(np.ascontiguousarray(values), np.float32(0), np.float32(1))
        z, y, x = (self.smoothing / p for p in _pitch(voxel_um))
        return np.clip(smooth(found, (z, y, x)), 0, 1, out=found)


Filter = Membrane | Direct


def predict_block(
    values: NDArray[Any], offset: NDArray[np.float32], scale: NDArray[np.float32], p: Filter, voxel_um: Voxel
) -> NDArray[np.uint8]:
    """Boundary probability * 255 of a block with its halo; offset and scale broadcast along z."""
    normalised = (values.astype(np.float32) - offset) / scale
    probability = p(normalised, voxel_um)
    return np.rint(probability * 255).astype(np.uint8)


def filter_demand(like: Fitted, dtype: DTypeLike, p: Filter, voxel_um: Voxel) -> Demand:
    """40 B a voxel of the block with its halo beside raw; disk for a byte a voxel and the pyramid."""
    grid = like.grid(p.halo(voxel_um))
    voxels = int(np.prod(grid.largest_outer))
    return Demand(
        tasks=len(grid),
        worker_bytes=voxels * (40 + np.dtype(dtype).itemsize),
        disk_bytes=int(np.prod(like.shape)) * 8 // 7,
    )


def run_filter(context: Context, p: Filter) -> dict[str, Any]:
    """Write `boundaries` and its pyramid."""
    statistics = context.result("normalise")
    voxel_um = context.voxel_um()
    like = context.fitted()
    target = context.create("boundaries", like, np.uint8, "intensity")
    task = partial(
        _task,
        raw=context.volume("raw"),
        target=target,
        p=p,
        voxel_um=voxel_um,
        offset=np.array(statistics["offset"], np.float32).reshape(-1, 1, 1),
        scale=np.array(statistics["scale"], np.float32).reshape(-1, 1, 1),
    )
    parts = context.map("blocks", task, like.grid(p.halo(voxel_um)))
    context.pyramid("boundaries")
    mean = sum(part["sum"] for part in parts) / 255 / np.prod(like.shape)
    return {"mean": round(float(mean), 6), "checksum": store.checksum(parts)}


def _task(  # noqa: PLR0913, PLR0917 - bound by `run`
    block: Block,
    raw: Array,
    target: Target,
    p: Filter,
    voxel_um: Voxel,
    offset: NDArray[np.float32],
    scale: NDArray[np.float32],
) -> dict[str, Any]:
    if len(offset) > 1:
        offset, scale = offset[block.outer[0]], scale[block.outer[0]]
    boundaries = predict_block(np.asarray(raw[block.outer]), offset, scale, p, voxel_um)[block.crop]
    return {
        "crc": target.write(block.core, boundaries),
        "sum": int(boundaries.sum(dtype=np.int64)),
    }


def _pitch(voxel_um: Voxel) -> Voxel:
    z, y, x = (v / min(voxel_um) for v in voxel_um)
    return z, y, x
