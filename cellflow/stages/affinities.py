"""Start from affinities: how sure a network is that a voxel and one at an offset lie in one object.

Takes the place of `normalise` and `predict`. Each channel is checked and kept as uint8 in the stage's
folder, where the graph reads it; and supervoxels get a boundary map: of the pairs of direct neighbours
that a voxel is an end of, the least sure one counts. Refused, with the place: NaN or infinite values,
values outside 0 to 1, fewer channels than offsets, an axis without a pair of direct neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import AfterValidator, Field

from cellflow.core.affinities import boundary_map, is_direct, require_direct
from cellflow.core.affinities import checked as checked_offsets
from cellflow.core.errors import BadInput
from cellflow.core.grid import Block, Box, Triple
from cellflow.core.probabilities import probabilities, require_finite
from cellflow.engine import store
from cellflow.engine.formats import Source, Volume, fingerprint, open_volume
from cellflow.engine.pyramid import Target
from cellflow.engine.stage import Context
from cellflow.engine.store import Array, Demand, Fitted

PRIVATE = tuple(Source.model_fields)
"""The receipt speaks of the voxels, by their checksum, not of where they lay."""

HALO = (1, 1, 1)
"""A boundary is a matter of direct neighbours."""

Steps = tuple[Triple, ...]
Step = Annotated[int, Field(ge=-1024, le=1024)]


def _no_zero(offsets: Steps) -> Steps:
    checked_offsets(offsets)
    return offsets


class Affinities(Source):
    """Affinities of a network: 0 to 1 (float) or 0 to 255 (uint8), high where a pair lies in one object."""

    channel: int = Field(0, ge=0)
    """The channel of the first offset, counted from 0; the others follow it."""
    offsets: Annotated[
        tuple[tuple[Step, Step, Step], ...], Field(min_length=1, max_length=256), AfterValidator(_no_zero)
    ]
    """For each channel the step z, y, x, in voxels, from a voxel to the other one of its pair: with
    [-1, 0, 0] the value at a voxel speaks of it and of the one below it along z. There must be a direct
    neighbour along each axis; longer steps go into a table of their own, and need a thicker halo."""


Params = Affinities


@dataclass(frozen=True)
class _Channel:
    """One channel on its way from the file to its array."""

    offset: Triple
    direct: bool
    source: Volume
    target: Array


def stamp(p: Affinities) -> str:
    """Sizes and ages of the input's files: if it changes while a run is stopped, the run starts afresh."""
    return fingerprint(Path(p.path))


def open_channels(p: Affinities) -> list[Volume]:
    """The volume of each offset; reads metadata only. Raises `BadInput` where offsets do not fit the file."""
    first = open_volume(_source(p, p.channel))
    found = first.reader.shape[first.axes.index("c")] if "c" in first.axes else 1
    if found < p.channel + len(p.offsets):
        raise BadInput(
            f"{p.path}: found {found} channels (axes {first.axes}), expected at least "
            f"{p.channel + len(p.offsets)}: one for each of {len(p.offsets)} offsets from channel "
            f"{p.channel} on; drop offsets or give other axes"
        )
    require_direct(p.offsets, first.shape, p.path)
    return [first, *(open_volume(_source(p, p.channel + k)) for k in range(1, len(p.offsets)))]


def boundaries_block(
    direct: Sequence[NDArray[np.uint8]], offsets: Sequence[Triple], crop: Box
) -> NDArray[np.uint8]:
    """Boundary probability x 255 of a core from the channels of direct neighbours with a halo of one voxel.

    The halo may be cut at the end of the volume, and nowhere else.
    """
    z, y, x = direct[0].shape
    return boundary_map(direct, offsets, (z, y, x))[crop]


def demand(like: Fitted, dtype: DTypeLike, offsets: Steps) -> Demand:
    """A channel of a block in the file's type and converted, those of direct neighbours as bytes."""
    grid = like.grid(HALO)
    direct = int(is_direct(offsets).sum())
    per_voxel = 4 * np.dtype(dtype).itemsize + 12 + direct
    return Demand(
        tasks=len(grid),
        worker_bytes=int(np.prod(grid.largest_outer)) * per_voxel,
        disk_bytes=int(np.prod(like.shape)) * (7 * len(offsets) + 8) // 7,
    )


def run(context: Context, p: Affinities) -> dict[str, Any]:
    """Write the channels `0`, `1`, ... and `boundaries` with its pyramid; the result has the offsets."""
    like = context.fitted()
    volumes = open_channels(p)
    channels = [
        _Channel(
            step, bool(direct), volume, store.open_or_create(context.output(str(k)), like, "u1", "intensity")
        )
        for k, (step, direct, volume) in enumerate(zip(p.offsets, is_direct(p.offsets), volumes, strict=True))
    ]
    target = context.create("boundaries", like, np.uint8, "intensity")
    task = partial(_task, channels=channels, target=target, path=p.path)
    parts = context.map("blocks", task, like.grid(HALO))
    if volumes[0].dtype.kind != "f" and max(part["max"] for part in parts) <= 1:
        raise BadInput(
            f"affinities {p.path}: found {volumes[0].dtype} values that all mean at most 1/255, expected "
            "affinities 0 to 1 as float or 0 to 255 as uint8; multiply binary ones by 255"
        )
    context.pyramid("boundaries")
    mean = sum(part["sum"] for part in parts) / 255 / np.prod(like.shape)
    return {
        "offsets": [list(step) for step in p.offsets],
        "mean": round(float(mean), 6),
        "checksum": store.checksum(parts),
        "channel_checksums": [
            store.checksum([{"crc": part["crcs"][k]} for part in parts]) for k in range(len(channels))
        ],
    }


def _task(block: Block, channels: Sequence[_Channel], target: Target, path: str) -> dict[str, Any]:
    direct, crcs, highest = [], [], 0
    for k, channel in enumerate(channels):
        box = block.outer if channel.direct else block.core
        values = _read(channel.source, box, f"affinities {path}, offset {k} {list(channel.offset)}")
        if channel.direct:
            direct.append(values)
            values = values[block.crop]
        crcs.append(store.write_block(channel.target, block.core, values))
        highest = max(highest, int(values.max()))
    steps = [channel.offset for channel in channels if channel.direct]
    boundaries = boundaries_block(direct, steps, block.crop)
    crc = target.write(block.core, boundaries)
    return {"crc": crc, "crcs": crcs, "max": highest, "sum": int(boundaries.sum(dtype=np.int64))}


def _read(source: Volume, box: Box, where: str) -> NDArray[np.uint8]:
    corner = (box[0].start, box[1].start, box[2].start)
    values = source.read(box)
    try:
        require_finite(values, corner)
        return probabilities(values)
    except BadInput as error:
        raise BadInput(f"{where}, box at {corner}: {error}") from error


def _source(p: Affinities, channel: int) -> Source:
    return Source(**{**p.model_dump(exclude={"offsets"}), "channel": channel})
