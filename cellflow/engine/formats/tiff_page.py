"""A box of one TIFF page, without decoding the rest of the page."""

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.engine.formats.stored import Extent

_JPEG = (6, 7, 33007, 34892)
_LAYOUTS = ("YX", "YXS", "SYX")


def check_page(page: tifffile.TiffPage | None, path: Path) -> None:
    """Raise `BadInput` for a page that is missing, of a layout we do not read, or beyond the file's end."""
    if page is None:
        raise BadInput(f"{path}: its last page is missing. Put the other files of the OME-TIFF beside it.")
    if page.keyframe.axes not in _LAYOUTS:
        raise BadInput(
            f"{path}: page has axes {page.keyframe.axes}, expected {', '.join(_LAYOUTS)}. "
            "Save the stack as ImageJ or OME-TIFF."
        )
    size = page.parent.filehandle.size
    end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    if end > size:
        raise BadInput(f"{path}: is cut off: {size} bytes, but data up to {end}. Copy it again.")


def read_page(page: tifffile.TiffPage | None, extent: Extent, lock: Lock) -> NDArray[Any]:
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
    decoded = _from_segments(page, dict(zip(key.axes, extent, strict=True)), lock)
    if key.axes == "SYX":
        return decoded
    return np.moveaxis(decoded, 0, -1) if key.axes == "YXS" else decoded[0]


def _from_segments(page: tifffile.TiffPage, box: dict[str, slice], lock: Lock) -> NDArray[Any]:
    """Samples, y, x of the box; strips and tiles that the file leaves out hold its fill value."""
    key, y, x, s = page.keyframe, box["Y"], box["X"], box.get("S", slice(0, 1))
    shape = [a.stop - a.start for a in (s, y, x)]
    out: NDArray[Any] = np.full(shape, key.nodata, key.dtype)
    for number in range(len(page.dataoffsets)):
        _, (sample, _, top, left, _), (_, rows, columns, samples) = key.decode(None, number)
        s0, s1 = max(s.start, sample), min(s.stop, sample + samples)
        y0, y1 = max(y.start, top), min(y.stop, top + rows)
        x0, x1 = max(x.start, left), min(x.stop, left + columns)
        if s0 >= s1 or y0 >= y1 or x0 >= x1:
            continue
        data = _decoded(page, number, lock)
        if data is not None:
            part = data[0, y0 - top : y1 - top, x0 - left : x1 - left, s0 - sample : s1 - sample]
            target = (
                slice(s0 - s.start, s1 - s.start),
                slice(y0 - y.start, y1 - y.start),
                slice(x0 - x.start, x1 - x.start),
            )
            out[target] = np.moveaxis(part, -1, 0)
    return out


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
