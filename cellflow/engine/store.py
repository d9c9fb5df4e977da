"""Volumes on disk: chunked, sharded Zarr v3 arrays that blocks write without touching each other.

The write unit is the shard. Two tasks that write into one shard would lose each other's voxels, so a
block must be a union of shards; `Storage.fitted` refuses anything else.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from pydantic import Field
from zarr.codecs import BloscCodec, ZstdCodec

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, Grid, Triple
from cellflow.core.schema import Schema, Shape3
from cellflow.engine.shards import Shards, shards_of

# A stage scales by workers: with one thread each, a worker holds no chunks beyond the one it decodes, and
# workers do not wait for each other's threads.
zarr.config.set({"threading.max_workers": 1})

Kind = Literal["intensity", "labels", "scratch"]
"""What is stored: intensities, labels, or labels that are read once and thrown away."""


class Array(zarr.Array[Any]):  # type: ignore[misc] # zarr has no types here
    """A volume on disk; boxes of our own volumes are read without zarr-python (`shards`)."""

    @cached_property
    def files(self) -> Shards | None:
        """How it lies in its files, if it is one of ours."""
        root = Path(str(self.store_path.store.root), self.path)
        return shards_of(root, self.metadata.to_dict())

    def __getitem__(self, selection: Any) -> Any:  # noqa: ANN401 - as numpy has it
        """The selected voxels."""
        box = _whole(selection, self.shape)
        if box is None or self.files is None:
            return super().__getitem__(selection)
        return self.files.read(box)


class Storage(Schema):
    """How every volume of a run is cut: into blocks (one task each), shards (one file each), chunks."""

    block: Shape3 = (256, 256, 256)
    """Voxels that one task owns. Larger blocks need more memory and fewer halo reads."""
    shard: Shape3 | None = None
    """Voxels in one file; a block must be a multiple of it. Default: the block."""
    chunk: Shape3 = (64, 64, 64)
    """Voxels that are compressed together and read together by viewers; a shard must be a multiple."""

    def fitted(self, shape: Triple) -> "Fitted":
        """The same for a volume of this shape: nothing is larger than the volume. Raises `BadInput`."""
        shard = self.shard or self.block
        axes = [
            _fit_axis(axis, n, self.block[i], shard[i], self.chunk[i])
            for i, (axis, n) in enumerate(zip("zyx", shape, strict=True))
        ]
        (bz, sz, cz), (by, sy, cy), (bx, sx, cx) = axes
        return Fitted(shape, (bz, by, bx), (sz, sy, sx), (cz, cy, cx))


@dataclass(frozen=True)
class Fitted:
    """Block, shard and chunk of one volume."""

    shape: Triple
    block: Triple
    shard: Triple
    chunk: Triple

    def grid(self, halo: Triple = (0, 0, 0)) -> Grid:
        """The blocks of the volume, reading `halo` beyond their cores."""
        return Grid(self.shape, self.block, halo)


def _fit_axis(axis: str, n: int, block: int, shard: int, chunk: int) -> tuple[int, int, int]:
    for name, large, unit, small in (("block", block, "shard", shard), ("shard", shard, "chunk", chunk)):
        if large % small:
            raise BadInput(
                f"storage.{name} along {axis}: found {large}, expected a multiple of the {unit} ({small}); "
                f"two tasks would write into one file. Use {ceil(large / small) * small}"
            )
    chunk = min(chunk, n)
    return block, min(shard, ceil(n / chunk) * chunk), chunk


def create(path: Path, like: Fitted, dtype: DTypeLike, kind: Kind) -> Array:
    """A new array of the fitted shape at `path`; intensities in Blosc-LZ4, labels in Zstandard."""
    lz4 = BloscCodec(cname="lz4", clevel=5)
    codec = lz4 if kind == "intensity" else ZstdCodec(level=3 if kind == "labels" else 1)
    made = zarr.create_array(
        str(path),
        shape=like.shape,
        chunks=like.chunk,
        shards=like.shard,
        dtype=np.dtype(dtype),
        compressors=codec,
        fill_value=0,
        dimension_names=("z", "y", "x"),
        overwrite=True,
    )
    return Array(made.async_array)


def open_or_create(path: Path, like: Fitted, dtype: DTypeLike, kind: Kind) -> Array:
    """The array at `path` to write to: what is there of it from a stopped run, or a new one."""
    if (path / "zarr.json").exists():
        return Array(zarr.open_array(str(path), mode="r+").async_array)
    return create(path, like, dtype, kind)


def open_read(path: Path) -> Array:
    """The array at `path`, which nothing can change through it. Raises `BadInput` where there is none."""
    try:
        return Array(zarr.open_array(str(path), mode="r").async_array)
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise BadInput(f"volume {path}: found no Zarr array; run the stage that writes it") from error


def write_block(array: Array, box: Box, data: NDArray[Any]) -> int:
    """Write one core, flush it to disk and return its checksum (CRC-32C of the voxels in C order).

    Idempotent: the same block written twice, even at once, leaves the same bytes. The flush is what lets
    a journal line survive a power cut: the line is written after the data. Raises `ValueError` for a box that
    is not made of whole shards.
    """
    if array.read_only or array.files is None:
        raise ValueError(f"{array.store_path}: opened to read, or another's: not to be written to")
    if not array.files.fit(box):
        raise ValueError(f"{array.store_path}: found box {box}, expected whole shards of {array.shards}")
    data = np.ascontiguousarray(data, dtype=array.dtype)
    array.files.write(box, data)
    return int(google_crc32c.value(data.reshape(-1).view(np.uint8)))


def checksum(parts: list[dict[str, Any]]) -> str:
    """One number for a whole volume from the `crc` of its blocks in order."""
    return f"{google_crc32c.value(np.array([part['crc'] for part in parts], '<u4').tobytes()):08x}"


def _whole(selection: Any, shape: tuple[int, ...]) -> Box | None:  # noqa: ANN401 - as numpy takes it
    """The box that slices without steps select; None for anything else."""
    given = selection if isinstance(selection, tuple) else (selection,)
    if len(shape) != len(given) and len(given) != 1:
        return None
    slices = [*given, *[slice(None)] * (len(shape) - len(given))]
    if len(slices) != 3 or any(not isinstance(s, slice) or s.step not in (None, 1) for s in slices):
        return None
    ends = [s.indices(n)[:2] for s, n in zip(slices, shape, strict=True)]
    z, y, x = (slice(lo, max(lo, hi)) for lo, hi in ends)
    return z, y, x


class Demand(Schema):
    """What a stage will need, known before it runs."""

    tasks: int = Field(ge=0)
    most_workers: int | None = None
    """More than so many are not used."""
    worker_bytes: int = 0
    """Peak of one worker beyond the interpreter and its libraries."""
    main_bytes: int = 0
    """Peak of the stage's own process beyond the same."""
    disk_bytes: int = 0
    """Upper bound, without compression."""
