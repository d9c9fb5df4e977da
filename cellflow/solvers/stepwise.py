"""What a solver has to offer so that a graph can come to it in parts.

1. `resolved` makes numbers of quantiles, by the statistics of the whole graph.
2. `interactions` of each part: all rows that touch its nodes.
3. `reduce` each part with the nodes of all others frozen; rows that become equal add up by `combination`.
4. `measured` of each part, once every node has its segment.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cellflow.core.agglomeration import Agglomeration
from cellflow.core.graphs import Graph
from cellflow.core.interactions import Interactions, Ranks
from cellflow.core.linkage import Linkage
from cellflow.core.schema import Schema
from cellflow.core.thresholds import Statistics

Flags = NDArray[np.bool_]


class Stepwise(Schema, ABC):
    """A solver of a whole graph, or of one that comes in parts."""

    lifts: ClassVar[bool] = False
    """Whether it looks at what nuclei say of pairs."""

    @abstractmethod
    def resolved(self, seen: Statistics) -> Self:
        """The solver with a number where it has a quantile of the edges."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, float]:
        """What the receipt says of a resolved solver."""

    @property
    @abstractmethod
    def combination(self) -> Linkage:
        """How the rows of equal pairs are combined."""

    @abstractmethod
    def interactions(
        self, graph: Graph, ranks: Ranks | None = None, seen: Statistics | None = None
    ) -> Interactions:
        """The evidence of a graph. Of a part: its `ranks` in the whole graph, and what is `seen` of that."""

    @abstractmethod
    def reduce(self, n_nodes: int, rows: Interactions, frozen: Flags | None = None) -> Agglomeration:
        """All merges, or those that are certain while the nodes of other parts are frozen.

        The rows that come back, not those that went in, go on to be contracted: of a part they may be
        forbidden by now.
        """

    def measured(self, rows: Interactions, labels: NDArray[np.integer]) -> dict[str, int]:  # noqa: ARG002
        """What there is to say of a part that has been solved; the numbers of all parts add up."""
        return {}

    def summary(self, measured: dict[str, int], seen: Statistics) -> dict[str, float]:  # noqa: ARG002
        """What the receipt says of the sums of `measured`; `seen` of the whole graph."""
        return {}
