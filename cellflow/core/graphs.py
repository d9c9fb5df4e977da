"""A region adjacency graph in memory, and a partition of its nodes.

Nodes are dense: supervoxel ids of a volume (sparse uint64) are made dense before they come here, so
that memory follows the number of supervoxels and not their largest id.
"""

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.union import join, numbered

PROBABILITY_SLACK = 1e-6  # a mean of float32 values in 0..1 may miss the range by its rounding


@dataclass(frozen=True, eq=False)
class Graph:
    """An undirected graph with a mean boundary probability and a contact size on every edge.

    `edges` are rows `(u, v)` of node ids in `0..n_nodes - 1` with `u < v`, sorted and unique; `boundary`
    (mean probability, 0..1, 1 is boundary) and `sizes` (voxel pairs, above 0) follow their order. A
    graph that exists is valid: anything else raises `BadInput` with the number of wrong edges and the
    first one. Stored as int64 and float64, C order; arrays that are that already are not copied.
    """

    n_nodes: int
    edges: NDArray[np.int64]
    boundary: NDArray[np.float64]
    sizes: NDArray[np.float64]
    long_range: "Graph | None" = None
    """Evidence between nodes that need not touch (affinities of long offsets): same nodes, own pairs."""
    lifted: "Lifted | None" = None
    """What is known of pairs of nodes beside the boundaries, for instance from nuclei."""

    def __post_init__(self) -> None:
        if self.n_nodes < 0:
            raise BadInput(f"graph: expected a number of nodes from 0, found {self.n_nodes}")
        edges = np.ascontiguousarray(self.edges)
        if edges.ndim != 2 or edges.shape[1] != 2 or not np.issubdtype(edges.dtype, np.integer):
            raise BadInput(
                f"graph: expected integer edges of shape (m, 2), found {edges.dtype} {edges.shape}"
            )
        # uint64 is reinterpreted, not copied: ids above 2^63 turn negative and are refused below.
        exact = edges.view(np.int64) if edges.dtype == np.uint64 else edges.astype(np.int64, copy=False)
        object.__setattr__(self, "edges", exact)
        for name in ("boundary", "sizes"):
            values = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if values.shape != edges.shape[:1]:
                raise BadInput(
                    f"graph: expected {len(edges)} values in {name}, one per edge, found {values.shape}"
                )
            object.__setattr__(self, name, values)
        self._check_edges()
        self._check_values()
        for other in (self.long_range, self.lifted):
            if other is not None and other.n_nodes != self.n_nodes:
                raise BadInput(
                    f"graph: expected further pairs of the same {self.n_nodes} nodes, found pairs of "
                    f"{other.n_nodes}; number both alike"
                )

    def _check_edges(self) -> None:
        (u, v), n = self.edges.T, self.n_nodes
        outside = (u < 0) | (v < 0) | (u >= n) | (v >= n)
        self._refuse(outside, f"name a node outside 0..{n - 1}", "make the node ids dense")
        self._refuse(u == v, "join a node to itself", "drop them")
        self._refuse(u > v, "have their larger node first", "sort each row")
        same, later = u[1:] == u[:-1], np.zeros(len(u), dtype=bool)
        later[1:] = same & (v[1:] == v[:-1])
        self._refuse(later, "repeat the edge before them", "merge parallel edges")
        later[1:] = (u[1:] < u[:-1]) | (same & (v[1:] < v[:-1]))
        self._refuse(later, "are smaller than the edge before them", "sort the rows")

    def _check_values(self) -> None:
        p, size = self.boundary, self.sizes
        self._refuse(~np.isfinite(p), "have a boundary that is NaN or infinite", "check the boundary map")
        outside = (p < -PROBABILITY_SLACK) | (p > 1 + PROBABILITY_SLACK)
        self._refuse(outside, "have a boundary outside 0..1", "scale the boundary map to probabilities")
        self._refuse(~(np.isfinite(size) & (size > 0)), "have no positive size", "sizes count voxel pairs")

    def _refuse(self, bad: NDArray[np.bool_], found: str, remedy: str) -> None:
        if bad.any():
            first = int(bad.argmax())
            u, v = self.edges[first]
            values = f"boundary {self.boundary[first]:g} and size {self.sizes[first]:g}"
            raise BadInput(
                f"graph: {int(bad.sum())} of {bad.size} edges {found}, "
                f"the first is edge {first} ({u}, {v}) with {values}; {remedy}"
            )


@dataclass(frozen=True, eq=False)
class Lifted:
    """Pairs of nodes that belong together or apart, whether they touch or not.

    `edges` as those of a `Graph`, of the same `n_nodes`; `attraction` from -1 (certainly apart) to 1
    (certainly together). Raises `BadInput` for pairs that are wrong, and for a NaN.
    """

    n_nodes: int
    edges: NDArray[np.int64]
    attraction: NDArray[np.float64]

    def __post_init__(self) -> None:
        attraction = np.asarray(self.attraction, np.float64)
        bad = ~(np.abs(attraction) <= 1)
        if bad.any():
            raise BadInput(
                f"lifted pairs: expected attractions of -1..1, found {attraction[bad.argmax()]:g} at pair "
                f"{bad.argmax()}; scale them"
            )
        # A graph with a boundary for an attraction: the same rules for pairs, checked in one place.
        checked = Graph(self.n_nodes, self.edges, (1 - attraction) / 2, np.ones(attraction.shape))
        object.__setattr__(self, "edges", checked.edges)
        object.__setattr__(self, "attraction", attraction)


@dataclass(frozen=True, eq=False)
class Partition:
    """One segment per node: `labels` int64 `(n_nodes,)`, dense from 0, numbered by their smallest node.

    Every segment is connected in the graph and isolated nodes keep a segment of their own. `facts` go
    into the receipt: they depend on the graph and the parameters only, never on time or machine.
    """

    labels: NDArray[np.int64]
    facts: dict[str, float | int] = field(default_factory=dict)

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return int(self.labels.max()) + 1 if self.labels.size else 0


def cut_edges(graph: Graph, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """True for every edge whose two nodes have different labels."""
    cut: NDArray[np.bool_] = labels[graph.edges[:, 0]] != labels[graph.edges[:, 1]]
    return cut


def partition(graph: Graph, labels: NDArray[np.integer], **facts: float) -> Partition:
    """Partition of `graph` that cuts the same edges as any node labels `(n_nodes,)`.

    A label in several places becomes several segments; that cuts no other edge, so no energy changes.
    Adds the facts every solver has: nodes, edges, segments and cut edges.
    """
    cut = cut_edges(graph, labels)
    result = Partition(connected(graph.n_nodes, graph.edges, ~cut))
    counts = {"nodes": graph.n_nodes, "edges": len(cut), "edges_cut": int(cut.sum())}
    return Partition(result.labels, {**counts, "segments": result.n_segments, **facts})


@njit(cache=True, nogil=True)
def connected(n_nodes: int, edges: NDArray[np.int64], joined: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Connected components `(n_nodes,)` of the joined edges, dense from 0 in the order of smallest nodes.

    Takes 8 bytes per node besides the result, and close to linear time.
    """
    parent = np.arange(n_nodes)
    for i in range(edges.shape[0]):
        if joined[i]:
            join(parent, edges[i, 0], edges[i, 1])
    labels: NDArray[np.int64] = numbered(parent)
    return labels
