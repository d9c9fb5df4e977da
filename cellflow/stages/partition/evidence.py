"""What a solver is told of a graph, read from its table: the whole, or the edges of some ranges of nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellflow.core.graphs import Graph
from cellflow.engine.tables import load_columns


@dataclass(frozen=True)
class Table:
    """The table of a graph on disk, and what stands for the boundary of an edge."""

    path: Path
    nodes: int
    starts: list[int]
    """The first node of each range."""
    quantile: int | None
    """The quantile of this place in the table; None: the mean."""
    long_range: bool
    """Whether there are pairs that need not touch."""

    @property
    def ranges(self) -> int:
        """How many ranges there are, each a file."""
        return len(self.starts)

    def graph(self, ranges: Sequence[int] | None = None) -> Graph:
        """The edges whose smaller node lies in these ranges, all by default; nodes count from 0."""
        wanted = range(self.ranges) if ranges is None else ranges
        further = self._pairs("long_range", wanted) if self.long_range else None
        return self._pairs("edges", wanted, further)

    def _pairs(self, name: str, ranges: Sequence[int], further: Graph | None = None) -> Graph:
        column = "mean" if self.quantile is None else "quantiles"
        found = load_columns(self.path, name, ("edges", "size", column), ranges)
        values = found[column] if self.quantile is None else found[column][:, self.quantile]
        boundary = np.ascontiguousarray(values, np.float64)
        edges = found["edges"].astype(np.int64)
        edges -= 1
        return Graph(self.nodes, edges, boundary, found["size"].astype(np.float64), further)
