"""TIFF stacks in one file: ImageJ, OME, plain; contiguous, in strips, in tiles."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.engine.formats.stored import Extent, Stored, opening, spatial_um, stamp
from cellflow.engine.formats.tiff_metadata import axes_of, sizes_um
from cellflow.engine.formats.tiff_page import check_page, read_page

SUFFIXES = (".tif", ".tiff", ".btf")
"""What counts as a TIFF file."""
_DESCRIPTION = 270


@dataclass(frozen=True)
class TiffStack:
    """The only image of a TIFF file. Contiguous data is read in place, anything else page by page.

    Of a page only the strips or tiles that touch the box are decompressed.
    """

    path: str
    stamp: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, extent: Extent) -> NDArray[Any]:
        opened = _file(self.path, self.stamp)
        mapped = _mapped(opened.series)
        if mapped is not None:
            return np.array(mapped[extent])
        ahead = self.shape[: len(self.shape) - opened.series.keyframe.ndim]
        out = np.empty([s.stop - s.start for s in extent], self.dtype)
        for index in product(*(range(s.start, s.stop) for s in extent[: len(ahead)])):
            number = int(np.ravel_multi_index(index, ahead)) if ahead else 0
            with opened.lock:
                page = opened.series[number]
            target = tuple(i - s.start for i, s in zip(index, extent, strict=False))
            out[target] = read_page(page, extent[len(ahead) :], opened.lock)
        return out


def open_tiff(path: Path, _dataset: None) -> Stored:
    """The image of a TIFF file. It must be the only one: a file of several is refused, not guessed at."""
    with opening(path, "TIFF"):
        opened = _file(str(path), stamp(path))
        series = opened.series
        last = prod(series.shape[: series.ndim - series.keyframe.ndim]) - 1
        if series.shape[series.ndim - series.keyframe.ndim :] != series.keyframe.shape:
            raise BadInput(f"{path}: a page is {series.keyframe.shape} inside an image of {series.shape}.")
        if _mapped(series) is None:
            check_page(series[last], path)
        axes = axes_of(series.axes)
        reader = TiffStack(str(path), stamp(path), series.shape, series.dtype)
        return Stored(reader, axes, spatial_um(axes, sizes_um(opened.file)))


@dataclass(frozen=True)
class _Opened:
    file: tifffile.TiffFile
    series: tifffile.TiffPageSeries
    lock: Lock


@lru_cache(maxsize=4)
def _file(path: str, _stamp: int) -> _Opened:
    file = tifffile.TiffFile(path)
    try:
        _check_complete(file, path)
        return _Opened(file, _only_image(file, path), Lock())
    except Exception:
        file.close()
        raise


def _only_image(file: tifffile.TiffFile, path: str) -> tifffile.TiffPageSeries:
    if len(file.series) != 1:
        shapes = ", ".join(str(s.shape) for s in file.series[:6])
        raise BadInput(
            f"{path}: holds {len(file.series)} images of shapes {shapes}; expected one. "
            "Save the one you want as a file of its own."
        )
    return file.series[0]


def _check_complete(file: tifffile.TiffFile, path: str) -> None:
    """Raise `BadInput` for a file that was cut off; tifffile drops the lost pages and metadata.

    Its last page points beyond its end, or its first page lists a description that could not be read.
    """
    handle, layout = file.filehandle, file.tiff
    pointer = file.pages.next_page_offset
    handle.seek(pointer or 0)
    following = handle.read(layout.offsetsize)
    lost_pages = pointer is not None and (len(following) < layout.offsetsize or any(following))
    page = file.pages.first
    handle.seek(page.offset)
    order: Literal["little", "big"] = "little" if file.byteorder == "<" else "big"
    count = int.from_bytes(handle.read(layout.tagnosize), order)
    entries = handle.read(count * layout.tagsize)
    codes = {int.from_bytes(entries[k : k + 2], order) for k in range(0, len(entries), layout.tagsize)}
    if lost_pages or (_DESCRIPTION in codes and _DESCRIPTION not in page.tags):
        raise BadInput(
            f"{path}: is cut off or damaged after page {len(file.pages)} ({handle.size} bytes). "
            "Copy it again."
        )


def _mapped(series: tifffile.TiffPageSeries) -> NDArray[Any] | None:
    """The image as a map of the file, or None if it is not stored in one piece.

    Mapped anew for every read: pages of a long-lived map count as memory of the worker.
    """
    if series.dataoffset is None:
        return None
    file = series.keyframe.parent
    dtype = series.dtype.newbyteorder(file.byteorder)
    return np.memmap(file.filehandle.path, dtype, "r", series.dataoffset, series.shape)
