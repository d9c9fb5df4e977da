"""Make cells and nuclei agree, after any solver: a cell has one nucleus.

Works on the graph, with sizes of the whole volume; only for samples with nuclei. In this order:

1. a nucleus counts for the one segment that has most of it;
2. segments with several nuclei are divided among them, across the weakest boundaries first;
3. small segments without a nucleus join the neighbour with the weakest boundary.

At the border of the volume nothing is joined: the nucleus of a cut cell may lie outside. Nor is what is as
large as a cell: its nucleus may have been missed, or it is background, which `clean` knows by its size. A
background with several specks that were taken for nuclei is divided among them, and stays background for
`clean` as long as its parts are large.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.one_nucleus import at_home, join, nuclei_of, split
from cellflow.core.schema import Schema
from cellflow.core.segments import renumber, segment_sizes
from cellflow.engine.atomic import write
from cellflow.engine.stage import Context
from cellflow.engine.store import Demand
from cellflow.engine.tables import load_nuclei, load_sizes, load_touching


class Params(Schema):
    """What becomes of cells with several nuclei, and of segments with none."""

    split: bool = True
    """Divide a cell that has several nuclei among them. Off if cells may have two nuclei, or if nuclei come
    in pieces."""
    join: float = Field(0.5, ge=0)
    """Segments without a nucleus, inside the volume and smaller than this many median cells with one, join a
    neighbour. Higher: fewer pieces, and cells whose nucleus was missed are lost; 0 joins nothing."""


def demand(nodes: int, edges: int) -> Demand:
    """What every node needs, and the edges of the segments that are mended, taken to be a tenth."""
    return Demand(tasks=0, main_bytes=edges * 20 + nodes * 200, disk_bytes=nodes * 8)


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `segments.npy`: the segment of every supervoxel 0..n; the result says what was changed."""
    ranges = context.result("graph")["ranges"]
    table = context.file("graph", "table")
    z, y, x = context.result("ingest-raw")["shape"]
    size, border = load_sizes(table, ranges, (z, y, x))
    known = load_nuclei(context.file("nuclei", "table"), context.result("nuclei")["ranges"])
    segments = np.load(context.file("partition", "segments.npy"), allow_pickle=False)[1:].astype(np.int64)
    nucleus = at_home(segments, known)
    several = nuclei_of(segments, nucleus) > 1
    if p.split:
        rows = load_touching(table, ranges, ["mean"], several[segments])
        segments = split(rows["edges"], rows["mean"], segments, nucleus)
    orphan = orphans(segments, nucleus, size, border, p.join)
    rows = load_touching(table, ranges, ["mean", "size"], orphan[segments])
    segments, count = renumber(join(rows["edges"], rows["mean"], rows["size"], segments, orphan))
    found = np.concatenate([[0], segments]).astype(np.uint64)
    write(context.output("segments.npy"), lambda file: np.save(file, found))
    return {
        "segments": count,
        "with_several": int(several.sum()),
        "joined": int(orphan.sum()),
        "without": int((nuclei_of(segments, nucleus)[1:] == 0).sum()),
    }


def orphans(
    segments: NDArray[np.int64],
    nucleus: NDArray[np.uint64],
    size: NDArray[np.int64],
    border: NDArray[np.bool_],
    limit: float,
) -> NDArray[np.bool_]:
    """Flags of the segments 0..max that are no cells of their own, as `join` (`limit`) says."""
    sizes, count = segment_sizes(segments, size), nuclei_of(segments, nucleus)
    small = np.zeros(sizes.size, np.bool_)
    if (count > 0).any():
        small = (sizes > 0) & (sizes < limit * np.median(sizes[count > 0]))
    small[segments[border]] = False
    small[count > 0] = False
    return small
