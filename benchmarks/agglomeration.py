"""Agglomeration next to bioimage-cpp's: CPU seconds and peak memory on a lattice of supervoxels.

    .venv/bin/python benchmarks/agglomeration.py --edges 1e7

A node of the jittered lattice touches up to 26 others; boundaries are low inside random cells and high
between them, with noise. Each row is a process of its own, whose kernels were compiled before the clock
starts. Bytes an edge are the peak above what was there with the input. Asked: `mean` at most as long as the
library, and at most 137 bytes an edge.
"""

import argparse
import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cellflow.core.graphs import Graph

LINKAGES = ("mean", "sum", "max", "min", "abs_max")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edges", type=float, default=1e6)
    parser.add_argument("--far", action="store_true", help="with pairs three nodes apart")
    parser.add_argument("--linkages", nargs="+", default=LINKAGES, choices=LINKAGES)
    chosen = parser.parse_args()
    print(f"{'linkage':10}{'':14}{'CPU s':>8}{'B/edge':>8}{'clusters':>10}")
    for linkage in chosen.linkages:
        for name in ("own", "own apart", "blocks", "library"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                row = pool.apply(measure, (name, linkage, chosen.edges, chosen.far))
            print(f"{linkage:10}{name:14}{row[0]:8.2f}{row[1]:8.0f}{row[2]:10}", flush=True)


def measure(name: str, linkage: Any, edges: float, far: bool) -> tuple[float, float, int]:  # noqa: ANN401
    """CPU seconds, peak bytes an edge, clusters."""
    WAYS[name](lattice(2000, far=far), linkage)()
    graph = lattice(edges, far=far)
    run = WAYS[name](graph, linkage)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = time.process_time()
    labels = run()
    seconds, peak = time.process_time() - start, memory("VmHWM") - before
    return seconds, peak / len(graph.edges), len(np.unique(labels))


def memory(what: str) -> int:
    """Bytes."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


def own(graph: Graph, linkage: Any, *, cannot_link: bool = False) -> Callable[[], Any]:  # noqa: ANN401
    """Our kernel, from interactions."""
    from cellflow.core.agglomeration import agglomerate
    from cellflow.core.interactions import of_graph

    rows = of_graph(graph, 0.5, linkage)
    return lambda: agglomerate(graph.n_nodes, rows, linkage, cannot_link=cannot_link).labels


def blocks(graph: Graph, linkage: Any) -> Callable[[], Any]:  # noqa: ANN401
    """Our kernel by way of eight parts of the nodes."""
    from cellflow.core.agglomeration import agglomerate
    from cellflow.core.interactions import Interactions, contracted, of_graph

    rows, group = of_graph(graph, 0.5, linkage), np.arange(graph.n_nodes) * 8 // graph.n_nodes

    def run() -> Any:  # noqa: ANN401
        merged = np.arange(graph.n_nodes)
        for number in range(8):
            there = np.flatnonzero((group[rows.edges] == number).any(axis=1))
            part = Interactions(rows.edges[there], *(column[there] for column in rows.columns))
            found = agglomerate(graph.n_nodes, part, linkage, frozen=group != number)
            merged = np.where(group == number, found.labels, merged)
        rest = contracted(rows, merged, linkage)
        return agglomerate(graph.n_nodes, rest, linkage).labels[merged]

    return run


def library(graph: Graph, linkage: Any) -> Callable[[], Any]:  # noqa: ANN401
    """bioimage-cpp, which knows no far evidence that works; sums start from size x weight."""
    from bioimage_cpp.graph import UndirectedGraph
    from bioimage_cpp.graph.agglomeration import GaspClusterPolicy

    weights = (0.5 - graph.boundary) * (graph.sizes if linkage == "sum" else 1)

    def run() -> Any:  # noqa: ANN401
        base = UndirectedGraph.from_unique_edges(graph.n_nodes, graph.edges.view(np.uint64))
        return GaspClusterPolicy(linkage=linkage).optimize(base, weights, edge_sizes=graph.sizes)

    return run


WAYS: dict[str, Callable[..., Callable[[], Any]]] = {
    "own": own,
    "own apart": lambda graph, linkage: own(graph, linkage, cannot_link=True),
    "blocks": blocks,
    "library": library,
}


def lattice(edges: float, *, far: bool) -> Graph:
    """About so many edges; cells of 200 nodes."""
    side = max(4, round((edges / 13) ** (1 / 3)))
    rng = np.random.default_rng(0)
    cells = nearest(side, rng.random((side**3 // 200 + 1, 3)) * side)
    near = [(z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)]
    further = pairs_of(cells, [(3, 0, 0), (0, 3, 0), (0, 0, 3)], rng) if far else None
    return (
        Graph(*pairs_of(cells, near, rng))
        if not further
        else Graph(*pairs_of(cells, near, rng), Graph(*further))
    )


def nearest(side: int, points: np.ndarray) -> np.ndarray:
    """The cell of each node of the lattice."""
    from scipy.spatial import cKDTree

    places = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1)
    return cKDTree(points).query(places)[1].astype(np.int32)


def pairs_of(
    cells: np.ndarray, offsets: list[tuple[int, int, int]], rng: np.random.Generator
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, sorted pairs at these offsets (a few left out), boundaries, sizes."""
    side = len(cells)
    offsets = sorted(offsets)
    node = np.arange(side**3)
    place = np.stack(np.unravel_index(node, cells.shape), axis=1)
    edges = np.stack(
        [
            np.repeat(node[:, None], len(offsets), axis=1),
            node[:, None] + [(z * side + y) * side + x for z, y, x in offsets],
        ],
        axis=-1,
    )
    inside = np.stack([((place + d >= 0) & (place + d < side)).all(axis=1) for d in offsets], axis=1)
    edges = edges[inside & (rng.random(inside.shape) < 0.97)]
    u, v = cells.ravel()[edges].T
    logit = np.where(u == v, -1.0, 1.0) + rng.normal(0, 0.75, len(edges))
    return side**3, edges, 1 / (1 + np.exp(-logit)), rng.integers(1, 60, len(edges)).astype(float)


if __name__ == "__main__":
    main()
