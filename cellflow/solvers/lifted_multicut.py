"""Lifted multicut: a multicut that also knows of pairs that do not touch, from nuclei or long affinities."""

from typing import Literal

import numpy as np
from bioimage_cpp.graph import UndirectedGraph, lifted_multicut
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.costs import multicut_costs
from cellflow.core.graphs import Graph, Partition, connected, partition
from cellflow.core.schema import Schema
from cellflow.solvers.multicut import RELATIVE_GAIN, Multicut

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


class LiftedMulticut(Schema):
    """Minimum cost lifted multicut: cut pairs, touching or not, of the smallest sum of costs.

    Pairs that nuclei put together or apart cost `weight` times the largest cost of an edge; long-range pairs
    of affinities cost as edges do, times `long_range`. Segments are connected through edges, whatever
    speaks for it. NP-hard: the best by the sum of all costs of greedy contraction, the plain multicut, and
    Kernighan-Lin moves from these and from one segment; no random numbers. About 0.4 kB of memory an
    edge and 0.24 kB a pair, one thread. Sources: Horňáková et al., ICML 2017; Keuper et al., ICCV 2015.
    """

    name: Literal["lifted_multicut"] = "lifted_multicut"
    beta: float = Field(0.5, gt=0, lt=1)
    """Boundary bias: turning it up cuts more (over-segments), turning it down merges more."""
    size_weighted: bool = True
    """Multiply costs by edge size / largest edge size, so that large contacts count more than small ones."""
    weight: float = Field(5.0, gt=0)
    """How much a pair that nuclei speak of counts beside the surest edge; higher: boundaries count less."""
    long_range: float = Field(1.0, ge=0)
    """How much a long-range pair counts beside an edge of its size; 0 leaves them out."""
    iterations: int = Field(50, ge=0)
    """Kernighan-Lin rounds at most: more lower the energy and take longer; 0 keeps the greedy partition."""

    def __call__(self, graph: Graph) -> Partition:
        """Partition of `graph` with an energy no higher than that of its plain multicut."""
        costs = multicut_costs(graph.boundary, self.beta, graph.sizes if self.size_weighted else None)
        pairs, lifted = self._lifted(graph, costs)
        costs, pairs, lifted = _apart(graph, costs, pairs, lifted)
        plain = Multicut(beta=self.beta, size_weighted=self.size_weighted, iterations=self.iterations)(graph)
        whole = connected(graph.n_nodes, graph.edges, np.ones(len(graph.edges), np.bool_))

        def objective(start: I64 | None = None) -> lifted_multicut.LiftedMulticutObjective:
            return lifted_multicut.LiftedMulticutObjective(
                UndirectedGraph.from_unique_edges(graph.n_nodes, graph.edges.view(np.uint64)),
                costs,
                lifted_uvs=pairs.view(np.uint64),
                lifted_costs=lifted,
                initial_labels=None if start is None else start.astype(np.uint64),
            )

        greedy = partition(graph, lifted_multicut.LiftedGreedyAdditiveMulticut().optimize(objective()))
        found = [plain, greedy]
        if self.iterations and costs.size:
            solver = lifted_multicut.LiftedKernighanLinMulticut(
                number_of_outer_iterations=self.iterations,
                epsilon=RELATIVE_GAIN * float(np.abs(costs).mean()),
            )
            # From one segment as well: what only pairs hold together is never joined step by step.
            starts = (greedy.labels, plain.labels, whole)
            found.extend(partition(graph, solver.optimize(objective(start))) for start in starts)

        def energy(made: Partition) -> float:
            return _cut(graph.edges, costs, made.labels) + _cut(pairs, lifted, made.labels)

        best = min(found, key=energy)  # of equals the first
        bound = float(costs.sum(where=costs < 0) + lifted.sum(where=lifted < 0))
        facts = {"energy": energy(best), "energy_multicut": energy(found[0]), "energy_lower_bound": bound}
        rounded = {name: round(value, 6) for name, value in facts.items()}
        return partition(graph, best.labels, lifted=len(lifted), **rounded)

    def _lifted(self, graph: Graph, costs: F64) -> tuple[I64, F64]:
        """All pairs beside the edges, each once, and what it costs to cut them."""
        pairs, values = [np.empty((0, 2), np.int64)], [np.empty(0)]
        if graph.lifted is not None:
            pairs.append(graph.lifted.edges)
            values.append(graph.lifted.attraction * self.weight * np.abs(costs).max(initial=0))
        if graph.long_range is not None and self.long_range:
            further = graph.long_range
            sizes = further.sizes / graph.sizes.max(initial=1) if self.size_weighted else 1.0
            pairs.append(further.edges)
            values.append(self.long_range * sizes * multicut_costs(further.boundary, self.beta))
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


def _cut(pairs: I64, costs: F64, labels: I64) -> float:
    return float(costs.sum(where=labels[pairs[:, 0]] != labels[pairs[:, 1]]))
