"""Labels of which only some cells are learnt from, as a table says."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, Triple
from cellflow.engine.formats import Volume

OTHER_CELLS = 2**63
"""What the labels of all other cells become: only their border with a picked cell is known."""


@dataclass(frozen=True)
class Picked:
    """A label volume whose cells that were not picked are one."""

    volume: Volume
    cells: NDArray[np.uint64]

    @property
    def shape(self) -> Triple:
        """That of the volume."""
        return self.volume.shape

    def read(self, box: Box) -> NDArray[Any]:
        """uint64."""
        found = self.volume.read(box).astype(np.uint64)
        return np.where(np.isin(found, self.cells), found, np.uint64(OTHER_CELLS))


def picked(volume: Volume, table: str) -> Picked:
    """The volume with the cells that the table has a 1 for in its column `picked`.

    Raises `BadInput` for a table that is missing, has no such columns or other values in them, or picks none.
    """
    try:
        rows = list(csv.DictReader(Path(table).read_text().splitlines()))
        chosen = [int(row["cell"]) for row in rows if {"0": False, "1": True}[row["picked"].strip()]]
    except OSError as error:
        raise BadInput(f"{table}: cannot be read: {error.strerror}; check the path") from error
    except (KeyError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{table}: found {error} where a number of a cell, or 0 or 1, was expected; it needs the columns "
            "cell and picked"
        ) from error
    if not chosen:
        raise BadInput(f"{table}: found no cell that is picked, expected some; set 1 in its column picked")
    return Picked(volume, np.array(sorted(chosen), np.uint64))
