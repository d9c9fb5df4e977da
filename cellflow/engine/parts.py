"""What a block hands back when it is too large for the journal: arrays in one file a block."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.engine.atomic import write


def save_part(folder: Path, block: int, arrays: dict[str, NDArray[Any]]) -> None:
    """Keep the arrays of one block; whole or absent, and the same again if written twice."""
    write(folder / f"{block}.npz", lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def load_part(folder: Path, block: int) -> dict[str, NDArray[Any]]:
    """The arrays that `save_part` kept."""
    with np.load(folder / f"{block}.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
