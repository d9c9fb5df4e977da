"""What solvers have in common that merge segments pair by pair: the steps of a graph that comes in parts.

1. `resolved` makes numbers of quantiles, by the sum of the histograms of all parts.
2. `interactions` of each part: all rows that touch its nodes.
3. `reduce` each part with the nodes of all others frozen.
4. `contracted` rows of each part, by the labels of all; each row taken from one part only.
5. `merged` rows of several parts: a larger part. From 3 again; at last without frozen nodes.

A graph at once takes the same steps, with one part.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from cellflow.core import interactions
from cellflow.core.agglomeration import Agglomeration, agglomerate
from cellflow.core.graphs import Graph, Partition, partition
from cellflow.core.interactions import Interactions
from cellflow.core.linkage import Linkage
from cellflow.core.schema import Schema
from cellflow.core.thresholds import Statistics, statistics

I64 = NDArray[np.int64]


class Rule(NamedTuple):
    """What a solver amounts to: edges attract by `(1 - boundary) - beta`."""

    beta: float
    linkage: Linkage
    cannot_link: bool = False


class Agglomerating(Schema, ABC):
    """A solver that merges pairs of segments, and can do so in the parts of a graph."""

    @abstractmethod
    def resolved(self, seen: Statistics) -> Self:
        """The solver with a number where it has a quantile of the edges."""

    @property
    @abstractmethod
    def rule(self) -> Rule:
        """How a resolved solver agglomerates; `BadInput` if it still has a quantile."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, float]:
        """What the receipt says of a resolved solver."""

    @property
    def combination(self) -> Linkage:
        """How the rows of equal pairs are combined."""
        return self.rule.linkage

    def interactions(self, graph: Graph, ranks: tuple[I64, I64] | None = None) -> Interactions:
        """The evidence of a graph; `ranks` of a part as `cellflow.core.interactions.of_graph` takes them."""
        return interactions.of_graph(graph, self.rule.beta, self.rule.linkage, ranks)

    def reduce(
        self, n_nodes: int, rows: Interactions, frozen: NDArray[np.bool_] | None = None
    ) -> Agglomeration:
        """All merges, or those that are certain while the nodes of other parts are frozen.

        The rows that come back, not those that went in, go on to `contracted`: of a part they may be
        forbidden by now.
        """
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
