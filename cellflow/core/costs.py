"""What it costs to cut an edge, from its mean boundary probability.

Positive values attract, negative values repel, in both functions; turning `beta` up makes every
value smaller, so that more is cut.
"""

import numpy as np
from numpy.typing import NDArray

CLIP = 0.001  # probabilities are kept this far from 0 and 1, so that no single edge decides everything


def multicut_costs(
    boundary: NDArray[np.float64], beta: float, sizes: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Log-odds costs `(m,)` of cutting each edge: `log((1 - p) / p) + log((1 - beta) / beta)`.

    `boundary` is p, clipped to 0.001..0.999; an edge with `p + beta = 1` costs nothing. With `sizes`
    (voxel pairs, above 0) each cost is multiplied by size / largest size: large contacts count more,
    and no cost leaves the range of the unweighted ones. Source: Andres et al., ECCV 2012, and the
    weighting of PlantSeg (Wolny et al., eLife 2020).
    """
    p = np.clip(boundary, CLIP, 1 - CLIP)
    costs: NDArray[np.float64] = np.log1p(-p) - np.log(p) + np.log((1 - beta) / beta)
    if sizes is not None and sizes.size:
        costs *= sizes / sizes.max()
    return costs


def signed_weights(boundary: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Signed weights `(m,)` for agglomeration and mutex watershed: `(1 - boundary) - beta`."""
    return (1.0 - boundary) - beta
