"""What solvers have in common that merge segments pair by pair."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellflow.core import interactions
from cellflow.core.agglomeration import Agglomeration, agglomerate
from cellflow.core.graphs import Graph, Partition, partition
from cellflow.core.interactions import Interactions, Ranks
from cellflow.core.linkage import Linkage
from cellflow.core.thresholds import Statistics, statistics
from cellflow.solvers.stepwise import Stepwise

I64 = NDArray[np.int64]


class Rule(NamedTuple):
    """What a solver amounts to: edges attract by `(1 - boundary) - beta`."""

    beta: float
    linkage: Linkage
    cannot_link: bool = False


class Agglomerating(Stepwise):
    """A solver that merges pairs of segments, and can do so in the parts of a graph."""

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """How a resolved solver agglomerates; `BadInput` if it still has a quantile."""

    @property
    def combination(self) -> Linkage:
        """How the rows of equal pairs are combined."""
        return self.rule.linkage

    def interactions(
        self,
        graph: Graph,
        ranks: Ranks | None = None,
        seen: Statistics | None = None,  # noqa: ARG002 - a part needs no other
    ) -> Interactions:
        """As `cellflow.core.interactions.of_graph`."""
        return interactions.of_graph(graph, self.rule.beta, self.rule.linkage, ranks)

    def reduce(
        self, n_nodes: int, rows: Interactions, frozen: NDArray[np.bool_] | None = None
    ) -> Agglomeration:
        """As `Stepwise` says, and exactly: parts and the whole give the same, but for the linkage sum."""
        rule = self.rule
        return agglomerate(n_nodes, rows, rule.linkage, cannot_link=rule.cannot_link, frozen=frozen)

    def contracted(self, rows: Interactions, labels: I64) -> Interactions:
        """The rows between segments: node i is now number `labels[i]`."""
        return interactions.contracted(rows, labels, self.rule.linkage)

    def merged(self, parts: Sequence[Interactions]) -> Interactions:
        """The rows of all parts, those of equal pairs combined."""
        return interactions.merged(parts, self.rule.linkage)

    def __call__(self, graph: Graph) -> Partition:
        """Partition of `graph` in which nothing is left to merge."""
        solver = self.resolved(statistics(graph))
        rows = solver.interactions(graph)
        found = solver.reduce(graph.n_nodes, rows)
        repulsive = int(np.count_nonzero(rows.weight < 0))
        return partition(graph, found.labels, edges_repulsive=repulsive, **solver.facts)
