"""Open one volume of any known format, and read boxes of it in z, y, x."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from os.path import expanduser
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, Triple
from cellflow.core.schema import Schema, Voxel3
from cellflow.engine.formats import tiff, zarr_array
from cellflow.engine.formats.hdf5 import open_hdf5
from cellflow.engine.formats.stored import Reader, Stored, opening, reason
from cellflow.engine.formats.tiff_folder import open_tiff_folder

_HDF5 = (".h5", ".hdf5", ".hdf", ".ims")
_DEFAULT_AXES = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}


class Source(Schema):
    """Where a volume is: a file or folder, and which part of it."""

    path: Annotated[str, AfterValidator(expanduser)]
    """HDF5, Zarr, OME-Zarr or TIFF file, or a folder of 2D TIFF slices."""
    dataset: str | None = None
    """Array inside an HDF5 or Zarr file; may be left out if the file holds exactly one."""
    axes: str | None = None
    """One letter per dimension, of t c z y x. Default: what the file says, else yx, zyx, czyx, tczyx."""
    channel: int = 0
    """Which channel to read, counted from 0."""
    timepoint: int = 0
    """Which time point to read, counted from 0."""
    voxel_size_um: Voxel3 | None = None
    """Size of a voxel along z, y, x in micrometres. Default: what the file says."""


@dataclass(frozen=True)
class Volume:
    """One channel and time point of a file as a z, y, x array that is read box by box.

    Holds no open file: it pickles to a few hundred bytes and opens the file, once per process, where
    it reads. A 2D image is a volume of one plane.
    """

    reader: Reader
    axes: str
    """Axes of the array in the file."""
    channel: int
    timepoint: int
    shape: Triple
    dtype: np.dtype[Any]
    """In native byte order; uint8 for booleans."""
    voxel_size_um: tuple[float, float, float] | None
    """Along z, y, x; None where neither the file nor the user says. In 2D, z repeats y."""

    def read(self, box: Box) -> NDArray[Any]:
        """A new C-ordered (z, y, x) array of the voxels in `box`, which must lie inside the volume.

        Costs memory for the box and for the chunks, strips or tiles it touches, a few at a time. Raises
        `ValueError` for a box that leaves the volume, `OSError` if the file cannot be read there.
        """
        z, y, x = (self._bounds(s, axis, n) for s, axis, n in zip(box, "zyx", self.shape, strict=True))
        shape = tuple(s.stop - s.start for s in (z, y, x))
        if 0 in shape:
            return np.empty(shape, self.dtype)
        one = {"t": self.timepoint, "c": self.channel}
        extents = {"z": z, "y": y, "x": x, **{a: slice(i, i + 1) for a, i in one.items()}}
        try:
            found = self.reader.read(tuple(extents[a] for a in self.axes))
        except MemoryError:
            raise
        except Exception as error:
            where = ", ".join(f"{a} {s.start}:{s.stop}" for a, s in zip("zyx", (z, y, x), strict=True))
            raise OSError(f"{self.reader.path}: cannot read {where}: {reason(error)}") from error
        ordered = found.transpose([self.axes.index(a) for a in "tczyx" if a in self.axes])
        return np.ascontiguousarray(ordered.reshape(shape), self.dtype)

    @staticmethod
    def _bounds(s: slice, axis: str, n: int) -> slice:
        start, stop = s.start or 0, n if s.stop is None else s.stop
        if s.step not in (None, 1) or not 0 <= start <= stop <= n:
            raise ValueError(f"box {s} along {axis} does not lie in a volume of {n} voxels")
        return slice(int(start), int(stop))


def open_volume(source: Source) -> Volume:
    """The volume that a source names; reads metadata only.

    Raises `BadInput`, one line, for anything that cannot be read as a numeric volume: file or dataset
    missing, unreadable, damaged or not what its name says; axes, channel or time point that do not fit.
    """
    path = Path(source.path).absolute()
    stored = _opener(path, source.dataset)(path, source.dataset)
    where = f"{path}: dataset {source.dataset}" if source.dataset else str(path)
    axes = _axes(source.axes, stored, where)
    size = dict(zip(axes, stored.reader.shape, strict=True))
    for axis, index, name in (("c", source.channel, "channel"), ("t", source.timepoint, "timepoint")):
        if not 0 <= index < size.get(axis, 1):
            raise BadInput(
                f"{where}: {name} {index} is out of range; axes {axes} of shape {stored.reader.shape} have "
                f"{name}s 0 to {size.get(axis, 1) - 1}."
            )
    return Volume(
        reader=stored.reader,
        axes=axes,
        channel=source.channel,
        timepoint=source.timepoint,
        shape=(size.get("z", 1), size["y"], size["x"]),
        dtype=_dtype(stored.reader.dtype, where),
        voxel_size_um=source.voxel_size_um or _voxel_um(axes, stored.spatial_um),
    )


def _opener(path: Path, dataset: str | None) -> Callable[[Path, Any], Stored]:
    with opening(path, "a file"):
        if not path.exists():
            raise BadInput(
                f"{path}: does not exist. Check the path (a relative one starts at the working folder)."
            )
        zarr_folder = path.is_dir() and (path.suffix == ".zarr" or zarr_array.is_zarr(path))
        is_folder = path.is_dir()
    if zarr_folder:
        return zarr_array.open_zarr
    suffix = path.suffix.lower()
    if not is_folder and suffix in _HDF5:
        return open_hdf5
    if not is_folder and suffix not in tiff.SUFFIXES:
        known = " ".join((*_HDF5, *tiff.SUFFIXES))
        raise BadInput(
            f"{path}: unknown format {suffix or '(no suffix)'}; expected {known}, "
            "a .zarr folder, or a folder of TIFF slices."
        )
    if dataset is not None:
        raise BadInput(
            f"{path}: dataset {dataset!r} was given, but TIFF files have none. Leave `dataset` out."
        )
    return open_tiff_folder if is_folder else tiff.open_tiff


def _axes(given: str | None, stored: Stored, where: str) -> str:
    """The user's axes, else the file's, else by the number of dimensions; checked against the array."""
    shape = stored.reader.shape
    axes = given or stored.axes or _DEFAULT_AXES.get(len(shape))
    if axes is None:
        raise BadInput(f"{where}: shape {shape} has {len(shape)} dimensions, expected 2 to 5.")
    if wrong := sorted(set(axes) - set("tczyx")):
        raise BadInput(f"{where}: axes {axes!r} contain {', '.join(wrong)}; expected letters of t c z y x.")
    if repeated := [a for a, n in Counter(axes).items() if n > 1]:
        raise BadInput(f"{where}: axes {axes!r} repeat {', '.join(repeated)}. Give other `axes`.")
    if not {"y", "x"} <= set(axes):
        raise BadInput(f"{where}: axes {axes!r} lack y or x. Give other `axes`.")
    if len(axes) != len(shape):
        raise BadInput(
            f"{where}: axes {axes!r} are {len(axes)}, but shape {shape} has {len(shape)} dimensions."
        )
    if 0 in shape:
        raise BadInput(f"{where}: shape {shape} is empty.")
    return axes


def _dtype(dtype: np.dtype[Any], where: str) -> np.dtype[Any]:
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "iuf":
        raise BadInput(f"{where}: values are {dtype}, expected integers, floats or booleans.")
    return dtype.newbyteorder("=")


def _voxel_um(axes: str, sizes: tuple[float | None, ...]) -> tuple[float, float, float] | None:
    letters = [a for a in axes if a in "zyx"]
    if len(letters) != len(sizes):
        return None
    by_axis = dict(zip(letters, sizes, strict=True))
    z, y, x = by_axis.get("z", by_axis["y"]), by_axis["y"], by_axis["x"]
    return None if z is None or y is None or x is None else (z, y, x)
