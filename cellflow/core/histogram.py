"""Statistics of a volume from histograms that add up over blocks: exact integer sums, in any order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 65536


class Bins:
    """Equal bins from `low` to `high`; one bin a value where an integer range allows it, exactly."""

    def __init__(self, low: float, high: float, *, integer: bool, most: int = BINS) -> None:
        exact = integer and high - low < most
        self.low, self.high, self.integer, self.most = low, high, integer, most
        self.n = int(high - low) + 1 if exact else most
        self.width = 1.0 if exact else max((high - low) / most, np.finfo(np.float64).tiny)
        self.offset = 0.0 if exact else 0.5
        """Where in its bin a value is taken to lie: the error is at most half a bin."""

    def count(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """How many values fall into each bin."""
        return np.bincount(self.place(values), minlength=self.n)

    def place(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The bin of each value, in one row; what lies outside is in the first or last."""
        if values.dtype.kind in "iu" and self.offset == 0:
            where = values.ravel().astype(np.int64) - int(self.low)
        else:
            where = ((values.ravel().astype(np.float64) - self.low) / self.width).astype(np.int64)
        return np.clip(where, 0, self.n - 1)

    def percentile(self, counts: NDArray[np.int64], percent: float) -> float:
        """The smallest value that at least `percent` of the voxels do not exceed (numpy's `inverted_cdf`)."""
        rank = max(1, int(np.ceil(percent / 100 * counts.sum())))
        return self._value(int(np.searchsorted(np.cumsum(counts), rank)))

    def mean_std(self, counts: NDArray[np.int64]) -> tuple[float, float]:
        """Mean and standard deviation of the values, each taken at its bin's place."""
        values = self.low + (np.arange(self.n) + self.offset) * self.width
        mean = float((counts * values).sum() / counts.sum())
        return mean, float(np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()))

    def standard(self, counts: NDArray[np.int64]) -> tuple[float, float]:
        """Offset and scale that bring the values to mean 0 and deviation 1; scale 1 if all are the same."""
        mean, deviation = self.mean_std(counts)
        return mean, deviation if deviation > 0 else 1.0

    def between(self, counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
        """Offset and scale that bring two percentiles to 0 and 1; scale 1 if they are the same."""
        offset = self.percentile(counts, low)
        scale = self.percentile(counts, high) - offset
        return offset, scale if scale > 0 else 1.0

    def _value(self, i: int) -> float:
        return float(self.low + (i + self.offset) * self.width)
