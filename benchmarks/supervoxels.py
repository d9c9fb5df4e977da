"""Speed and memory of supervoxels and graph, next to the best library call for each step.

    .venv/bin/python benchmarks/supervoxels.py --size 256

One thread, one process, one array: a phantom boundary map of the size, or `--file` tiled up to it. The
process keeps freed memory, as the stages' processes do, for both sides; `--fresh` leaves that out. Prints
CPU seconds (not wall: other programs may run), Mvox/s and the peak memory of each step.

* `ours`: what the stages run. `independent` floods the block with its halo, `exact` the core alone: the array
  as one block, and as the stage does it, in blocks with halos whose open ends are joined (the same labels).
* `libraries`: bioimage-cpp, scipy, cc3d for the same steps on the same array.
* `floor`: reading and writing the bytes a step must touch, at this machine's measured copy speed.
"""

import argparse
import os
import time
from collections.abc import Callable
from ctypes import CDLL
from pathlib import Path
from threading import Event, Thread
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
import psutil

from cellflow.engine import heap

Rows = list[tuple[str, float, float]]
VOXEL = (1.0, 1.0, 1.0)
BLOCK = 128


def main() -> None:
    """Time both sides on the same array and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=256, help="voxels a side")
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many")
    parser.add_argument("--file", type=Path, help="HDF5 file with a boundary map to tile up")
    parser.add_argument("--dataset", default="boundary")
    parser.add_argument("--fresh", action="store_true", help="let large arrays be new memory each time")
    chosen = parser.parse_args()
    if not chosen.fresh:
        heap.keep()
    boundaries = tiled(chosen) if chosen.file else phantom(chosen.size)
    ours(boundaries[:96, :96, :96], 1)  # compiles
    print(f"{chosen.file or 'phantom'}, {boundaries.shape}, {boundaries.size / 1e6:.1f} Mvox")
    for title, rows in (
        ("ours", ours(boundaries, chosen.repeat)),
        ("libraries", libraries(boundaries, chosen.repeat)),
        ("floor", floor(boundaries)),
    ):
        print(f"\n{title:<34}{'CPU s':>8}{'Mvox/s':>10}{'peak B/voxel':>14}")
        for name, seconds, peak in rows:
            speed, bytes_each = boundaries.size / 1e6 / seconds, peak / boundaries.size
            print(f"  {name:<32}{seconds:>8.2f}{speed:>10.1f}{bytes_each:>14.1f}")


def ours(boundaries: Any, repeat: int) -> Rows:  # noqa: ANN401
    """The stages' own functions."""
    from cellflow.core.edge_table import statistics
    from cellflow.core.features import edges_block
    from cellflow.core.forest.block import forest_block
    from cellflow.core.forest.join import supervoxel_tables
    from cellflow.core.grid import Grid, whole
    from cellflow.core.nodes import nodes_block
    from cellflow.stages.supervoxels import Params
    from cellflow.stages.supervoxels.block import landscape, supervoxels_block

    p = Params()

    def exact(side: int) -> Any:  # noqa: ANN401
        grid = Grid(boundaries.shape, (side,) * 3)
        outer = Grid(boundaries.shape, (side,) * 3, p.halo(VOXEL))
        local, parts = np.empty(boundaries.shape, np.uint32), {}
        for block in outer:
            altitude, smoothed = landscape(boundaries[block.outer], p, VOXEL, None, block.crop)
            local[block.core], parts[block.id] = forest_block(
                altitude, smoothed, block, boundaries.shape, p.min_size, planar=False
            )
        tables, _ = supervoxel_tables(grid, parts, p.min_size)
        for block in grid:  # of 32 bits, as the libraries' labels are
            local[block.core] = tables[block.id].astype(np.uint32)[local[block.core]]
        return local

    rows: Rows = []
    labels = measured(rows, "supervoxels, exact", lambda: exact(max(boundaries.shape)), repeat)
    blocks = measured(rows, f"supervoxels, exact, blocks {BLOCK}", lambda: exact(BLOCK), repeat)
    if boundaries.shape[0] > BLOCK and not np.array_equal(blocks, labels):
        raise SystemExit("blocks change the supervoxels")
    measured(rows, "supervoxels, independent", lambda: supervoxels_block(boundaries, p, VOXEL), repeat)
    labels = labels.astype(np.uint64)
    everything = whole(boundaries.shape)
    measured(rows, "landscape", lambda: landscape(boundaries, p, VOXEL, None, everything), repeat)

    def graph() -> Any:  # noqa: ANN401
        found = statistics(edges_block(labels, boundaries, boundaries.shape))
        return found, nodes_block(labels, (0, 0, 0))

    measured(rows, "graph, moments, quantiles, nodes", graph, repeat)
    return rows


