"""Multicut: cut the edges whose costs have the smallest sum, over all partitions of the graph."""

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.agglomeration import Agglomeration
from cellflow.core.graphs import Graph, Partition, partition
from cellflow.core.interactions import COST_SCALE, Interactions, Ranks, of_costs, ranks_of
from cellflow.core.linkage import Linkage
from cellflow.core.multicut.greedy import greedy
from cellflow.core.multicut.reduce import certain
from cellflow.core.multicut.rows import measured, signed, solution
from cellflow.core.multicut.solve import improved, solve
from cellflow.core.thresholds import Beta, Statistics, number, resolved_beta, statistics
from cellflow.solvers.stepwise import Stepwise


class Multicut(Stepwise):
    """Minimum cost multicut: solutions of greedy contraction are fused, then moved by Kernighan-Lin.

    The energy is the sum of the costs of the cut edges, in steps of 2^-20 of a voxel pair. `facts` hold it,
    that of greedy contraction, which it never exceeds, and a lower bound that no partition goes below.
    NP-hard: the result is a local optimum, some hundredths of a percent above the bound in tissue. No random
    numbers but hashes. About 0.1 kB of memory per edge, one thread; 2 s per million edges of a graph with
    cells in it. A graph in parts is joined where solutions of each part agree, away from its border.
    Sources: greedy additive edge contraction and Kernighan-Lin with joins, Keuper et al., ICCV 2015; fusion
    moves, Beier et al., CVPR 2015; cycle packing, Lange et al., ICML 2018.
    """

    name: Literal["multicut"] = "multicut"
    beta: Beta = 0.5
    """Boundary bias: turning it up cuts more (over-segments), turning it down merges more. Or a quantile of
    the edges such as q0.8: those with a boundary above that of 80 % of them repel; turned up it cuts less."""
    size_weighted: bool = True
    """Multiply costs by edge size / largest edge size, so that large contacts count more than small ones."""
    proposals: int = Field(2, ge=0, le=100)
    """Solutions with noise on the costs that are fused with the greedy one: each lowers the energy a little
    less than the one before, and takes a quarter of a second per million edges. Up to half a million edges
    they are moved by Kernighan-Lin first, which lowers it more, and takes four times as long."""
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
        self,
        graph: Graph,
        ranks: Ranks | None = None,
        seen: Statistics | None = None,  # noqa: ARG002 - a part needs no other
    ) -> Interactions:
        """The costs of a graph's edges; pairs are not looked at."""
        return of_costs(graph, number(self.beta), (ranks or ranks_of(graph)).edges, sized=self.size_weighted)

    def reduce(
        self, n_nodes: int, rows: Interactions, frozen: NDArray[np.bool_] | None = None
    ) -> Agglomeration:
        """The solution, or what several solutions of a part agree on away from its frozen nodes."""
        graph = signed(n_nodes, rows)
        if frozen is None:
            labels = improved(graph, [greedy(graph)], self.proposals, self.iterations)
        else:
            labels = certain(graph, frozen, self.proposals, self.iterations)
        return solution(labels, rows)

    def measured(self, rows: Interactions, labels: NDArray[np.integer]) -> dict[str, int]:
        """Energy and lower bound of a part."""
        return measured(rows, labels)

    def summary(self, measured: dict[str, int], seen: Statistics) -> dict[str, float]:
        """Energies in the units of the costs."""
        largest = max(round(float(seen.largest.max())), 1) if self.size_weighted else 1
        return {name: round(value / (COST_SCALE * largest), 6) for name, value in measured.items()}

    def __call__(self, graph: Graph) -> Partition:
        """Partition of `graph` with an energy no higher than that of greedy contraction."""
        seen = statistics(graph)
        solver = self.resolved(seen)
        rows = solver.interactions(graph)
        found = solve(signed(graph.n_nodes, rows), self.proposals, self.iterations)
        energies = {
            "energy": found.energy,
            "energy_greedy": found.energy_greedy,
            "energy_lower_bound": found.lower_bound,
        }
        repulsive = int(np.count_nonzero(rows.weight < 0))
        facts = {**solver.summary(energies, seen), **solver.facts}
        return partition(graph, found.labels, edges_repulsive=repulsive, **facts)
