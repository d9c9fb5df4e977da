"""Datasets in HDF5 files: plain, ilastik, BigDataViewer, Imaris."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.engine.formats.stored import Extent, Stored, element_size_um, listed, only, opening, stamp


@dataclass(frozen=True)
class Hdf5Array:
    """One dataset; only the chunks that touch the box are decompressed."""

    path: str
    dataset: str
    stamp: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, extent: Extent) -> NDArray[Any]:
        return np.asarray(_file(self.path, self.stamp)[self.dataset][extent])


def open_hdf5(path: Path, dataset: str | None) -> Stored:
    """The dataset of an HDF5 file, or its only one. Axes from ilastik's `axistags`."""
    with opening(path, "HDF5"):
        file = _file(str(path), stamp(path))
        name = _dataset(file, (dataset or "").strip("/"), path)
        array = file[name]
        _check_filters(array, f"{path}: dataset {name}")
        axes = _axistags(array.attrs.get("axistags"))
        reader = Hdf5Array(str(path), name, stamp(path), array.shape, array.dtype)
        return Stored(reader, axes, element_size_um(array.attrs))


@lru_cache(maxsize=4)
def _file(path: str, _stamp: int) -> h5py.File:
    # Many network file systems refuse locks; HDF5 would then refuse to open a file that we only read.
    return h5py.File(path, "r", locking="best-effort")


def _dataset(file: h5py.File, name: str, path: Path) -> str:
    if name and name not in file:
        raise BadInput(f"{path}: no dataset {name!r}; it holds {listed(_arrays(file))}.")
    node = file[name or "/"]
    if isinstance(node, h5py.Dataset):
        return name
    below = only(_arrays(node), f"{path}: group {name}" if name else str(path))
    return f"{name}/{below}" if name else below


def _arrays(group: h5py.Group) -> list[str]:
    found: list[str] = []

    def note(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 2:
            found.append(name)

    group.visititems(note)
    return found


def _check_filters(array: h5py.Dataset, where: str) -> None:
    plist = array.id.get_create_plist()
    for number in range(plist.get_nfilters()):
        code, _, _, name = plist.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise BadInput(
                f"{where}: is compressed with HDF5 filter {code} ({name.decode(errors='replace')}), which is "
                "not installed. Set HDF5_PLUGIN_PATH to the folder of that plugin, or rewrite with gzip."
            )


def _axistags(tags: object) -> str | None:
    if not isinstance(tags, str | bytes):
        return None
    return "".join(str(axis["key"])[:1] for axis in json.loads(tags)["axes"])
