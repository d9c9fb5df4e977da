"""The table of cells that a user may edit between two rounds."""

import numpy as np
from numpy.typing import NDArray

from cellflow.stages.pick.cells import Cells

COLUMNS = ("cell", "voxels", "z", "y", "x", "weakest", "face", "inside", "picked")
"""Number in the label array, size, centre in voxels, measures, whether it is learnt from."""


def picks_csv(cells: Cells, picked: NDArray[np.bool_]) -> str:
    """A row a cell, the surest first; numbers in four digits."""
    centre = _centres(cells)
    lines = [",".join(COLUMNS)]
    for i in np.argsort(-cells.weakest, kind="stable"):
        at = ",".join(str(round(float(c))) for c in centre[i])
        measures = ",".join(f"{values[i]:.4f}" for values in (cells.weakest, cells.face, cells.inside))
        lines.append(f"{i + 1},{cells.size[i]},{at},{measures},{int(picked[i])}")
    return "\n".join(lines) + "\n"


def _centres(cells: Cells) -> NDArray[np.float64]:
    flat = cells.labels.ravel().astype(np.int64)
    sums = np.empty((cells.size.size, 3))
    for axis, n in enumerate(cells.labels.shape):
        along = np.arange(n, dtype=np.float64).reshape([-1 if a == axis else 1 for a in range(3)])
        weights = np.broadcast_to(along, cells.labels.shape).ravel()
        sums[:, axis] = np.bincount(flat, weights, cells.size.size + 1)[1:]
    return sums / cells.size[:, None]
