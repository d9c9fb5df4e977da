"""Statistics of a whole volume: what its intensities are normalised with, in training as in use."""

import numpy as np

from cellflow.core.errors import BadInput
from cellflow.core.grid import Grid
from cellflow.core.histogram import BINS, Bins
from cellflow.networks.normalisation import Fixed, MeanStd, Normalisation
from cellflow.networks.training.patches import Readable

BLOCK = (64, 256, 256)


def offset_and_scale(volume: Readable, normalisation: Normalisation) -> tuple[float, float]:
    """The network sees (raw - offset) / scale. Two passes over the volume, a block at a time.

    Exact for integers of up to 65536 values, else to half a bin of 1 / 65536 of the range. The scale of a
    constant volume is 1. Raises `BadInput` for NaN and infinity.
    """
    if isinstance(normalisation, Fixed):
        return normalisation.offset, normalisation.scale
    low, high, integer = _range(volume)
    bins = Bins(low, high, integer=integer, most=BINS)
    counts = np.zeros(bins.n, np.int64)
    for block in Grid(volume.shape, BLOCK):
        counts += bins.count(volume.read(block.core))
    if isinstance(normalisation, MeanStd):
        offset, scale = bins.mean_std(counts)
    else:
        offset = bins.percentile(counts, normalisation.low)
        scale = bins.percentile(counts, normalisation.high) - offset
    return offset, scale if scale > 0 else 1.0


def _range(volume: Readable) -> tuple[float, float, bool]:
    lows, highs, integer = [], [], True
    for block in Grid(volume.shape, BLOCK):
        values = volume.read(block.core)
        lows.append(float(values.min()))
        highs.append(float(values.max()))
        integer = values.dtype.kind in "iu"
    if not np.isfinite([*lows, *highs]).all():
        raise BadInput("training: found NaN or infinity in raw, expected numbers; replace them")
    return min(lows), max(highs), integer
