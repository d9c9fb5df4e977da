"""Probabilities as they are kept, in one byte: 255 is sure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple


def probabilities(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Probabilities times 255: a float map is 0 to 1 already, an integer map fills the range of its type.

    Raises `BadInput` for values outside that range. uint8 is handed back as it is, not copied.
    """
    if values.dtype == np.uint8:
        return values
    top = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
    if values.size and (values.min() < 0 or values.max() > top):
        raise BadInput(
            f"found {values.min()} to {values.max()}, expected probabilities 0 to 1 (float) or an "
            "unsigned type; give the volume as raw if it is an intensity image"
        )
    return np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8)


def require_finite(values: NDArray[Any], corner: Triple = (0, 0, 0)) -> None:
    """Raises `BadInput` with the place of the first NaN or infinity; the array begins at `corner`."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        at = np.argwhere(~np.isfinite(values))[0]
        place = tuple(int(i) for i in at + corner)
        raise BadInput(
            f"found {values[tuple(at)]} at z, y, x = {place}, expected finite numbers; mend the file"
        )
