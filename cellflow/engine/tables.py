"""The graph on disk: one file a range of nodes, of which a stage loads the columns and rows that it needs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.grid import Triple
from cellflow.core.nodes import NodeTable, at_border
from cellflow.core.nuclei import Held
from cellflow.engine.parts import load_part

NODES_PER_RANGE = 1 << 12
"""About 10 MB of rows a range: a merge is a task like any other, and must not need more than a block."""


def load_touching(
    table: Path, ranges: int, names: Iterable[str], flagged: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Columns of the edges that touch a flagged node, with their `edges` as rows of nodes, from 0.

    `flagged[i]` is node i + 1. Memory: one range, and what is found.
    """
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in ("edges", *names)}
    for i in range(ranges):
        columns = load_columns(table, "edges", found, [i])
        columns["edges"] = columns["edges"].astype(np.int64) - 1
        rows = flagged[columns["edges"]].any(axis=1)
        for name, parts in found.items():
            parts.append(columns[name][rows])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def load_sizes(table: Path, ranges: int, shape: Triple) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Voxels of every node, and whether it reaches the border of the volume; 9 B a node in memory."""
    sizes, border = [], []
    for i in range(ranges):
        nodes = NodeTable(**load_part(table / "nodes", i))
        sizes.append(nodes.size)
        border.append(at_border(nodes, shape))
    return np.concatenate(sizes), np.concatenate(border)


def load_columns(
    table: Path, what: str, names: Iterable[str], ranges: Iterable[int]
) -> dict[str, NDArray[Any]]:
    """Some columns of `edges`, `long_range` or `nodes` in some ranges, one after the other."""
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for i in ranges:
        with np.load(table / what / f"{i}.npz", allow_pickle=False) as file:
            for name, parts in found.items():
                parts.append(file[name])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def load_nuclei(table: Path, ranges: int) -> Held:
    """What every supervoxel holds, in memory, in the order of the nodes; from the table of stage `nuclei`."""
    return Held(**_stack(table, "nuclei", ranges))


def load_nucleus(table: Path, nodes_per_range: int, ids: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The nucleus of some supervoxels, `ids` ascending: the ranges that they lie in are read, one by one."""
    found, at = np.zeros(ids.size, np.uint64), (ids - 1) // nodes_per_range
    bounds = np.searchsorted(at, np.arange(at[-1] + 2)) if ids.size else np.zeros(1, np.int64)
    for i in np.flatnonzero(np.diff(bounds)).tolist():
        own = slice(bounds[i], bounds[i + 1])
        nucleus = load_columns(table, "nuclei", ("nucleus",), [i])["nucleus"]
        found[own] = nucleus[ids[own] - 1 - i * nodes_per_range]
    return found


def _stack(table: Path, what: str, ranges: int) -> dict[str, NDArray[Any]]:
    found = [load_part(table / what, i) for i in range(ranges)]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
