"""What a solver is told of a graph, read from its table: the whole, or the edges of some ranges of nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellflow.core.graphs import Graph
from cellflow.engine.tables import load_columns

I64 = NDArray[np.int64]


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

    def ranges_of(self, nodes: I64) -> list[int]:
        """The ranges that these nodes lie in."""
        found = np.searchsorted(self.starts, nodes, "right") - 1
        return np.flatnonzero(np.bincount(found, minlength=self.ranges)).tolist()

    def around(self, nodes: tuple[int, int], depth: int, into: Sequence[Sequence[int]]) -> I64:
        """(m, 2): the edges that fewer than `depth` steps lead to from nodes start to stop, each once.

        `into` has for each range all that have edges of its nodes. Ranges are read one after the other, once
        for each step; takes 2 B a node of the whole graph.
        """
        done, now = np.zeros(self.nodes, np.bool_), np.zeros(self.nodes, np.bool_)
        now[slice(*nodes)] = True
        found = [np.empty((0, 2), np.int64)]
        for _ in range(depth):
            before = len(found)
            for i in sorted({i for own in self.ranges_of(np.flatnonzero(now)) for i in into[own]}):
                edges = load_columns(self.path, "edges", ("edges",), [i])["edges"].astype(np.int64) - 1
                found.append(edges[now[edges].any(axis=1) & ~done[edges].any(axis=1)])
            done |= now
            now[np.concatenate([found[0], *found[before:]])] = True
            now &= ~done
        return np.concatenate(found)

    def _pairs(self, name: str, ranges: Sequence[int], further: Graph | None = None) -> Graph:
        column = "mean" if self.quantile is None else "quantiles"
        found = load_columns(self.path, name, ("edges", "size", column), ranges)
        values = found[column] if self.quantile is None else found[column][:, self.quantile]
        boundary = np.ascontiguousarray(values, np.float64)
        edges = found["edges"].astype(np.int64)
        edges -= 1
        return Graph(self.nodes, edges, boundary, found["size"].astype(np.float64), further)
