"""The library calls for the same problems, by the name of our solver: graph and beta in, labels out."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from bioimage_cpp.graph import UndirectedGraph, agglomeration, lifted_multicut, multicut
from bioimage_cpp.graph.mutex_watershed import mutex_watershed_clustering
from numpy.typing import NDArray

from cellflow.core.costs import multicut_costs, signed_weights
from cellflow.core.graphs import Graph

Labels = NDArray[Any]
Call = Callable[[Graph, float], Labels]
BIC, ELF = "bioimage-cpp", "python-elf"


def elf_is_there() -> bool:
    """Whether python-elf can be compared with."""
    try:
        import_module("elf.segmentation.multicut")
    except ImportError:
        return False
    return True


def costs_of(graph: Graph, beta: float) -> NDArray[np.float64]:
    """The costs that the multicut of this package starts from."""
    return multicut_costs(graph.boundary, beta, graph.sizes)


def lifted_costs_of(graph: Graph, beta: float) -> NDArray[np.float64]:
    """Costs of the lifted pairs: as strong as an edge on average, at an attraction of 1."""
    assert graph.lifted is not None
    return graph.lifted.attraction * float(np.abs(costs_of(graph, beta)).mean())


def bic_graph(graph: Graph) -> UndirectedGraph:
    """The library's graph."""
    return UndirectedGraph.from_unique_edges(graph.n_nodes, graph.edges.view(np.uint64))


def _multicut(*solvers: Any) -> Call:  # noqa: ANN401 - the library's
    chain = multicut.ChainedMulticutSolvers(list(solvers))
    return lambda graph, beta: chain.optimize(
        multicut.MulticutObjective(bic_graph(graph), costs_of(graph, beta))
    )


def _lifted(*solvers: Any, pairs: bool = True) -> Call:  # noqa: ANN401 - the library's
    chain = lifted_multicut.LiftedChainedSolvers(list(solvers))

    def call(graph: Graph, beta: float) -> Labels:
        lifted = {}
        if pairs and graph.lifted is not None:
            lifted = {"lifted_uvs": graph.lifted.edges.view(np.uint64)}
            lifted["lifted_costs"] = lifted_costs_of(graph, beta)
        objective = lifted_multicut.LiftedMulticutObjective
        return chain.optimize(objective(bic_graph(graph), costs_of(graph, beta), **lifted))

    return call


def _gasp(linkage: str) -> Call:
    def call(graph: Graph, beta: float) -> Labels:
        weights = signed_weights(graph.boundary, beta) * (graph.sizes if linkage == "sum" else 1)
        policy = agglomeration.GaspClusterPolicy(linkage=linkage)
        return policy.optimize(bic_graph(graph), weights, edge_sizes=graph.sizes)

    return call


def _mutex(graph: Graph, beta: float) -> Labels:
    weights = signed_weights(graph.boundary, beta)
    apart = weights < 0
    edges = graph.edges.view(np.uint64)
    joined = UndirectedGraph.from_unique_edges(graph.n_nodes, edges[~apart])
    return mutex_watershed_clustering(joined, weights[~apart], edges[apart], -weights[apart])


def _mala(graph: Graph, beta: float) -> Labels:
    return agglomeration.MalaClusterPolicy(threshold=1 - beta).optimize(bic_graph(graph), graph.boundary)


def _elf(module: str, name: str, **more: Any) -> Call:  # noqa: ANN401 - the library's
    """A multicut of python-elf, lifted or not."""

    def call(graph: Graph, beta: float) -> Labels:
        solve = getattr(import_module(f"elf.segmentation.{module}"), name)
        given = [bic_graph(graph), costs_of(graph, beta)]
        if module == "lifted_multicut" and graph.lifted is not None:
            given += [graph.lifted.edges.view(np.uint64), lifted_costs_of(graph, beta)]
        return solve(*given, **more)

    return call


def _elf_gasp(graph: Graph, beta: float) -> Labels:
    solve = import_module("elf.segmentation.gasp").run_GASP
    return solve(bic_graph(graph), signed_weights(graph.boundary, beta), edge_sizes=graph.sizes)[0]


def _elf_mutex(graph: Graph, beta: float) -> Labels:
    solve = import_module("elf.segmentation.mutex_watershed").mutex_watershed_clustering
    weights, edges = signed_weights(graph.boundary, beta), graph.edges.view(np.uint64)
    apart = weights < 0
    # It turns the weights of edges round, and those of exclusions not.
    return solve(edges[~apart], edges[apart], -weights[~apart], -weights[apart], graph.n_nodes)


FUSION = {"number_of_threads": 1, "number_of_parallel_proposals": 1}
GAEC, KERNIGHAN_LIN = multicut.GreedyAdditiveMulticut, multicut.KernighanLinMulticut
LIFTED_GAEC, LIFTED_KL = (
    lifted_multicut.LiftedGreedyAdditiveMulticut,
    lifted_multicut.LiftedKernighanLinMulticut,
)
PEERS: dict[str, dict[tuple[str, str], Call]] = {
    "multicut": {
        (BIC, "GAEC"): _multicut(GAEC()),
        (BIC, "greedy fixation"): _multicut(multicut.GreedyFixationMulticut()),
        (BIC, "GAEC, KernighanLin"): _multicut(GAEC(), KERNIGHAN_LIN()),
        (BIC, "GAEC, FusionMove (watershed)"): _multicut(
            GAEC(),
            multicut.FusionMoveMulticut(
                proposal_generator=multicut.WatershedProposalGenerator(), sub_solver=GAEC(), **FUSION
            ),
        ),
        (BIC, "lifted GAEC, KL; no pairs"): _lifted(LIFTED_GAEC(), LIFTED_KL(), pairs=False),
        (ELF, "kernighan_lin"): _elf("multicut", "multicut_kernighan_lin"),
        (ELF, "decomposition"): _elf("multicut", "multicut_decomposition"),
        (ELF, "fusion_moves"): _elf("multicut", "multicut_fusion_moves"),
    },
    "gasp": {
        **{(BIC, f"Gasp {linkage}"): _gasp(linkage) for linkage in ("mean", "sum", "max", "min", "abs_max")},
        (ELF, "run_GASP mean"): _elf_gasp,
    },
    "mutex_watershed": {
        (BIC, "mutex_watershed_clustering"): _mutex,
        (ELF, "mutex_watershed_clustering"): _elf_mutex,
    },
    "agglomerate": {(BIC, "Mala"): _mala},
    "lifted_multicut": {
        (BIC, "lifted GAEC"): _lifted(LIFTED_GAEC()),
        (BIC, "lifted GAEC, KL"): _lifted(LIFTED_GAEC(), LIFTED_KL()),
        (ELF, "kernighan_lin"): _elf("lifted_multicut", "lifted_multicut_kernighan_lin"),
    },
}
