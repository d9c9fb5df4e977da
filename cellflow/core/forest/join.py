"""The forest of the whole volume: what the blocks left open is joined, small supervoxels are dissolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from cellflow.core.forest.block import BlockForest
from cellflow.core.forest.keys import ascending
from cellflow.core.forest.seams import (
    Nodes,
    OpenEdges,
    Settled,
    decide,
    look_up,
    open_edges,
    plateau_links,
    settle,
)
from cellflow.core.grid import Grid, Triple
from cellflow.core.morton import morton
from cellflow.core.union import root

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

CUBE = 64
"""Voxels a side; smaller than any block of a large volume."""


def supervoxel_tables(
    grid: Grid, parts: Mapping[int, BlockForest], min_size: int
) -> tuple[dict[int, U64], int]:
    """For each block the supervoxel of each component (row 0: 0), and the number of supervoxels.

    All steps in one process; a stage runs `plateau_links`, `settle` and `open_edges` block by block.
    """
    seeds = decide([plateau_links(grid, n, parts) for n in parts], min_size)
    found = {n: settle(grid, n, parts, seeds, min_size) for n in parts}
    settled = {n: own for n, (own, _) in found.items()}
    edges = [open_edges(grid, n, parts, settled) for n in parts]
    labels = join([nodes for _, nodes in found.values()], edges, min_size, grid.shape)
    return {n: table(own, labels) for n, own in settled.items()}, labels.count


@dataclass(frozen=True)
class Labels:
    """The supervoxel of every node, ascending."""

    node: U64
    label: U64
    """1..count in `compact_order` of the first voxels of the supervoxels."""
    count: int


def join(nodes: Sequence[Nodes], edges: Sequence[OpenEdges], min_size: int, shape: Triple) -> Labels:
    """Supervoxels of a volume of `shape` from all that its blocks left open; any order of the blocks.

    A supervoxel of fewer than `min_size` voxels loses its seed, and the others grow over its place in the
    same forest. Where no seed is left (an island of the mask) all is one supervoxel. Cost: a sort of the
    edges; about 60 B a node and 60 B an edge beyond them, never anything of the size of the volume.
    """
    node = _merged(nodes)
    a, b, key, pair = (
        np.concatenate([getattr(part, c) for part in edges]) for c in ("a", "b", "key", "pair")
    )
    order = ascending(key, pair)
    a, b = (look_up(node.node, ends[order])[0] for ends in (a, b))
    tree = _grow(a, b, node.seeded)
    size = np.zeros(node.size.size, np.int64)
    np.add.at(size, tree, node.size)
    large = node.certain | (node.seeded & (size[tree] >= min_size))
    if (node.seeded & ~large).any():
        tree = _grow(a, b, large)
    first = np.full(tree.size, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(first, tree, node.first)
    roots = np.flatnonzero(tree == np.arange(tree.size))
    label = np.zeros(tree.size, np.uint64)
    label[roots[compact_order(first[roots], shape)]] = np.arange(1, roots.size + 1, dtype=np.uint64)
    return Labels(node.node, label[tree], roots.size)


def compact_order(voxels: U64, shape: Triple) -> I64:
    """The order of voxels, given by index, cube by cube of `CUBE` a side along a Z-curve, C order inside.

    So a range of labels lies in a compact part of space, and a task that reads it meets few blocks. The
    cubes lie on a lattice of their own: blocks play no part.
    """
    z, y, x = np.unravel_index(voxels.astype(np.int64), shape)
    order: I64 = np.lexsort((voxels, morton(z // CUBE, y // CUBE, x // CUBE)))
    return order


def table(settled: Settled, labels: Labels) -> U64:
    """The supervoxel of every component of one block; 0 for component 0."""
    row, _ = look_up(labels.node, settled.node[1:])
    return np.append(np.zeros(1, np.uint64), labels.label[row])


def _merged(nodes: Sequence[Nodes]) -> Nodes:
    """Contributions of all blocks, each node once. Associative and exact."""
    names, inverse = np.unique(np.concatenate([part.node for part in nodes]), return_inverse=True)
    seeded, certain = np.zeros(names.size, bool), np.zeros(names.size, bool)
    size, first = np.zeros(names.size, np.int64), np.full(names.size, np.iinfo(np.uint64).max, np.uint64)
    seeded[inverse[np.concatenate([part.seeded for part in nodes])]] = True
    certain[inverse[np.concatenate([part.certain for part in nodes])]] = True
    np.add.at(size, inverse, np.concatenate([part.size for part in nodes]))
    np.minimum.at(first, inverse, np.concatenate([part.first for part in nodes]))
    return Nodes(names, seeded, certain, size, first)


@numba.njit(cache=True, nogil=True)
def _grow(a: I64, b: I64, seeded: Flags) -> I64:
    """The root of every node after joining along ascending edges, never two trees with seeds."""
    parent, holds = np.arange(seeded.size), seeded.copy()
    for row in range(a.size):
        one, two = root(parent, a[row]), root(parent, b[row])
        if one == two or (holds[one] and holds[two]):
            continue
        parent[max(one, two)] = min(one, two)
        holds[min(one, two)] = holds[one] | holds[two]
    for i in range(parent.size):
        parent[i] = root(parent, i)
    return parent
