"""GASP: merge the most attractive pair of segments until nothing attracts."""

from typing import Literal

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.agglomeration import GaspClusterPolicy
from pydantic import Field

from cellflow.core.costs import signed_weights
from cellflow.core.graphs import Graph, Partition, partition
from cellflow.core.schema import Schema


class Gasp(Schema):
    """Generalised agglomeration of a signed graph, without cannot-link constraints.

    An edge weighs `(1 - boundary) - beta`. The edge of the largest positive weight is contracted,
    parallel edges are combined by `linkage`, until no positive weight is left. Equal weights are
    taken in an order that depends on the node numbers; otherwise the numbering plays no part. About
    0.24 kB of memory per edge, one thread. Source: Bailoni et al., CVPR 2022.
    """

    name: Literal["gasp"] = "gasp"
    beta: float = Field(0.5, gt=0, lt=1)
    """Pairs with a boundary above 1 - beta repel: turning it up merges less (over-segments)."""
    linkage: Literal["mean", "sum", "max", "min", "abs_max"] = "mean"
    """Weight of parallel edges: mean per voxel pair; sum over voxel pairs (as greedy multicut); max (single
    linkage, merges most); min (complete linkage, merges least); abs_max (as the mutex watershed)."""

    def __call__(self, graph: Graph) -> Partition:
        """Partition of `graph` in which no two neighbouring segments attract each other."""
        weights = signed_weights(graph.boundary, self.beta)
        if self.linkage == "sum":
            # The library adds weights as they are; a sum over voxel pairs starts from size * weight.
            weights *= graph.sizes
        labels = GaspClusterPolicy(linkage=self.linkage).optimize(
            UndirectedGraph.from_unique_edges(graph.n_nodes, graph.edges.view(np.uint64)),
            weights,
            edge_sizes=graph.sizes,
        )
        return partition(graph, labels)
