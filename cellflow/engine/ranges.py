"""Tables of nodes in ranges of ids: each a task and a file, from the parts of the blocks that have rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class NodeRange:
    """Nodes `start` to `stop` (exclusive): one task of a merge, one file of a table."""

    id: int
    start: int
    stop: int
    blocks: dict[str, tuple[int, ...]]
    """By table, the blocks that have rows of the range: the files to open."""


def ends(ids: NDArray[np.uint64]) -> list[int]:
    """Smallest and largest id of a sorted column, so that a merge opens only the files it needs."""
    return [int(ids[0]), int(ids[-1])] if ids.size else [1, 0]


def node_ranges(total: int, seen: list[dict[str, Any]], length: int) -> list[NodeRange]:
    """Nodes 1 to `total` in ranges of this length; `seen` has for each block the `ends` of its tables."""
    found = {name: np.array([part[name] for part in seen]) for name in seen[0]}

    def blocks(name: str, start: int, stop: int) -> tuple[int, ...]:
        first, last = found[name].T
        return tuple(np.flatnonzero((first < stop) & (last >= start)).tolist())

    bounds = [(a, min(a + length, total + 1)) for a in range(1, total + 1, length)]
    return [
        NodeRange(i, a, b, {name: blocks(name, a, b) for name in found}) for i, (a, b) in enumerate(bounds)
    ]
