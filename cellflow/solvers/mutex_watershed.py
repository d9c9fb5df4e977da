"""Mutex watershed on a graph: strong repulsions forbid merges that weaker attractions would make."""

from typing import Literal, Self

from cellflow.core.thresholds import Beta, Statistics, number, resolved_beta
from cellflow.solvers.agglomerating import Agglomerating, Rule


class MutexWatershed(Agglomerating):
    """Mutex watershed of a signed graph.

    An edge weighs `(1 - boundary) - beta`, in steps of 2^-24. Edges are taken by falling absolute weight,
    ties by their place in the graph: a positive one merges its two segments unless they are mutually
    exclusive, a negative one makes them so, a zero does nothing. Edge sizes play no part. A long-range
    pair that repels does so like an edge, one that attracts does once its segments touch. Computed as
    agglomeration by the strongest evidence, which is the same. About 0.15 kB of memory per edge, one
    thread; 0.5 s per million edges. Sources: Wolf et al., TPAMI 2020; Bailoni et al., CVPR 2022.
    """

    name: Literal["mutex_watershed"] = "mutex_watershed"
    beta: Beta = 0.5
    """Edges with a boundary above 1 - beta repel: turning it up cuts more (over-segments). Or a quantile of
    the edges such as q0.8: those with a boundary above that of 80 % of them repel; turned up it cuts less."""

    def resolved(self, seen: Statistics) -> Self:
        """The solver with a number for beta."""
        return self.model_copy(update={"beta": resolved_beta(self.beta, seen.counts)})

    @property
    def rule(self) -> Rule:
        """By the strongest evidence."""
        return Rule(number(self.beta), "abs_max")

    @property
    def facts(self) -> dict[str, float]:
        """The number that beta is."""
        return {"beta": number(self.beta)}
