"""A region adjacency graph of any size with its exact truth, any range of its nodes computed alone.

Supervoxels are the points of a lattice, numbered along the Morton curve: consecutive ids are neighbours in
space, as they are after a volume was cut block by block (`core.lattice_contacts`). Cells are blobs of them
(`core.lattice`). The boundary probability of a contact is low inside a cell and high between two, with
noise, and with contacts that are undecided or plainly wrong.

Everything is a hash of the seed and of the ids it concerns: a range of nodes has the same bits whatever
else is made.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field, model_validator

from cellflow.core.edge_table import EdgeTable
from cellflow.core.errors import BadInput
from cellflow.core.graphs import Graph
from cellflow.core.lattice import CUBE, Lattice, lattice
from cellflow.core.lattice_contacts import SHARES, VOXELS, contacts, supervoxels
from cellflow.core.nodes import NodeTable
from cellflow.core.noise import mix, normal_table, stream_key
from cellflow.core.schema import Schema

EVIDENCE = 13
"""Stream of random numbers, beside those of `core.lattice_contacts`."""
INSIDE, BETWEEN = -0.75, 1.75
"""Evidence of a contact before noise: probabilities 0.2 and 0.93, as those of a good boundary map."""
SMALL = 32.0
"""Pairs of voxels of a contact that has one and a half times the noise of a large one."""
STEPS = 65536
"""Probabilities are multiples of 1 / STEPS, so that the last bits of a root do not show."""


class GraphPhantom(Schema):
    """How large the graph is, how large its cells are, and how often the boundary map errs."""

    edges: int = Field(100_000, ge=1, le=10**12)
    """Edges wanted; the graph has as many to within some percent, with about 7 a node."""
    nodes: int | None = Field(None, ge=1, le=10**12)
    """Nodes wanted, exactly so many; `edges` says nothing then."""
    supervoxels_per_cell: float = Field(30.0, ge=1, le=10**6)
    """Nodes in a cell on average."""
    noise: float = Field(0.3, ge=0, le=10)
    """Standard deviation of the evidence of a large contact, twice as much for the smallest. The evidence x
    gives the probability (1 + x / sqrt(1 + x x)) / 2; it is -0.75 inside a cell and 1.75 between cells."""
    ambiguous: float = Field(0.03, ge=0, le=1)
    """Share of the contacts that say nothing: their evidence is noise around 0."""
    holes: float = Field(0.02, ge=0, le=1)
    """Share of the contacts between cells that look as if they lay inside one."""
    false_boundary: float = Field(0.02, ge=0, le=1)
    """Share of the contacts inside a cell that look as if they lay between two."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Another seed is another graph."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        wrong = max(self.holes, self.false_boundary)
        if self.ambiguous + wrong > 1:
            raise ValueError(
                f"ambiguous is {self.ambiguous} and holes or false_boundary {wrong}, expected 1 at most "
                "together; lower one of them"
            )
        return self

    @property
    def n_nodes(self) -> int:
        """How many nodes there are; their ids are 1 to this."""
        return self.nodes or _nodes_for(self.edges)


@dataclass(frozen=True)
class GraphRange:
    """The nodes of a range, and the edges whose smaller node lies in it."""

    edges: EdgeTable
    """Without quantiles. Samples of a contact have two values, the sixteenths around its mean."""
    nodes: NodeTable
    """Boxes of 16 voxels a side, which overlap; a centroid is the middle of its box."""
    truth: NDArray[np.uint64]
    """(k): the cell of each node, named after the node at its centre."""


def graph_range(p: GraphPhantom, start: int, stop: int) -> GraphRange:
    """Nodes `start` to `stop` (exclusive; ids from 1): the same bits whatever the ranges.

    Every cell is connected, and so is the graph. With `noise`, `ambiguous`, `holes` and `false_boundary` 0
    the edges below 0.5 are those inside cells. About 0.3 us and 75 B an edge; quickest for ranges
    that begin and end at multiples of 4096, plus 1. Raises `BadInput` for a range that is not of
    this graph.
    """
    edges, size, mean, truth = _columns(p, start, stop)
    minimum, maximum = np.floor(mean * 16) / 16, np.ceil(mean * 16) / 16
    variance, quantiles = (mean - minimum) * (maximum - mean), np.empty((len(mean), 0))
    table = EdgeTable(edges, size, mean, variance, minimum, maximum, quantiles)
    return GraphRange(table, node_range(p, start, stop), truth)


