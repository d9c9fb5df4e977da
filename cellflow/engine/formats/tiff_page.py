"""A box of one TIFF page, without decoding the rest of the page."""

from threading import Lock
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.engine.formats.stored import Extent

_JPEG = (6, 7, 33007, 34892)
_LAYOUTS = ("YX", "YXS", "SYX")


def check_page(page: tifffile.TiffPage) -> None:
    """Raise `BadInput` for a page of a layout we do not read or with data beyond the end of the file."""
    file = page.parent.filehandle
    if page.keyframe.axes not in _LAYOUTS:
        raise BadInput(
            f"{file.path}: page has axes {page.keyframe.axes}, expected {', '.join(_LAYOUTS)}. "
            "Save the stack as ImageJ or OME-TIFF."
        )
    end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    if end > file.size:
        raise BadInput(f"{file.path}: is cut off: {file.size} bytes, but data up to {end}. Copy it again.")


def read_page(page: tifffile.TiffPage, extent: Extent, lock: Lock) -> NDArray[Any]:
    """The box of a page, in the order of its axes, decoding only the strips or tiles it touches.

    A map serves what lies in the file as it is; the lock guards the position of the shared file handle.
    """
    if page is None:
        raise OSError("a page of the image is missing from the file or from one of its companions")
    key = page.keyframe
    if key.is_memmappable and _in_one_piece(page):
        dtype = key.dtype.newbyteorder(page.parent.byteorder)
        mapped = np.memmap(page.parent.filehandle.path, dtype, "r", page.dataoffsets[0], key.shape)
        inside: NDArray[Any] = np.array(mapped[extent])
        return inside
    s, y, x = _three(key.axes, extent)
    out: NDArray[Any] = np.full([s.stop - s.start, y.stop - y.start, x.stop - x.start], key.nodata, key.dtype)
    planar = key.axes == "SYX"
    for number in range(len(page.dataoffsets)):
        _, (sample, _, top, left, _), (_, rows, columns, _) = key.decode(None, number)
        y0, y1 = max(y.start, top), min(y.stop, top + rows)
        x0, x1 = max(x.start, left), min(x.stop, left + columns)
        if y0 >= y1 or x0 >= x1 or (planar and not s.start <= sample < s.stop):
            continue
        data = _decoded(page, number, lock)
        if data is None:
            continue
        part = np.moveaxis(data[0, y0 - top : y1 - top, x0 - left : x1 - left], -1, 0)
        samples = slice(sample - s.start, sample - s.start + 1) if planar else slice(None)
        out[samples, y0 - y.start : y1 - y.start, x0 - x.start : x1 - x.start] = part if planar else part[s]
    ordered = out if planar else np.moveaxis(out, 0, -1)
    return ordered[..., 0] if key.axes == "YX" else ordered


def _decoded(page: tifffile.TiffPage, number: int, lock: Lock) -> NDArray[Any] | None:
    """Depth, rows, columns, samples of one strip or tile; None if the file leaves it out."""
    offset, count = page.dataoffsets[number], page.databytecounts[number]
    if count == 0:
        return None
    file = page.parent.filehandle
    with lock:
        if file.closed:  # companions of a multi-file OME-TIFF are closed after their headers were read
            file.open()
        file.seek(offset)
        data = file.read(count)
    if len(data) < count:
        raise OSError(f"the file ends inside strip or tile {number} of a page")
    tables = (
        {"jpegtables": page.jpegtables, "jpegheader": page.keyframe.jpegheader}
        if page.keyframe.compression in _JPEG
        else {}
    )
    decoded: NDArray[Any] = page.keyframe.decode(data, number, **tables)[0]
    return decoded


def _in_one_piece(page: tifffile.TiffPage) -> bool:
    offsets, counts = page.dataoffsets, page.databytecounts
    return all(o + n == following for o, n, following in zip(offsets, counts, offsets[1:], strict=False))


def _three(axes: str, extent: Extent) -> Extent:
    """The box along samples, y, x."""
    by_axis = dict(zip(axes, extent, strict=True))
    return by_axis.get("S", slice(0, 1)), by_axis["Y"], by_axis["X"]
