"""Lifted multicut: a multicut that also knows of pairs that do not touch, from nuclei or long affinities."""

from dataclasses import replace
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.agglomeration import Agglomeration
from cellflow.core.costs import CLIP, multicut_costs
from cellflow.core.graphs import Graph, Lifted, Partition, partition
from cellflow.core.histogram import BINS
from cellflow.core.interactions import COST_SCALE, Interactions, Ranks, merged, of_costs, ranks_of
from cellflow.core.linkage import Linkage
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.reduce import certain
from cellflow.core.multicut.rows import measured, signed, solution
from cellflow.core.multicut.signed import I64, SignedGraph, energy, segments
from cellflow.core.multicut.solve import improved, solve
from cellflow.core.thresholds import Beta, Statistics, number, resolved_beta, statistics
from cellflow.solvers.stepwise import Flags, Stepwise

LARGEST_SUM = 2.0**61
"""Costs times their scale add up to less: noise on them doubles their sum at most."""


class LiftedMulticut(Stepwise):
    """Minimum cost lifted multicut: cut pairs, touching or not, of the smallest sum of costs.

    Pairs that nuclei put together or apart cost `weight` times the largest cost of an edge; long-range pairs
    of affinities cost as edges do, times `long_range`. Segments are connected through edges, whatever
    speaks for it. NP-hard: greedy contraction, the plain multicut and one segment are fused with solutions of
    noisy costs, then moved by Kernighan-Lin; the energy is no higher than that of any of the first three. No
    random numbers but hashes. About 0.1 kB of memory an edge or pair, one thread. A graph in parts is joined
    where solutions of each part agree, away from its border. Sources: Horňáková et al., ICML 2017; Keuper et
    al., ICCV 2015; Beier et al., CVPR 2015.
    """

    lifts: ClassVar[bool] = True

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

    def resolved(self, seen: Statistics) -> Self:
        """The solver with a number for beta."""
        return self.model_copy(update={"beta": resolved_beta(self.beta, seen.counts)})

    @property
    def facts(self) -> dict[str, float]:
        """The number that beta is."""
        return {"beta": number(self.beta)}

    @property
    def combination(self) -> Linkage:
        """Costs add up."""
        return "sum"

    def interactions(
        self, graph: Graph, ranks: Ranks | None = None, seen: Statistics | None = None
    ) -> Interactions:
        """The costs of edges and of all pairs, those of equal pairs added up; pairs alone are not local."""
        seen, ranks, beta = seen or statistics(graph), ranks or ranks_of(graph), number(self.beta)
        scale, sized = self._scale(seen), self.size_weighted
        found = [of_costs(graph, beta, ranks.edges, sized=sized, scale=scale)]
        if graph.long_range is not None and self.long_range:
            far = of_costs(
                graph.long_range, beta, ranks.long_range, sized=sized, scale=scale * self.long_range
            )
            found.append(replace(far, local=np.zeros(len(far.edges), np.bool_)))
        if graph.lifted is not None:
            found.append(_lifted(graph.lifted, ranks.lifted, scale * self.weight * self._surest(seen)))
        return merged(found, self.combination)

    def reduce(self, n_nodes: int, rows: Interactions, frozen: Flags | None = None) -> Agglomeration:
        """The solution, or what several solutions of a part agree on away from its frozen nodes."""
        graph = signed(n_nodes, rows)
        if frozen is not None:
            return solution(certain(graph, frozen, self.proposals, self.iterations), rows)
        near = rows.local
        plain = self._plain(SignedGraph(n_nodes, graph.edges[near], graph.cost[near]))
        starts = [greedy(graph), plain, _whole(graph)]
        return solution(improved(graph, starts, self.proposals, self.iterations), rows)

    def measured(self, rows: Interactions, labels: NDArray[np.integer]) -> dict[str, int]:
        """Energy and lower bound of a part, and how many pairs it has beside its edges."""
        return {**measured(rows, labels), "lifted": int(np.count_nonzero(~rows.local))}

    def summary(self, measured: dict[str, int], seen: Statistics) -> dict[str, float]:
        """Energies in the units of the costs."""
        largest = max(round(float(seen.largest.max())), 1) if self.size_weighted else 1
        unit = self._scale(seen) * largest
        found = {name: round(value / unit, 6) for name, value in measured.items() if name != "lifted"}
        return {**found, "lifted": measured["lifted"]}

    def __call__(self, graph: Graph) -> Partition:
        """Partition of `graph` with an energy no higher than that of its plain multicut."""
        seen = statistics(graph)
        solver = self.resolved(seen)
        rows = solver.interactions(graph, seen=seen)
        lifted = signed(graph.n_nodes, rows)
        alone = solver.interactions(replace(graph, lifted=None, long_range=None), seen=seen)
        plain = self._plain(signed(graph.n_nodes, alone))
        found = solve(lifted, self.proposals, self.iterations, (plain, _whole(lifted)))
        energies = {
            "energy": found.energy,
            "energy_multicut": energy(lifted.edges, lifted.cost, plain),
            "energy_lower_bound": found.lower_bound,
            "lifted": int(np.count_nonzero(~rows.local)),
        }
        repulsive = int(np.count_nonzero(rows.weight < 0))
        facts = {**solver.summary(energies, seen), **solver.facts}
        return partition(graph, found.labels, edges_repulsive=repulsive, **facts)

    def _plain(self, graph: SignedGraph) -> I64:
        """Segments by the edges alone."""
        return improved(graph, [greedy(graph)], self.proposals, self.iterations)

    def _surest(self, seen: Statistics) -> float:
        """The largest absolute cost of an edge of the whole graph, to 2^-17 of its boundary."""
        middle = (np.arange(BINS) + 0.5) / BINS
        sizes = np.maximum(np.rint(seen.largest), 1) if self.size_weighted else 1.0
        costs = np.abs(multicut_costs(middle, number(self.beta))) * sizes
        return float(costs.max(where=seen.counts > 0, initial=0.0))

    def _scale(self, seen: Statistics) -> float:
        """A power of two that makes whole numbers of costs, as fine as the sum of all allows."""
        most = float(np.abs(multicut_costs(np.array([CLIP, 1 - CLIP]), number(self.beta))).max())
        total = float(seen.sizes) * most * max(1.0, self.long_range)
        total += int(seen.lifted) * self.weight * self._surest(seen)
        return min(COST_SCALE, float(2.0 ** np.floor(np.log2(LARGEST_SUM / max(total, 1.0)))))


def _whole(graph: SignedGraph) -> I64:
    """One segment, or one for each piece of the graph: what only pairs hold together comes of no joins."""
    found: I64 = segments(graph.n_nodes, graph.edges, graph.local, np.zeros(graph.n_nodes, np.int64))
    return found


def _lifted(pairs: Lifted, rank: I64, cost: float) -> Interactions:
    """What it costs to part pairs, an attraction of 1 at this cost."""
    none = np.zeros(len(pairs.edges), np.bool_)
    weight = np.rint(pairs.attraction * cost).astype(np.int64)
    return Interactions(pairs.edges, weight, np.ones(len(weight), np.int64), rank, none, none)
