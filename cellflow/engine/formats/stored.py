"""What every file format hands back: one array that reads boxes of itself, and what the file says of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cellflow.core.errors import BadInput

Extent = tuple[slice, ...]
"""One slice per dimension of the file's array, with plain bounds inside it."""


class Reader(Protocol):
    """An array inside a file. Holds a path and no open file, so it pickles to a few hundred bytes."""

    @property
    def path(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def read(self, extent: Extent) -> NDArray[Any]:
        """A part of the array, in the file's order of axes; no more than it is held in memory."""
        ...


@dataclass(frozen=True)
class Stored:
    """An array in a file as the file describes it."""

    reader: Reader
    axes: str | None
    """One letter of t c z y x per dimension, or None where the file does not say."""
    spatial_um: tuple[float | None, ...]
    """Voxel size along the spatial dimensions, in the order they have in the file; empty if unknown."""


@contextmanager
def opening(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever the libraries raise on a damaged file into one line of `BadInput`."""
    try:
        yield
    except (BadInput, MemoryError):
        raise
    except PermissionError as error:
        raise BadInput(f"{path}: no permission to read it. Ask its owner, or copy it.") from error
    except Exception as error:
        raise BadInput(
            f"{path}: cannot be read as {kind} ({reason(error)}). Check that the file is complete and is "
            "what its name says."
        ) from error


def reason(error: Exception) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def stamp(path: Path) -> int:
    """The time of the last change: with the path it names one state of a file, so a new file is re-opened."""
    return path.stat().st_mtime_ns


def only(candidates: Sequence[str], where: str) -> str:
    """The one name there is; `BadInput` lists the candidates if there are more or none."""
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise BadInput(f"{where}: holds no array of two or more dimensions.")
    raise BadInput(
        f"{where}: holds {len(candidates)} arrays: {listed(candidates)}. Name one of them as `dataset`."
    )


def listed(names: Sequence[str]) -> str:
    """Names for an error message, the first dozen of them."""
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(sorted(names)[:12]) + more if names else "no array"


def spatial_um(axes: str | None, size_um: dict[str, float]) -> tuple[float | None, ...]:
    """Sizes by axis letter, put in the order of the spatial letters of `axes`."""
    return tuple(size_um.get(a) for a in axes or "" if a in "zyx")


def element_size_um(attributes: Mapping[str, Any]) -> tuple[float | None, ...]:
    """Voxel size from the attribute `element_size_um` (ilastik, Fiji, PlantSeg): along the spatial axes.

    Empty if there is none of use. float32 0.1 is read as 0.1, not as 0.10000000149.
    """
    sizes = np.atleast_1d(np.asarray(attributes.get("element_size_um", ())))
    if sizes.dtype.kind not in "iuf" or sizes.ndim != 1 or not (np.isfinite(sizes) & (sizes > 0)).all():
        return ()
    return tuple(float(str(size)) for size in sizes)
