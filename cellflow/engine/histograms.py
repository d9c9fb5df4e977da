"""Histograms of a whole volume, or of each of its slices, from one stage to a later one."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.histogram import Bins
from cellflow.engine.parts import load_part, save_part


def save_histograms(folder: Path, bins: Bins, counts: NDArray[np.int64]) -> None:
    """Keep the rows of `counts`, with their bins."""
    about = np.array([bins.low, bins.high, bins.integer, bins.most], np.float64)
    save_part(folder, 0, {"bins": about, "counts": counts})


def load_histograms(folder: Path) -> tuple[Bins, NDArray[np.int64]]:
    """What `save_histograms` kept. Raises `BadInput` where nothing was."""
    try:
        found = load_part(folder, 0)
    except FileNotFoundError as error:
        raise BadInput(f"{folder}: found no histograms; run the stage normalise again") from error
    low, high, integer, most = found["bins"].tolist()
    return Bins(low, high, integer=bool(integer), most=int(most)), found["counts"]
