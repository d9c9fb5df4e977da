"""Zarr v2 and v3 arrays, and the images of OME-Zarr 0.4 and 0.5 at full resolution."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.engine.formats.stored import (
    Extent,
    Stored,
    element_size_um,
    listed,
    only,
    opening,
    spatial_um,
    stamp,
)
from cellflow.engine.formats.units import micrometres

MARKERS = ("zarr.json", ".zarray", ".zgroup")
"""A folder that holds one of these is a Zarr array or group."""
_OME_KINDS = {"channel": "c", "time": "t"}


@dataclass(frozen=True)
class ZarrArray:
    """One array; only the chunks that touch the box are fetched."""

    path: str
    stamp: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, extent: Extent) -> NDArray[Any]:
        return np.asarray(_array(self.path, self.stamp)[extent])


def open_zarr(path: Path, dataset: str | None) -> Stored:
    """The array at a path or at `dataset` below it; of an OME-Zarr image group, level 0.

    Axes and voxel size come from the nearest OME metadata that lists the array, else from
    `dimension_names` (Zarr v3) and the attribute `element_size_um`.
    """
    with opening(path, "Zarr"):
        at = _array_path(path, (dataset or "").strip("/"))
        array = _array(str(at), stamp(at))
        reader = ZarrArray(str(at), stamp(at), array.shape, array.dtype)
        for above in islice(at.parents, 3):  # a level may lie deeper: scale0/image
            described = _ome(above, at.relative_to(above).as_posix())
            if described is not None:
                return Stored(reader, *described)
        return Stored(reader, _dimension_names(array), element_size_um(array.attrs))


@lru_cache(maxsize=16)
def _array(path: str, _stamp: int) -> zarr.Array[Any]:
    return zarr.open_array(path, mode="r")


def _array_path(path: Path, dataset: str) -> Path:
    at = path / dataset
    if not is_zarr(at):
        if not is_zarr(path):
            raise BadInput(f"{path}: is no Zarr array or group (it has none of {', '.join(MARKERS)}).")
        root = zarr.open(path, mode="r")
        if not isinstance(root, zarr.Group):
            raise BadInput(f"{path}: no dataset {dataset!r}; it is itself an array. Leave `dataset` out.")
        raise BadInput(f"{path}: no dataset {dataset!r}; it holds {listed(_arrays(root))}.")
    node = zarr.open(at, mode="r")
    if not isinstance(node, zarr.Group):
        return at
    multiscale = _multiscale(node)
    level = multiscale["datasets"][0]["path"] if multiscale else only(_arrays(node), str(at))
    if not is_zarr(at / level):
        raise BadInput(f"{at}: its OME metadata names level 0 {level!r}, which does not exist.")
    return at / level


def is_zarr(path: Path) -> bool:
    return any((path / marker).is_file() for marker in MARKERS)


def _arrays(group: zarr.Group) -> list[str]:
    nodes = group.members(max_depth=None)
    return [name for name, node in nodes if isinstance(node, zarr.Array) and node.ndim >= 2]


def _multiscale(group: zarr.Group) -> dict[str, Any] | None:
    attributes: dict[str, Any] = group.attrs.asdict()
    found = attributes.get("ome", attributes).get("multiscales")
    return found[0] if found else None


def _ome(folder: Path, level: str) -> tuple[str | None, tuple[float | None, ...]] | None:
    """Axes and voxel size of the array `level` of an OME image group, or None if it is none of its levels."""
    if not is_zarr(folder) or (folder / ".zarray").is_file():
        return None
    group = zarr.open(folder, mode="r")
    multiscale = _multiscale(group) if isinstance(group, zarr.Group) else None
    levels = [d for d in multiscale["datasets"] if d["path"] == level] if multiscale else []
    if not multiscale or not levels:
        return None
    # Before 0.4 axes were plain names, or absent and always t c z y x.
    given = multiscale.get("axes", list("tczyx"))
    axes = [a if isinstance(a, dict) else {"name": a} for a in given]
    letters = "".join(_OME_KINDS.get(a.get("type", ""), str(a["name"]).lower()[:1]) for a in axes)
    scale = np.multiply(_scale(levels[0], len(axes)), _scale(multiscale, len(axes)))
    sizes = {
        letter: size
        for letter, axis, step in zip(letters, axes, scale.tolist(), strict=False)
        if (size := micrometres(step, axis.get("unit"))) is not None
    }
    return letters, spatial_um(letters, sizes)


def _scale(described: dict[str, Any], n: int) -> list[float]:
    for transform in described.get("coordinateTransformations", []):
        if transform.get("type") == "scale" and "scale" in transform:
            return list(transform["scale"])
    return [1.0] * n


def _dimension_names(array: zarr.Array[Any]) -> str | None:
    names = getattr(array.metadata, "dimension_names", None)
    if not names or not all(isinstance(n, str) and n.lower() in set("tczyx") for n in names):
        return None
    return "".join(names).lower()
