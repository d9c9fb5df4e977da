"""Whole tables of a graph in memory: to compare with, as no stage needs one."""

from pathlib import Path

import numpy as np

from cellflow.core.edge_table import EdgeTable
from cellflow.core.nodes import NodeTable
from cellflow.engine.parts import load_part


def load_edges(table: Path, ranges: int) -> EdgeTable:
    return EdgeTable(**_stack(table, "edges", ranges))


def load_long_range(table: Path, ranges: int) -> EdgeTable:
    return EdgeTable(**_stack(table, "long_range", ranges))


def load_nodes(table: Path, ranges: int) -> NodeTable:
    return NodeTable(**_stack(table, "nodes", ranges))


def load_truth(table: Path, ranges: int) -> np.ndarray:
    return _stack(table, "truth", ranges)["cell"]


def _stack(table: Path, what: str, ranges: int) -> dict[str, np.ndarray]:
    found = [load_part(table / what, i) for i in range(ranges)]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
