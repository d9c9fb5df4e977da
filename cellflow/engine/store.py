"""Volumes on disk: chunked, sharded Zarr v3 arrays that blocks write without touching each other.

The write unit is the shard. Two tasks that write into one shard would lose each other's voxels, so a
block must be a union of shards; `Storage.fitted` refuses anything else.
"""

import os
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal, TypeAlias

import google_crc32c
import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from pydantic import Field
from zarr.codecs import BloscCodec, ZstdCodec

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, Grid, Triple
from cellflow.core.schema import Schema, Shape3
from cellflow.engine.atomic import flush_folder

# A stage scales by workers: with one thread each, a worker holds no chunks beyond the one it decodes, and
# workers do not wait for each other's threads.
zarr.config.set({"threading.max_workers": 1})

Kind = Literal["intensity", "labels", "scratch"]
"""What is stored: intensities, labels, or labels that are read once and thrown away."""
Array: TypeAlias = zarr.Array[Any]
"""A volume on disk."""


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
    return zarr.create_array(
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


def open_or_create(path: Path, like: Fitted, dtype: DTypeLike, kind: Kind) -> Array:
    """The array at `path` to write to: what is there of it from a stopped run, or a new one."""
    if (path / "zarr.json").exists():
        return zarr.open_array(str(path), mode="r+")
    return create(path, like, dtype, kind)


def open_read(path: Path) -> Array:
    """The array at `path`, which nothing can change through it. Raises `BadInput` where there is none."""
    try:
        return zarr.open_array(str(path), mode="r")
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise BadInput(f"volume {path}: found no Zarr array; run the stage that writes it") from error


def write_block(array: Array, box: Box, data: NDArray[Any]) -> int:
    """Write one core, flush it to disk and return its checksum (CRC-32C of the voxels in C order).

    Idempotent: the same block written twice, even at once, leaves the same bytes. The flush is what lets
    a journal line survive a power cut: the line is written after the data.
    """
    data = np.ascontiguousarray(data, dtype=array.dtype)
    _writing(array, data)[box] = data
    for file in _shard_files(array, box):
        if file.exists():  # a shard of nothing but zeros is not stored
            _flush_file(file)
    return int(google_crc32c.value(data.reshape(-1).view(np.uint8)))


def _writing(array: Array, data: NDArray[Any]) -> Array:
    """The array, told not to look for chunks of nothing but zeros where each chunk's first voxel is none.

    Zarr compares every voxel with 0 before it leaves out a chunk: a fifth of the time of writing labels.
    """
    z, y, x = array.chunks
    none_empty = bool(data[::z, ::y, ::x].all())
    return array.with_config({"write_empty_chunks": True}) if none_empty else array


def checksum(parts: list[dict[str, Any]]) -> str:
    """One number for a whole volume from the `crc` of its blocks in order."""
    return f"{google_crc32c.value(np.array([part['crc'] for part in parts], '<u4').tobytes()):08x}"


def _shard_files(array: Array, box: Box) -> list[Path]:
    unit = array.shards or array.chunks
    root = Path(str(array.store_path.store.root), array.path) / "c"
    ranges = [range(s.start // u, (s.stop - 1) // u + 1) for s, u in zip(box, unit, strict=True)]
    return [root / str(z) / str(y) / str(x) for z in ranges[0] for y in ranges[1] for x in ranges[2]]


def _flush_file(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    flush_folder(file.parent)


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