def node_range(p: GraphPhantom, start: int, stop: int) -> NodeTable:
    """Nodes `start` to `stop` (exclusive) without their edges; 90 B a node."""
    _check(p, start, stop)
    size, lower = supervoxels(_lattice(p), start - 1, stop - 1)
    middles = size[:, None] * (2 * lower + VOXELS - 1) // 2
    return NodeTable(np.arange(start, stop, dtype=np.uint64), size, lower, lower + VOXELS, middles)


def graph_and_truth(p: GraphPhantom) -> tuple[Graph, NDArray[np.int64]]:
    """The whole graph as solvers take it, and the true cell of each node; 70 B an edge at the peak."""
    starts = range(1, p.n_nodes + 1, 16 * CUBE)
    parts = [_columns(p, start, min(start + 16 * CUBE, p.n_nodes + 1)) for start in starts]
    edges, size, mean, truth = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    del parts
    edges -= np.uint64(1)
    return Graph(p.n_nodes, edges, mean, size.astype(np.float64)), truth.astype(np.int64)


class _Model(NamedTuple):
    """The shares of a phantom, for the kernel."""

    noise: float
    ambiguous: float
    holes: float
    false_boundary: float


Columns = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.float64], NDArray[np.uint64]]


def _columns(p: GraphPhantom, start: int, stop: int) -> Columns:
    """Edges, sizes and means of a range, and its truth."""
    _check(p, start, stop)
    edges, size, between, cell = contacts(_lattice(p), start - 1, stop - 1)
    model = _Model(p.noise, p.ambiguous, p.holes, p.false_boundary)
    mean = _probabilities(p.seed, model, (edges, size, between), normal_table())
    return edges, size, mean, (cell + 1).astype(np.uint64)


def _lattice(p: GraphPhantom) -> Lattice:
    return lattice(p.seed, p.n_nodes, p.supervoxels_per_cell)


def _check(p: GraphPhantom, start: int, stop: int) -> None:
    if not 1 <= start <= stop <= p.n_nodes + 1:
        raise BadInput(
            f"graph phantom: found nodes {start} to {stop}, expected a range within 1 to {p.n_nodes + 1}; "
            "the last node is one below the end"
        )


def _nodes_for(edges: int) -> int:
    """Nodes of a cube with so many edges, about: the least number whose expectation is not below it."""
    low, high = 1, edges + 1
    while low < high:
        middle = (low + high) // 2
        if _expected_edges(middle) < edges:
            low = middle + 1
        else:
            high = middle
    return low


def _expected_edges(nodes: int) -> float:
    side = nodes ** (1 / 3)
    inner = side - 1
    return float(3 * side**2 * inner + 6 * SHARES[2] * side * inner**2 + 4 * SHARES[3] * inner**3)


@njit(cache=True, nogil=True)
def _probabilities(
    seed: int,
    model: _Model,
    found: tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.bool_]],
    normal: NDArray[np.float32],
) -> NDArray[np.float64]:
    """The mean boundary probability of each contact, from a hash of its two ids."""
    edges, size, between = found
    mean, key = np.empty(size.size), stream_key(seed, EVIDENCE)
    for e in range(size.size):
        h = mix(mix(key, np.int64(edges[e, 0])), np.int64(edges[e, 1]))
        luck = np.float64(h & np.uint64(0xFFFFFF)) / 16777216.0
        wrong = model.holes if between[e] else model.false_boundary
        x = BETWEEN if between[e] != (model.ambiguous <= luck < model.ambiguous + wrong) else INSIDE
        if luck < model.ambiguous:
            x = 0.0
        k, t = np.int64(h >> np.uint64(52)), np.float64((h >> np.uint64(28)) & np.uint64(0xFFFFFF)) / 16777216
        g = normal[k] * (1 - t) + normal[k + 1] * t
        x += model.noise * (1 + SMALL / (SMALL + size[e])) * g
        mean[e] = np.floor(STEPS * (0.5 + 0.5 * x / np.sqrt(1 + x * x)) + 0.5) / STEPS
    return mean
