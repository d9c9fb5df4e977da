"""Lifted multicut: a multicut that also knows of pairs that do not touch, from nuclei or long affinities."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.costs import multicut_costs
from cellflow.core.graphs import Graph, Partition, connected, partition
from cellflow.core.multicut.signed import SignedGraph, energy
from cellflow.core.multicut.solve import solve
from cellflow.core.schema import Schema
from cellflow.core.thresholds import Beta, resolved_beta, statistics
from cellflow.solvers.multicut import Multicut

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


class LiftedMulticut(Schema):
    """Minimum cost lifted multicut: cut pairs, touching or not, of the smallest sum of costs.

    Pairs that nuclei put together or apart cost `weight` times the largest cost of an edge; long-range pairs
    of affinities cost as edges do, times `long_range`. Segments are connected through edges, whatever
    speaks for it. NP-hard: greedy contraction, the plain multicut and one segment are fused with solutions of
    noisy costs, then moved by Kernighan-Lin; the energy is no higher than that of any of the first three. No
    random numbers but hashes. About 0.1 kB of memory an edge or pair, one thread. Sources: Horňáková et al.,
    ICML 2017; Keuper et al., ICCV 2015; Beier et al., CVPR 2015.
    """

    name: Literal["lifted_multicut"] = "lifted_multicut"
    beta: Beta = 0.5
    """Boundary bias: turning it up cuts more (over-segments), turning it down merges more. Or a quantile of
    the edges such as q0.8: those with a boundary above that of 80 % of them repel; turned up it cuts less."""
    size_weighted: bool = True
    """Multiply costs by edge size / largest edge size, so that large contacts count more than small ones."""
    weight: float = Field(5.0, gt=0)
    """How much a pair that nuclei speak of counts beside the surest edge; higher: boundaries count less."""
    long_range: float = Field(1.0, ge=0)
    """How much a long-range pair counts beside an edge of its size; 0 leaves them out."""
    proposals: int = Field(2, ge=0, le=100)
    """Solutions with noise on the costs that are fused with the others: more lower the energy a little."""
    iterations: int = Field(50, ge=0)
    """Kernighan-Lin rounds at most: more lower the energy and take longer; 0 moves nothing."""

    def __call__(self, graph: Graph) -> Partition:
        """Partition of `graph` with an energy no higher than that of its plain multicut."""
        beta = resolved_beta(self.beta, statistics(graph).counts)
        costs = multicut_costs(graph.boundary, beta, graph.sizes if self.size_weighted else None)
        pairs, lifted = self._lifted(graph, costs, beta)
        costs, pairs, lifted = _apart(graph, costs, pairs, lifted)
        scale = _scale(costs, lifted)
        signed = SignedGraph(
            graph.n_nodes,
            np.concatenate([graph.edges, pairs]).astype(np.int32),
            np.rint(np.concatenate([costs, lifted]) * scale).astype(np.int64),
            np.arange(len(costs) + len(lifted)) < len(costs),
        )
        plain = Multicut(
            beta=beta,
            size_weighted=self.size_weighted,
            proposals=self.proposals,
            iterations=self.iterations,
        )(graph).labels
        # One segment as well: what only pairs hold together is never joined step by step.
        whole = connected(graph.n_nodes, graph.edges, np.ones(len(graph.edges), np.bool_))
        found = solve(signed, self.proposals, self.iterations, (plain, whole))
        facts = {
            "energy": found.energy,
            "energy_multicut": energy(signed.edges, signed.cost, plain),
            "energy_lower_bound": found.lower_bound,
        }
        rounded = {name: round(value / scale, 6) for name, value in facts.items()}
        return partition(graph, found.labels, lifted=len(lifted), **rounded, beta=beta)

    def _lifted(self, graph: Graph, costs: F64, beta: float) -> tuple[I64, F64]:
        """All pairs beside the edges, each once, and what it costs to cut them."""
        pairs, values = [np.empty((0, 2), np.int64)], [np.empty(0)]
        if graph.lifted is not None:
            pairs.append(graph.lifted.edges)
            values.append(graph.lifted.attraction * self.weight * np.abs(costs).max(initial=0))
        if graph.long_range is not None and self.long_range:
            further = graph.long_range
            sizes = further.sizes / graph.sizes.max(initial=1) if self.size_weighted else 1.0
            pairs.append(further.edges)
            values.append(self.long_range * sizes * multicut_costs(further.boundary, beta))
        every, row = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
        total: F64 = np.bincount(row.ravel(), np.concatenate(values), len(every)).astype(np.float64)
        return every, total


def _apart(graph: Graph, costs: F64, pairs: I64, lifted: F64) -> tuple[F64, I64, F64]:
    """Costs of edges, with what was said of them as pairs as well; all other pairs and their costs."""
    edge = np.searchsorted(_key(graph, graph.edges), _key(graph, pairs))
    edge = np.minimum(edge, max(len(costs) - 1, 0))
    same = (graph.edges[edge] == pairs).all(axis=1) if len(costs) else np.zeros(len(pairs), np.bool_)
    total = costs.copy()
    total[edge[same]] += lifted[same]
    return total, np.ascontiguousarray(pairs[~same]), lifted[~same]


def _key(graph: Graph, pairs: I64) -> I64:
    """One number for each pair, in the order of the pairs."""
    key: I64 = pairs[:, 0] * graph.n_nodes + pairs[:, 1]
    return key


def _scale(*costs: F64) -> float:
    """A power of two that makes whole numbers of costs, as fine as their sum allows."""
    total = sum(float(np.abs(part).sum()) for part in costs)
    return float(2.0 ** np.floor(61 - np.log2(total))) if total > 0 else 1.0