def libraries(boundaries: Any, repeat: int) -> Rows:  # noqa: ANN401
    """The fastest library call known to us for each step; floods by levels of each block's range."""
    import bioimage_cpp as bic
    import cc3d
    from scipy.ndimage import maximum_filter

    rows: Rows = []
    distance = measured(
        rows, "distance", lambda: bic.distance.distance_transform(boundaries < 102), repeat
    ).astype(np.float32)
    smoothed = measured(rows, "smoothing", lambda: bic.filters.gaussian_smoothing(distance, 2.0), repeat)
    inside = boundaries < 102
    peaks = measured(rows, "local maxima", lambda: (maximum_filter(smoothed, 3) == smoothed) & inside, repeat)
    seeds = measured(
        rows, "components of seeds", lambda: cc3d.connected_components(peaks, connectivity=26), repeat
    )
    heights = boundaries.astype(np.float32)
    flood = bic.segmentation.watershed
    labels = measured(rows, "flooding", lambda: flood(heights, seeds), repeat)
    measured(rows, "min size (flooding again)", lambda: flood(heights, without_small(labels, 100)), repeat)
    rows.append(("supervoxels, sum of the above", sum(r[1] for r in rows), max(r[2] for r in rows)))
    dense = labels.astype(np.uint32)

    def graph() -> Any:  # noqa: ANN401
        rag = bic.graph.region_adjacency_graph(dense, number_of_threads=1)
        measure = bic.graph.features.edge_map_features_complex
        return measure(rag, dense, heights, number_of_threads=1)

    measured(rows, "graph, moments, quantiles", graph, repeat)
    return rows


def without_small(labels: Any, least: int) -> Any:  # noqa: ANN401
    """Labels with those of fewer voxels set to 0."""
    small = np.bincount(labels.ravel()) < least
    return np.where(small[labels], 0, labels)


def floor(boundaries: Any) -> Rows:  # noqa: ANN401
    """Copying the bytes that cannot be avoided: map in and labels out; for the graph labels and map in."""
    rows: Rows = []
    labels = np.zeros(boundaries.shape, np.uint32)
    measured(rows, "1 B in, 4 B out", lambda: np.add(boundaries, 1, out=labels, casting="unsafe"), 3)
    wide = np.zeros(boundaries.shape, np.uint64)
    measured(rows, "9 B in", lambda: (wide.max(), boundaries.max()), 3)
    return rows


def measured(rows: Rows, name: str, call: Callable[[], Any], repeat: int) -> Any:  # noqa: ANN401
    """The result; its best CPU seconds, and its peak memory above the start, with the result."""
    getattr(CDLL(None), "malloc_trim", bool)(0)  # what was kept would not count
    process, best, peak, result = psutil.Process(), np.inf, 0.0, None
    for _ in range(repeat):
        result = None
        before, stop, seen = process.memory_info().rss, Event(), [0]
        watcher = Thread(target=watch, args=(process, stop, seen), daemon=True)
        watcher.start()
        start = time.process_time()
        result = call()
        best = min(best, time.process_time() - start)
        stop.set()
        watcher.join()
        peak = max(peak, seen[0] - before)
    rows.append((name, best, peak))
    return result


def watch(process: psutil.Process, stop: Event, seen: list[int]) -> None:
    """Note the largest resident memory until told to stop."""
    while not stop.wait(0.01):
        seen[0] = max(seen[0], process.memory_info().rss)


def phantom(size: int) -> Any:  # noqa: ANN401
    """The noise-free boundary map of a phantom, cubes as voxels."""
    from cellflow.core.phantom import Phantom, phantom_block

    p = Phantom(shape=(size,) * 3, voxel_size_um=(0.3, 0.3, 0.3), seed=11)
    out = np.empty(p.shape, np.uint8)
    for z in range(0, size, 64):  # a slab at a time: the generator needs 30 B a voxel
        out[z : z + 64] = phantom_block(
            p, (slice(z, min(z + 64, size)), slice(0, size), slice(0, size))
        ).boundaries
    return out


def tiled(chosen: argparse.Namespace) -> Any:  # noqa: ANN401
    """A real map, mirrored at its faces until it fills the size."""
    import h5py

    with h5py.File(chosen.file, "r") as file:
        small = file[chosen.dataset][:]
    pad = [(0, max(chosen.size - n, 0)) for n in small.shape]
    return np.ascontiguousarray(np.pad(small, pad, mode="symmetric"))


if __name__ == "__main__":
    main()
