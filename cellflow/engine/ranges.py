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


def touched(ids: NDArray[np.uint64], length: int) -> list[int]:
    """The ranges that a column of ids falls into, so that a merge opens only the files it needs."""
    found: list[int] = np.unique((ids[ids > 0] - np.uint64(1)) // np.uint64(length)).tolist()
    return found


def node_ranges(total: int, seen: list[dict[str, Any]], length: int) -> list[NodeRange]:
    """Nodes 1 to `total` in ranges of this length; `seen` has for each block what its tables `touched`."""
    starts = range(1, total + 1, length)
    blocks: list[dict[str, list[int]]] = [{name: [] for name in seen[0]} for _ in starts]
    for block, part in enumerate(seen):
        for name, ranges in part.items():
            for i in ranges:
                blocks[i][name].append(block)
    return [
        NodeRange(i, a, min(a + length, total + 1), {name: tuple(b) for name, b in known.items()})
        for i, (a, known) in enumerate(zip(starts, blocks, strict=True))
    ]
