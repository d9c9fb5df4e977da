"""Cells of a boundary map that fits into memory, and how sure each of them is.

Supervoxels are cut and joined by GASP; then every cell gets, as mean boundary probabilities,

    face       of all its contacts with other cells: high if it ends where membranes are
    weakest    of its weakest contact: low if it was cut off from its other half
    inside     of the strongest contact between supervoxels joined in it: high if it is two cells

Its confidence is `weakest`: of these, of the stability between two levels of beta, and of products of them
it told correct cells from wrong ones best, on three kinds of images (benchmarks/README.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.distance import boundary_distance
from cellflow.core.edge_table import statistics
from cellflow.core.features import edges_block
from cellflow.core.graphs import Graph, cut_edges
from cellflow.core.grid import Triple
from cellflow.core.labels import look_up
from cellflow.core.schema import Schema, Voxel3
from cellflow.core.seeds import local_maxima
from cellflow.core.smoothing import smooth
from cellflow.core.watershed import merge_small, watershed
from cellflow.solvers import Gasp


class Cut(Schema):
    """How boundary maps become cells in each round."""

    threshold: float = Field(0.4, gt=0, lt=1)
    """Voxels with at least this boundary probability are boundary."""
    sigma_seeds: float = Field(2.0, ge=0, le=100)
    """Smoothing of the distance map before seeds are taken, in units of the finest voxel. Higher: fewer."""
    min_size: int = Field(100, ge=0)
    """Smallest supervoxel."""
    max_distance: float = Field(16.0, ge=1, le=1000)
    """Distances saturate here, in units of the finest voxel."""
    beta: float = Field(0.5, gt=0, lt=1)
    """Contacts with a boundary above 1 - beta keep cells apart. Higher: more cells."""


@dataclass(frozen=True)
class Cells:
    """A segmentation, 1..n, nowhere 0, and a row of measures for each cell."""

    labels: NDArray[np.uint64]
    size: NDArray[np.int64]
    face: NDArray[np.float64]
    weakest: NDArray[np.float64]
    inside: NDArray[np.float64]


def cells_of(boundary: NDArray[np.uint8], p: Cut, voxel_um: Voxel3) -> Cells:
    """Cells of a boundary map (z, y, x). Deterministic; about 40 B a voxel."""
    pieces = _supervoxels(boundary, p, voxel_um)
    table = statistics(edges_block(pieces, boundary, _triple(pieces.shape)))
    edges = table.edges.astype(np.int64) - 1
    graph = Graph(int(pieces.max()), edges, table.mean, table.size.astype(np.float64))
    of_piece = Gasp(beta=p.beta)(graph).labels
    labels = look_up(pieces, np.concatenate([[0], of_piece + 1]).astype(np.uint64))
    return _measured(labels, graph, of_piece)


def _supervoxels(boundary: NDArray[np.uint8], p: Cut, voxel_um: Voxel3) -> NDArray[np.uint64]:
    z, y, x = (v / min(voxel_um) for v in voxel_um)
    distance = boundary_distance(boundary < 255 * p.threshold, (z, y, x), p.max_distance)
    smooth(distance, (p.sigma_seeds / z, p.sigma_seeds / y, p.sigma_seeds / x))
    pieces = watershed(boundary, local_maxima(distance)[0])
    return merge_small(pieces, p.min_size, boundary).astype(np.uint64)


def _measured(labels: NDArray[np.uint64], graph: Graph, of_piece: NDArray[np.int64]) -> Cells:
    """Contacts between cells are pooled by their size before the weakest is looked for."""
    n = int(of_piece.max()) + 1
    apart = cut_edges(graph, of_piece)
    inside = np.zeros(n)
    np.maximum.at(inside, of_piece[graph.edges[~apart, 0]], graph.boundary[~apart])
    pair = np.sort(of_piece[graph.edges[apart]], axis=1)
    contacts, row = np.unique(pair, axis=0, return_inverse=True)
    size, evidence = np.zeros(len(contacts)), np.zeros(len(contacts))
    np.add.at(size, row, graph.sizes[apart])
    np.add.at(evidence, row, graph.sizes[apart] * graph.boundary[apart])
    area, total, weakest = np.zeros(n), np.zeros(n), np.ones(n)
    for side in (0, 1):
        np.add.at(area, contacts[:, side], size)
        np.add.at(total, contacts[:, side], evidence)
        np.minimum.at(weakest, contacts[:, side], evidence / size)
    weakest[area == 0] = 0
    counted = np.bincount(labels.ravel().astype(np.int64), minlength=n + 1)[1:]
    return Cells(labels, counted, total / np.maximum(area, 1), weakest, inside)


def _triple(shape: tuple[int, ...]) -> Triple:
    z, y, x = shape
    return z, y, x
