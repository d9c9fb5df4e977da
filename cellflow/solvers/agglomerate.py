"""Agglomerate: merge the pair of segments with the weakest boundary, up to a threshold."""

from typing import Literal, Self

from cellflow.core.thresholds import Statistics, Threshold, number, resolved
from cellflow.solvers.agglomerating import Agglomerating, Rule


class Agglomerate(Agglomerating):
    """Hierarchical clustering of the segments, cut at a threshold.

    The two segments with the weakest boundary between them are merged first, their boundaries to others
    combined by `linkage`, as long as a boundary is below `threshold` (in steps of 2^-24); equal boundaries
    are taken in the order of the edges. Long-range pairs count once they are combined with an edge. About
    0.15 kB of memory per edge, one thread; 0.2 s per million edges. Source: as GASP with beta = 1 -
    threshold, Bailoni et al., CVPR 2022.
    """

    name: Literal["agglomerate"] = "agglomerate"
    threshold: Threshold = 0.5
    """Boundaries below this are merged: turning it up merges more. A boundary value, or a quantile of the
    edges such as q0.8: the boundary value that 80 % of the edges lie below."""
    linkage: Literal["mean", "max", "min"] = "mean"
    """The boundary of two segments: mean over their voxel pairs; max (of attraction: the weakest boundary of
    their edges, merges most); min (of attraction: the strongest, merges least)."""

    def resolved(self, seen: Statistics) -> Self:
        """The solver with a number for the threshold."""
        return self.model_copy(update={"threshold": resolved(self.threshold, seen.counts)})

    @property
    def rule(self) -> Rule:
        """A boundary below the threshold attracts."""
        return Rule(1.0 - number(self.threshold), self.linkage)

    @property
    def facts(self) -> dict[str, float]:
        """The number that the threshold is."""
        return {"threshold": number(self.threshold)}
