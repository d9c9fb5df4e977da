"""Graphs to partition, with what is true of their nodes: of a volume, of a file, of a graph phantom."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.contingency import Contingency, contingency_block, merge, without
from cellflow.core.edge_table import statistics
from cellflow.core.graph_phantom import GraphPhantom, graph_and_truth, node_range
from cellflow.core.graphs import Graph, Lifted
from cellflow.core.grid import Grid
from cellflow.core.metrics import adapted_rand_error, voi
from cellflow.core.phantom import Phantom, phantom_block
from cellflow.stages import predict, supervoxels
from cellflow.stages.graph import graph_block

Labels = NDArray[Any]
NOISY = {"photons": 15, "holes": 0.1, "cell_um": 16, "tissue": 1}
"""A tissue whose membranes are hard to see, so that there is something to decide."""
FINE = {"sigma_seeds": 0.7, "min_size": 20, "threshold": 0.3}
"""Supervoxels so fine that a cell has some 15 of them."""


@dataclass(frozen=True)
class Problem:
    """A graph, and how many voxels each of its nodes (segment = node + 1) shares with each true cell."""

    name: str
    graph: Graph
    truth: Contingency
    min_truth_size: int = 0
    """Voxels of the smallest true cell that counts."""

    def scores(self, labels: Labels) -> dict[str, float | None]:
        """Adapted Rand error and variation of information of a partition, by voxels; truth 0 is unknown."""
        segments = (labels[self.truth.segment.astype(np.int64) - 1] + 1).astype(np.uint64)
        table = merge([Contingency(self.truth.truth, segments, self.truth.count)])
        table = without(table, min_truth_size=self.min_truth_size)
        information = voi(table)
        found = {"error": adapted_rand_error(table).error}
        return {**found, "split": information.split, "merge": information.merge}


def graph_phantom(edges: int) -> Problem:
    """A graph that never was a volume; its supervoxels count by their voxels."""
    p = GraphPhantom(edges=edges)
    graph, truth = graph_and_truth(p)
    ids = np.arange(1, p.n_nodes + 1)
    sizes = node_range(p, 1, p.n_nodes + 1).size
    order = np.argsort(truth, kind="stable")
    shared = Contingency(truth[order].astype(np.uint64), ids[order].astype(np.uint64), sizes[order])
    return Problem(f"graph phantom, {len(graph.edges):,} edges", graph, shared)


def voxel_phantom(size: int) -> Problem:
    """The graph of a phantom's raw image, by the stages' own functions: membranes, supervoxels, edges."""
    p = Phantom(shape=(size,) * 3, voxel_size_um=(0.3, 0.3, 0.3), seed=11, **NOISY)
    raw, truth = np.empty(p.shape, np.uint16), np.empty(p.shape, np.uint64)
    for z in range(0, size, 64):  # a slab at a time: the generator needs 30 B a voxel
        slab = slice(z, min(z + 64, size)), slice(0, size), slice(0, size)
        made = phantom_block(p, slab)
        raw[slab], truth[slab] = made.raw, made.labels
    low, high = np.percentile(raw, (1, 99.8)).astype(np.float32)
    boundaries = predict.predict_block(raw, low, high - low, predict.Membrane(), p.voxel_size_um)
    cut = supervoxels.supervoxels_block(boundaries, supervoxels.Params(**FINE), p.voxel_size_um)
    return of_volume(f"voxel phantom, {size}^3", boundaries, cut.astype(np.uint64), truth)


def from_file(path: Path, part: str = "", *, recut: bool = False) -> Problem:
    """The graph of `boundary` and `supervoxels` in an HDF5 file, judged by `label` (0 and specks unknown).

    `part`: nothing, "first" or "second" half along the longest axis. `recut`: with supervoxels of our own.
    """
    import h5py

    with h5py.File(path, "r") as file:
        volumes = [file[name][:] for name in ("boundary", "supervoxels", "label")]
        voxel_um = tuple(file["boundary"].attrs.get("element_size_um", (1.0, 1.0, 1.0)))
    axis = int(np.argmax(volumes[0].shape))
    half = volumes[0].shape[axis] // 2
    within = {"": slice(None), "first": slice(half), "second": slice(half, None)}[part]
    box = (slice(None),) * axis + (within,)
    boundaries, cut, truth = (np.ascontiguousarray(volume[box]) for volume in volumes)
    if recut:
        cut = supervoxels.supervoxels_block(boundaries, supervoxels.Params(), voxel_um)
    _, dense = np.unique(cut, return_inverse=True)
    cut = (dense + (cut.min() > 0)).reshape(cut.shape).astype(np.uint64)
    made = of_volume(f"{path.name} {part}".strip(), boundaries, cut, truth.astype(np.uint64))
    return replace(made, min_truth_size=50)


def of_volume(name: str, boundaries: Labels, cut: Labels, truth: Labels) -> Problem:
    """The region adjacency graph of supervoxels 1..n (0 is masked), as the stage `graph` makes it."""
    rows, nodes = graph_block(cut, boundaries, Grid(cut.shape, cut.shape)[0])
    table = statistics(rows, ())
    edges = table.edges.astype(np.int64) - 1
    graph = Graph(int(nodes.id[-1]), edges, table.mean, table.size.astype(np.float64))
    shared = contingency_block(truth, cut)
    inside = shared.segment > 0
    shared = Contingency(shared.truth[inside], shared.segment[inside], shared.count[inside])
    return Problem(f"{name}, {len(edges):,} edges", graph, shared)


def with_lifted(problem: Problem, wrong: float = 0.1, seed: int = 0) -> Problem:
    """The same with lifted pairs, one for each edge at most: nodes two edges apart, told together or apart.

    It stands for what nuclei tell: attractions are 0.5 within a true cell (a node's largest) and -0.5 between
    two, of the opposite sign for the share `wrong`.
    """
    rng, graph, n = np.random.default_rng(seed), problem.graph, problem.graph.n_nodes
    ends = np.concatenate([graph.edges, graph.edges[:, ::-1]])
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    first = np.searchsorted(ends[:, 0], np.arange(n + 1))
    u, v = graph.edges.T
    w = ends[first[v] + (rng.random(len(v)) * (first[v + 1] - first[v])).astype(np.int64), 1]
    keys = np.unique(np.minimum(u, w) * n + np.maximum(u, w))
    keys = np.setdiff1d(keys[keys // n != keys % n], u * n + v, assume_unique=True)
    pairs = np.stack([keys // n, keys % n], axis=1)
    cell = np.zeros(n, np.int64)
    order = np.argsort(problem.truth.count, kind="stable")  # the largest is written last
    cell[problem.truth.segment[order].astype(np.int64) - 1] = problem.truth.truth[order].astype(np.int64)
    told = (cell[pairs[:, 0]] == cell[pairs[:, 1]]) != (rng.random(len(pairs)) < wrong)
    return replace(problem, graph=replace(graph, lifted=Lifted(n, pairs, np.where(told, 0.5, -0.5))))


def save(problem: Problem, path: Path) -> None:
    """Keep a problem for a process of its own."""
    graph, truth = problem.graph, problem.truth
    arrays = {"edges": graph.edges, "boundary": graph.boundary, "sizes": graph.sizes}
    arrays |= {"truth": truth.truth, "node": truth.segment, "count": truth.count}
    if graph.lifted is not None:
        arrays |= {"pairs": graph.lifted.edges, "attraction": graph.lifted.attraction}
    np.savez(path, numbers=np.array([graph.n_nodes, problem.min_truth_size]), **arrays)


def load(path: Path) -> Problem:
    """What `save` kept."""
    with np.load(path) as file:
        n, least = (int(number) for number in file["numbers"])
        lifted = Lifted(n, file["pairs"], file["attraction"]) if "pairs" in file.files else None
        graph = Graph(n, file["edges"], file["boundary"], file["sizes"], lifted=lifted)
        truth = Contingency(file["truth"], file["node"], file["count"])
    return Problem(path.stem, graph, truth, least)
