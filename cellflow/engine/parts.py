"""What a block hands back when it is too large for the journal: arrays in one file a block."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cellflow.engine.atomic import write
from cellflow.engine.blockwise import Item

Record = TypeVar("Record")


def save_part(folder: Path, block: int, arrays: dict[str, NDArray[Any]]) -> None:
    """Keep the arrays of one block; whole or absent, and the same again if written twice."""
    write(folder / f"{block}.npz", lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def save_packed(folder: Path, block: int, arrays: dict[str, NDArray[Any]]) -> None:
    """As `save_part`, deflated at the quickest level: about 60 MB of columns per CPU second."""

    def fill(file: IO[bytes]) -> None:
        with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=1) as packed:
            for name, array in arrays.items():
                with packed.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    npy.write_array(entry, np.asarray(array), allow_pickle=False)

    write(folder / f"{block}.npz", fill)


def load_part(folder: Path, block: int) -> dict[str, NDArray[Any]]:
    """The arrays that `save_part` or `save_packed` kept."""
    with np.load(folder / f"{block}.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


class SavedParts(Mapping[int, Record]):
    """The records that a pass saved, by block. Columns are read when asked for: a task that needs one
    plane of its neighbour reads that plane.
    """  # fmt: skip

    def __init__(self, _kind: type[Record], folder: Path, blocks: Iterable[Item]) -> None:
        self._folder = folder
        self._blocks = blocks
        self._open: dict[int, Record] = {}

    def __getitem__(self, block: int) -> Record:
        if block not in self._open:
            self._open[block] = cast("Record", _Columns(self._folder / f"{block}.npz"))
        return self._open[block]

    def __iter__(self) -> Iterator[int]:
        return (block.id for block in self._blocks)

    def __len__(self) -> int:
        return sum(1 for _ in self._blocks)


class _Columns:
    """Looks like the record whose columns a file holds."""

    def __init__(self, path: Path) -> None:
        self._file = np.load(path, allow_pickle=False)

    def __getattr__(self, name: str) -> NDArray[Any]:
        if name not in self._file.files:
            raise AttributeError(name)
        column: NDArray[Any] = self._file[name]
        setattr(self, name, column)
        return column
