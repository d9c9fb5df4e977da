"""Statistics of the whole raw volume, so that no block is ever normalised by itself.

Writes no volume: later stages map a voxel to (raw - offset) / scale. One pass over the blocks, each a
histogram; histograms add up exactly, so the result does not depend on the blocking. They are kept, as a
network says itself which statistics it was trained with.
"""

from functools import partial
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import Field, model_validator

from cellflow.core.grid import Block
from cellflow.core.histogram import BINS, Bins
from cellflow.core.schema import Schema
from cellflow.engine.histograms import save_histograms
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, Demand, Fitted

BINS_PER_SLICE = 4096
"""Coarser than for the whole volume: a block holds one histogram for each of its slices."""


class Params(Schema):
    """How raw intensities become comparable numbers; a network brings its own method, low and high."""

    method: Literal["percentile", "mean_std"] = "percentile"
    """`percentile` maps low to 0 and high to 1; `mean_std` subtracts the mean, divides by the deviation."""
    low: float = Field(1.0, ge=0, lt=100)
    """Percentile that becomes 0. Raise it if a dark background takes up most of the range."""
    high: float = Field(99.8, gt=0, le=100)
    """Percentile that becomes 1. Lower it if few very bright spots take up most of the range."""
    per_z: int = Field(0, ge=0)
    """Give each z slice statistics of its own, pooled over this many slices around it; 0 = one for all."""

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"expected low below high, found {self.low} and {self.high}")
        return self


def normalise_block(values: NDArray[Any], bins: Bins, *, per_z: bool) -> NDArray[np.int64]:
    """Histograms of a block: one row, or one for each z slice."""
    return np.stack([bins.count(part) for part in (values if per_z else [values])])


def demand(like: Fitted, dtype: DTypeLike) -> Demand:
    """A block with its bin numbers."""
    voxels = int(np.prod(like.grid().largest_core))
    return Demand(tasks=len(like.grid()), worker_bytes=voxels * (20 + 2 * np.dtype(dtype).itemsize))


def run(context: Context, p: Params) -> dict[str, Any]:
    """The result has `offset` and `scale`, one number each or one for each z slice; histograms are kept."""
    raw = context.volume(context.job.image)
    known = context.result(f"ingest-{context.job.image}")
    per_z = p.per_z > 0
    integer = raw.dtype.kind in "iu"
    bins = Bins(known["min"], known["max"], integer=integer, most=BINS_PER_SLICE if per_z else BINS)
    task = partial(_task, raw=raw, bins=bins, per_z=per_z, folder=context.scratch("histograms"))
    grid = context.fitted().grid()
    context.map("blocks", task, grid)
    counts = np.zeros((raw.shape[0] if per_z else 1, bins.n), np.int64)
    for block in grid:
        rows = block.core[0] if per_z else slice(0, 1)
        counts[rows] += load_part(context.scratch("histograms"), block.id)["counts"]
    if per_z:
        counts = _pooled(counts, p.per_z)
    save_histograms(context.output("histograms"), bins, counts)
    pairs = [_offset_scale(bins, row, p) for row in counts]
    return {"offset": [offset for offset, _ in pairs], "scale": [scale for _, scale in pairs]}


def _offset_scale(bins: Bins, counts: NDArray[np.int64], p: Params) -> tuple[float, float]:
    return bins.standard(counts) if p.method == "mean_std" else bins.between(counts, p.low, p.high)


def _pooled(counts: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Each slice's histogram summed with those around it, fewer at the ends."""
    sums = np.concatenate([np.zeros((1, counts.shape[1]), np.int64), np.cumsum(counts, axis=0)])
    at = np.arange(len(counts))
    start = np.maximum(at - (window - 1) // 2, 0)
    pooled: NDArray[np.int64] = sums[np.minimum(at + window // 2 + 1, len(counts))] - sums[start]
    return pooled


def _task(block: Block, raw: Array, bins: Bins, per_z: bool, folder: Any) -> dict[str, Any]:  # noqa: ANN401
    counts = normalise_block(np.asarray(raw[block.core]), bins, per_z=per_z)
    save_part(folder, block.id, {"counts": counts})
    return {}
