"""The shards of our own volumes, read and written in the thread that asks.

zarr-python hands each chunk to other threads, and copies and compares it on its way: that takes several times
as long as to compress it. The format is the sharding codec of Zarr v3::

    | chunk | chunk | ... | where each chunk begins, how long it is | CRC-32C of this index |

Chunks are compressed one by one; those of nothing but zeros are left out, and so is a shard without chunks.
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import IO, Any

import google_crc32c
import numpy as np
from numcodecs import Blosc, Zstd, blosc
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, Triple, box_shape, within
from cellflow.engine import atomic

blosc.use_threads = False  # a stage scales by workers

LEFT_OUT = np.uint64(2**64 - 1)
SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")


@dataclass(frozen=True)
class Shards:
    """How a volume (z, y, x) lies in its files."""

    folder: Path
    shape: Triple
    shard: Triple
    chunk: Triple
    dtype: np.dtype[Any]
    codec: Any
    """Compresses a chunk."""

    def fit(self, box: Box) -> bool:
        """Whether a box is made of whole shards: only such are written."""
        axes = zip(box, self.shard, self.shape, strict=True)
        return all(s.start % n == 0 and (s.stop % n == 0 or s.stop == end) for s, n, end in axes)

    def read(self, box: Box) -> NDArray[Any]:
        """The voxels of a box. Raises `BadInput` where a file is damaged."""
        out, chunk = np.zeros(box_shape(box), self.dtype), np.empty(self.chunk, self.dtype)
        for at in _touched(box, self.shard):
            path = self._path(at)
            if not path.exists():
                continue
            inside = _common(_cell(at, self.shard), box)
            with path.open("rb") as file:
                index = self._index(file)
                for number in _touched(inside, self.chunk):
                    start, length = index[self._place(number)]
                    if start == LEFT_OUT:
                        continue
                    self._decode(os.pread(file.fileno(), int(length), int(start)), chunk, path)
                    cell = _cell(number, self.chunk)
                    part = _common(cell, inside)
                    out[within(part, box)] = chunk[within(part, cell)]
        return out

    def write(self, box: Box, data: NDArray[Any]) -> None:
        """Write a box of whole shards; each file is whole or absent, and flushed to disk."""
        for at in _touched(box, self.shard):
            part = _common(_cell(at, self.shard), box)
            self._write(self._path(at), part, data[within(part, box)])

    def _write(self, path: Path, box: Box, data: NDArray[Any]) -> None:
        index = np.full((*self._chunks, 2), LEFT_OUT, "<u8")
        chunk, packed, end = np.zeros(self.chunk, self.dtype), [], 0
        for number in _touched(box, self.chunk):
            cell = _cell(number, self.chunk)
            part = _common(cell, box)
            if part != cell:
                chunk[...] = 0
            chunk[within(part, cell)] = data[within(part, box)]
            if not chunk[0, 0, 0] and not chunk.any():
                continue
            packed.append(self.codec.encode(chunk))
            index[self._place(number)] = end, len(packed[-1])
            end += len(packed[-1])
        if not packed:
            path.unlink(missing_ok=True)
            return
        last = index.tobytes()
        packed += [last, google_crc32c.value(last).to_bytes(4, "little")]
        atomic.write(path, lambda file: file.writelines(packed))

    def _index(self, file: IO[bytes]) -> NDArray[np.uint64]:
        """(z, y, x, 2): start and length of each chunk."""
        shape = (*self._chunks, 2)
        size = 8 * int(np.prod(shape)) + 4
        file.seek(-min(size, file.seek(0, os.SEEK_END)), os.SEEK_END)
        found = file.read()
        if len(found) < size or google_crc32c.value(found[:-4]) != int.from_bytes(found[-4:], "little"):
            raise _damaged(file.name, "the CRC-32C of its index at its end")
        return np.frombuffer(found[:-4], "<u8").reshape(shape)

    def _decode(self, packed: bytes, chunk: NDArray[Any], path: Path) -> None:
        try:
            self.codec.decode(packed, chunk)
        except (RuntimeError, ValueError) as error:
            raise _damaged(path, f"chunks that can be decompressed ({error})") from error

    @property
    def _chunks(self) -> Triple:
        z, y, x = (n // c for n, c in zip(self.shard, self.chunk, strict=True))
        return z, y, x

    def _place(self, number: Triple) -> Triple:
        """Where a chunk of the volume stands in the index of its shard."""
        z, y, x = (k % n for k, n in zip(number, self._chunks, strict=True))
        return z, y, x

    def _path(self, at: Triple) -> Path:
        return self.folder.joinpath("c", *map(str, at))


def shards_of(folder: Path, metadata: dict[str, Any]) -> Shards | None:
    """The shards of an array with this `zarr.json`; None unless it is cut as our volumes are."""
    outer = metadata["codecs"]
    if len(metadata["shape"]) != 3 or [one["name"] for one in outer] != ["sharding_indexed"]:
        return None
    inner = outer[0]["configuration"]
    names = [one["name"] for one in (*inner["codecs"], *inner["index_codecs"])]
    little = inner["codecs"][0].get("configuration", {}).get("endian", "little") == sys.byteorder
    codec = _codec(inner["codecs"][-1])
    if names[:1] + names[2:] != ["bytes", "bytes", "crc32c"] or codec is None or not little:
        return None
    if inner["index_location"] != "end" or metadata["fill_value"] != 0:
        return None
    shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    (z, y, x), (sz, sy, sx), (cz, cy, cx) = metadata["shape"], shard, inner["chunk_shape"]
    dtype = np.dtype(metadata["data_type"])
    return Shards(folder, (z, y, x), (sz, sy, sx), (cz, cy, cx), dtype, codec)


def _damaged(file: Path | str, expected: str) -> BadInput:
    return BadInput(
        f"{file}: found a damaged shard, expected {expected}; remove the receipt (.json in the sample's "
        "folder) of the stage that wrote this volume, and run the same command again"
    )


def _codec(one: dict[str, Any]) -> Any:  # noqa: ANN401 - numcodecs has no types
    given = one.get("configuration", {})
    if one["name"] == "zstd":
        return Zstd(given["level"], given["checksum"])
    if one["name"] == "blosc":
        shuffle = SHUFFLES.index(given["shuffle"])
        return Blosc(given["cname"], given["clevel"], shuffle, given["blocksize"], given["typesize"])
    return None


def _touched(box: Box, side: Triple) -> Iterator[Triple]:
    """The cells of a lattice that a box reaches into."""
    yield from product(*(range(s.start // n, -(-s.stop // n)) for s, n in zip(box, side, strict=True)))


def _cell(at: Triple, side: Triple) -> Box:
    z, y, x = (slice(k * n, (k + 1) * n) for k, n in zip(at, side, strict=True))
    return z, y, x


def _common(a: Box, b: Box) -> Box:
    sides = zip(a, b, strict=True)
    z, y, x = (slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in sides)
    return z, y, x
