"""What nuclei say of pairs of supervoxels, for a graph that comes in groups of ranges.

1. `look` has told which ranges lead to which others.
2. `count`: pairs by the steps between them, for each range of nodes; together they say how deep to go.
3. The pairs of a group are made where they are used, from the edges around it.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.graphs import Lifted
from cellflow.core.groups import Group
from cellflow.core.lifted import Neighbours, count_pairs, depth_within, neighbours, pairs_of
from cellflow.engine.stage import Context
from cellflow.engine.tables import load_nucleus
from cellflow.stages.partition.evidence import Table

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Nuclei:
    """The nuclei of all supervoxels on disk, and how far apart two of a pair may lie."""

    path: Path
    nodes_per_range: int
    depth: int
    into: tuple[tuple[int, ...], ...] = ()
    """For each range of the graph all that have edges of its nodes."""

    def pairs(self, table: Table, start: int, stop: int) -> Lifted:
        """The pairs whose smaller node is one of `start` to `stop`."""
        ids, near, nucleus = self._around(table, start, stop)
        found = pairs_of(near, nucleus, _place(ids, start, stop), self.depth)
        return Lifted(table.nodes, ids[found.edges], found.attraction)

    def counts(self, table: Table, batch: Group) -> list[list[int]]:
        """For each range of a batch how many pairs begin in it, by the steps between them."""
        ids, near, nucleus = self._around(table, batch.start, batch.stop)
        ends = [*(table.starts[i] for i in batch.members), batch.stop]
        return [count_pairs(near, nucleus, _place(ids, a, b), self.depth).tolist() for a, b in pairwise(ends)]

    def _around(self, table: Table, start: int, stop: int) -> tuple[I64, Neighbours, NDArray[np.uint64]]:
        """Nodes around some, ascending; the graph of them, by their places; the nucleus of each."""
        edges = table.around((start, stop), self.depth, self.into)
        ids, dense = np.unique(edges, return_inverse=True)
        nucleus = load_nucleus(self.path, self.nodes_per_range, ids + 1)
        return ids, neighbours(ids.size, dense.reshape(-1, 2)), nucleus


def deepest(
    context: Context, table: Table, nuclei: Nuclei, batches: list[Group], most: int
) -> tuple[Nuclei, I64]:
    """The nuclei with the depth at which there are at most so many pairs; the pairs of each range."""
    parts = context.map("count", partial(_count, table=table, nuclei=nuclei), batches)
    counts = np.array([row for part in parts for row in part["pairs"]], np.int64).reshape(-1, nuclei.depth)
    reached = depth_within(counts.sum(axis=0), most)
    return replace(nuclei, depth=reached), counts[:, :reached].sum(axis=1)


def _count(batch: Group, table: Table, nuclei: Nuclei) -> dict[str, Any]:
    return {"pairs": nuclei.counts(table, batch)}


def _place(ids: I64, start: int, stop: int) -> tuple[int, int]:
    """Where the nodes from `start` to `stop` lie among these."""
    a, b = np.searchsorted(ids, [start, stop]).tolist()
    return a, b
