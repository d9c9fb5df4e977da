"""Mutex watershed on a graph: strong repulsions forbid merges that weaker attractions would make."""

from typing import Literal

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.mutex_watershed import mutex_watershed_clustering
from pydantic import Field

from cellflow.core.costs import signed_weights
from cellflow.core.graphs import Graph, Partition, partition
from cellflow.core.schema import Schema


class MutexWatershed(Schema):
    """Mutex watershed of a signed graph.

    An edge weighs `(1 - boundary) - beta`. Edges are taken by falling absolute weight, ties by their
    place in the graph: a positive one merges its two segments unless they are mutually exclusive, a
    negative one makes them so, a zero does nothing. Edge sizes play no part. About 0.15 kB of memory per
    edge, one thread. Source: Wolf et al., TPAMI 2020.
    """

    name: Literal["mutex_watershed"] = "mutex_watershed"
    beta: float = Field(0.5, gt=0, lt=1)
    """Edges with a boundary above 1 - beta repel: turning it up cuts more (over-segments)."""

    def __call__(self, graph: Graph) -> Partition:
        """Partition of `graph` in which no segment holds a mutual exclusion."""
        weights = signed_weights(graph.boundary, self.beta)
        attractive, repulsive = weights > 0, weights < 0
        # Ranks instead of weights: the library would leave the order of equal weights open.
        rank = np.empty(weights.size, dtype=np.float64)
        rank[np.argsort(-np.abs(weights), kind="stable")] = np.arange(weights.size, 0, -1)
        edges = graph.edges.view(np.uint64)
        labels = mutex_watershed_clustering(
            UndirectedGraph.from_unique_edges(graph.n_nodes, edges[attractive]),
            rank[attractive],
            edges[repulsive],
            rank[repulsive],
        )
        return partition(graph, labels, edges_repulsive=int(repulsive.sum()))
