"""Turn raw intensities into a boundary map: uint8, 255 where a membrane is sure.

A *predictor* is its parameters, and it is called on one normalised block (float32, z, y, x) with real
voxels around it; it says how many it needs. A new one is a class in `Predictor`.
"""

from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import Field

from cellflow.core.grid import Block, Triple
from cellflow.core.ridge import ridge, ridge_radius
from cellflow.core.schema import Schema
from cellflow.core.smoothing import smooth, smoothing_radius
from cellflow.engine import store
from cellflow.engine.stage import Context, Voxel
from cellflow.engine.store import Array, Demand, Fitted


class Membrane(Schema):
    """Multi-scale ridge filter for bright membranes; needs no training."""

    name: Literal["membrane"] = "membrane"
    sigmas: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.0, 1.6)
    """Scales to look at, about half the membrane's width, in units of the finest voxel."""
    strength: float = Field(0.1, gt=0)
    """Curvature that counts as boundary probability 0.5. Lower it for weak membranes."""

    def halo(self, voxel_um: Voxel) -> Triple:
        """Voxels needed around a block."""
        return ridge_radius(self.sigmas, _pitch(voxel_um))

    def __call__(self, values: NDArray[np.float32], voxel_um: Voxel) -> NDArray[np.float32]:
        """Boundary probabilities 0 to 1."""
        found = ridge(values, self.sigmas, _pitch(voxel_um))
        probability: NDArray[np.float32] = found / (found + np.float32(self.strength))
        return probability


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
        """The normalised intensities, cut to 0 to 1."""
        z, y, x = (self.smoothing / p for p in _pitch(voxel_um))
        return np.clip(smooth(values, (z, y, x)), 0, 1)


Predictor = Annotated[Membrane | Direct, Field(discriminator="name")]


class Params(Schema):
    """Where boundaries come from."""

    predictor: Predictor = Membrane()
    """`membrane`: ridge filter. `none`: the raw channel is the boundary signal."""


def predict_block(
    values: NDArray[Any], offset: NDArray[np.float32], scale: NDArray[np.float32], p: Params, voxel_um: Voxel
) -> NDArray[np.uint8]:
    """Boundary probability * 255 of a block with its halo; offset and scale broadcast along z."""
    normalised = (values.astype(np.float32) - offset) / scale
    probability = p.predictor(normalised, voxel_um)
    return np.rint(probability * 255).astype(np.uint8)


def demand(like: Fitted, dtype: DTypeLike, p: Params, voxel_um: Voxel) -> Demand:
    """A block with its halo as raw and three times as float32; disk for a byte a voxel and the pyramid."""
    grid = like.grid(p.predictor.halo(voxel_um))
    voxels = int(np.prod(grid.largest_outer))
    return Demand(
        tasks=len(grid),
        worker_bytes=voxels * (18 + np.dtype(dtype).itemsize),
        disk_bytes=int(np.prod(like.shape)) * 8 // 7,
    )


def run(context: Context, p: Params) -> dict[str, Any]:
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
    parts = context.map("blocks", task, like.grid(p.predictor.halo(voxel_um)))
    context.pyramid("boundaries", voxel_um)
    mean = sum(part["sum"] for part in parts) / 255 / np.prod(like.shape)
    return {"mean": round(float(mean), 6), "checksum": store.checksum(parts)}


def _task(  # noqa: PLR0913, PLR0917 - bound by `run`
    block: Block,
    raw: Array,
    target: Array,
    p: Params,
    voxel_um: Voxel,
    offset: NDArray[np.float32],
    scale: NDArray[np.float32],
) -> dict[str, Any]:
    if len(offset) > 1:
        offset, scale = offset[block.outer[0]], scale[block.outer[0]]
    boundaries = predict_block(np.asarray(raw[block.outer]), offset, scale, p, voxel_um)[block.crop]
    return {
        "crc": store.write_block(target, block.core, boundaries),
        "sum": int(boundaries.sum(dtype=np.int64)),
    }


def _pitch(voxel_um: Voxel) -> Voxel:
    z, y, x = (v / min(voxel_um) for v in voxel_um)
    return z, y, x
