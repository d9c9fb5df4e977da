"""Make a region adjacency graph with its exact truth, range by range, so that it can be any size.

It lies where the stage `graph` leaves its own, with a receipt of that name: `partition` runs on it alone.
"""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cellflow.core.graph_phantom import GraphPhantom, graph_range
from cellflow.engine.parts import save_packed
from cellflow.engine.stage import Context
from cellflow.engine.tables import NODES_PER_RANGE

Params = GraphPhantom


@dataclass(frozen=True)
class _Range:
    """Nodes `start` to `stop` (exclusive): one task, one file of each table."""

    id: int
    start: int
    stop: int


def run(context: Context, p: GraphPhantom) -> dict[str, Any]:
    """Write `edges`, `nodes` and `truth`, `<range>.npz` each; return what the stage `graph` would, and cells.

    Holds one range at a time, about 10 MB, and writes 16 B an edge.
    """
    end, table = p.n_nodes + 1, context.output("table")
    starts = range(1, end, NODES_PER_RANGE)
    ranges = [_Range(i, a, min(a + NODES_PER_RANGE, end)) for i, a in enumerate(starts)]
    parts = context.map("blocks", partial(_task, p=p, table=table), ranges)
    sums = {name: sum(part[name] for part in parts) for name in ("edges", "contacts", "cells")}
    known = {"nodes": p.n_nodes, "ranges": len(ranges), "nodes_per_range": NODES_PER_RANGE}
    return {**known, "quantiles": [], **sums}


def _task(wanted: _Range, p: GraphPhantom, table: Path) -> dict[str, Any]:
    made = graph_range(p, wanted.start, wanted.stop)
    save_packed(table / "edges", wanted.id, asdict(made.edges))
    save_packed(table / "nodes", wanted.id, asdict(made.nodes))
    save_packed(table / "truth", wanted.id, {"cell": made.truth})
    return {
        "edges": len(made.edges.edges),
        "contacts": int(made.edges.size.sum()),
        "cells": int(np.count_nonzero(made.truth == made.nodes.id)),  # its centre lies in one range
    }
