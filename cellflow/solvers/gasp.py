"""GASP: merge the most attractive pair of segments until nothing attracts."""

from typing import Literal, Self

from cellflow.core.linkage import Linkage
from cellflow.core.thresholds import Beta, Statistics, number, resolved_beta
from cellflow.solvers.agglomerating import Agglomerating, Rule


class Gasp(Agglomerating):
    """Generalised agglomeration of a signed graph.

    An edge weighs `(1 - boundary) - beta`, in steps of 2^-24. The edge of the largest positive weight is
    contracted, parallel edges are combined by `linkage`, until no positive weight is left; equal weights
    are taken in the order of the edges. Long-range pairs are evidence like edges, but are merged for only
    once they are combined with an edge. About 0.15 kB of memory per edge, one thread; 0.2 s (`mean`) to 1 s
    per million edges. Source: Bailoni et al., CVPR 2022.
    """

    name: Literal["gasp"] = "gasp"
    beta: Beta = 0.5
    """Pairs with a boundary above 1 - beta repel: turning it up merges less (over-segments). Or a quantile of
    the edges such as q0.8: pairs with a boundary above that of 80 % of them repel; turned up it merges
    more."""
    linkage: Linkage = "mean"
    """Weight of parallel edges: mean per voxel pair; sum over voxel pairs (as greedy multicut); max (single
    linkage, merges most); min (complete linkage, merges least); abs_max (as the mutex watershed)."""
    cannot_link: bool = False
    """Take repulsive edges by their strength too: the two segments of one that comes up are never merged,
    whatever attracts them later. Merges less."""

    def resolved(self, seen: Statistics) -> Self:
        """The solver with a number for beta."""
        return self.model_copy(update={"beta": resolved_beta(self.beta, seen.counts)})

    @property
    def rule(self) -> Rule:
        """As the parameters say."""
        return Rule(number(self.beta), self.linkage, self.cannot_link)

    @property
    def facts(self) -> dict[str, float]:
        """The number that beta is."""
        return {"beta": number(self.beta)}
