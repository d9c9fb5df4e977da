"""Copy one input volume into the sample's OME-Zarr: checked, in one order of axes, with its pyramid.

Runs once for each volume of a sample: `raw`, `truth`, `boundaries`, `mask`, `nuclei`, `nuclei_probability`,
`nuclei_raw`.
The file is read block by block and never as a whole. Refused, with the place: NaN or infinite voxels, a
raw volume of nothing but zeros, negative labels, probabilities outside 0 to 1.
"""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cellflow.core.errors import BadInput
from cellflow.core.grid import Block, Triple
from cellflow.core.probabilities import probabilities, require_finite
from cellflow.core.schema import Schema
from cellflow.engine import store
from cellflow.engine.formats import Source, Volume, fingerprint, open_volume
from cellflow.engine.pyramid import Target
from cellflow.engine.stage import Context
from cellflow.engine.store import Demand, Fitted

Role = Literal["raw", "truth", "boundaries", "mask", "nuclei", "nuclei_probability", "nuclei_raw"]
LABELS = ("truth", "nuclei")
IMAGES = ("raw", "nuclei_raw")
PROBABILITIES = ("boundaries", "nuclei_probability")

PRIVATE = ("source",)
"""The receipt speaks of the voxels, by their checksum, not of where they lay."""


class Params(Schema):
    """Which volume, and what it is."""

    role: Role
    source: Source


def stamp(p: Params) -> str:
    """Sizes and ages of the input's files: if it changes while a run is stopped, the run starts afresh."""
    return fingerprint(Path(p.source.path))


def stored_dtype(role: Role, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type a volume is kept in: labels uint64, maps and masks uint8, raw as it is (float32 if float)."""
    if role in LABELS:
        return np.dtype(np.uint64)
    if role in (*PROBABILITIES, "mask"):
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if dtype.kind == "f" else dtype


def ingest_block(values: NDArray[Any], role: Role, corner: Triple = (0, 0, 0)) -> NDArray[Any]:
    """One block as it will be stored; its first voxel is `corner` of the volume.

    Raises `BadInput` for voxels that no later stage could use.
    """
    require_finite(values, corner)
    if role in LABELS:
        return _labels(values)
    if role == "mask":
        return np.asarray(values != 0, np.uint8)
    if role in PROBABILITIES:
        return probabilities(values)
    if values.dtype == np.float64 and np.abs(values).max(initial=0) > np.finfo(np.float32).max:
        raise BadInput(f"found {np.abs(values).max():.3g}, expected at most 3e38; scale the file")
    kept: NDArray[Any] = values.astype(stored_dtype(role, values.dtype))
    return kept


def _labels(values: NDArray[Any]) -> NDArray[np.uint64]:
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise BadInput("found fractions, expected whole numbers as labels; is this an intensity image?")
    if values.dtype.kind != "u" and values.size and values.min() < 0:
        raise BadInput(f"found label {values.min()}, expected labels >= 0; relabel the file")
    return values.astype(np.uint64)


def demand(like: Fitted, dtype: DTypeLike) -> Demand:
    """One block in the file's type and once converted; disk with the pyramid's eighth."""
    voxels = int(np.prod(like.grid().largest_core))
    size = np.dtype(dtype).itemsize
    return Demand(
        tasks=len(like.grid()),
        worker_bytes=voxels * (5 * size + 12),
        disk_bytes=int(np.prod(like.shape)) * size * 8 // 7,
    )


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write the volume and its pyramid; the result has shape, voxel size, dtype and the range of values."""
    source = open_volume(p.source)
    like = context.fitted(source.shape)
    dtype = stored_dtype(p.role, source.dtype)
    kind: store.Kind = "intensity" if p.role in (*IMAGES, *PROBABILITIES) else "labels"
    voxel = source.voxel_size_um or (1.0, 1.0, 1.0)
    if "ingest-raw" in context.job.after:  # one sample, one voxel size: the levels of all its images match
        voxel = context.voxel_um()
    target = context.create(p.role, like, dtype, kind, voxel)
    task = partial(_task, source=source, target=target, role=p.role, path=p.source.path)
    parts = context.map("blocks", task, like.grid())
    low, high = min(part["min"] for part in parts), max(part["max"] for part in parts)
    if p.role in (*IMAGES, "mask") and low == high == 0:
        raise BadInput(
            f"{p.role} {p.source.path}: every voxel is 0, expected an image; is the dataset right?"
        )
    if p.role in PROBABILITIES and source.dtype.kind != "f" and high <= 1:
        raise BadInput(
            f"{p.role} {p.source.path}: found {source.dtype} values that all mean at most 1/255, expected "
            "probabilities 0 to 1 as float or 0 to 255 as uint8; multiply a binary map by 255"
        )
    context.pyramid(p.role)
    return {
        "role": p.role,
        "shape": list(source.shape),
        "voxel_size_um": list(voxel),
        "voxel_size_known": source.voxel_size_um is not None,
        "dtype": str(source.dtype),
        "min": low,
        "max": high,
        "checksum": store.checksum(parts),
    }


def _task(block: Block, source: Volume, target: Target, role: Role, path: str) -> dict[str, Any]:
    corner = (block.core[0].start, block.core[1].start, block.core[2].start)
    try:
        values = ingest_block(source.read(block.core), role, corner)
    except BadInput as error:
        raise BadInput(f"{role} {path}, block at {corner}: {error}") from error
    return {
        "crc": target.write(block.core, values),
        "min": values.min().item(),
        "max": values.max().item(),
    }
