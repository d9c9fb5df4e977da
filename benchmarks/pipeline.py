"""Seconds a stage and Mvox/s of the pipeline on a phantom, from its boundary map, next to memory alone.

    .venv/bin/python benchmarks/pipeline.py --size 512

Three ways to the same cells, timed in one run on the same volume:

* `pipeline`: Snakemake, two Dask workers, every volume read from and written to sharded OME-Zarr;
* `kernels`: the stages' own functions on the whole array, one thread, nothing stored;
* `libraries`: the best library call for each step on the whole array, one thread, nothing stored.

Makes about 6 GB under results/benchmark at 512^3, and needs 12 GB of memory.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
import yaml

FOLDER = Path("results/benchmark")
BIN = Path(sys.executable).parent


def main() -> None:
    """Time the three and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512, help="voxels a side")
    parser.add_argument("--block", type=int, default=256, help="voxels a side of a block")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--only", choices=["pipeline", "kernels", "libraries"])
    chosen = parser.parse_args()
    folder = FOLDER / f"phantom-{chosen.size}"
    if not (folder / "phantom.json").exists():
        n = str(chosen.size)
        subprocess.run([BIN / "cellflow", "phantom", folder, "--shape", n, n, n, "--seed", "7"], check=True)
    ways = {"pipeline": pipeline, "kernels": kernels, "libraries": libraries}
    for name in [chosen.only] if chosen.only else ways:
        if chosen.only or name == "pipeline":
            report(name, chosen.size, ways[name](folder, chosen))
        else:  # a process of its own, so that peak memory is its own
            subprocess.run([sys.executable, __file__, "--size", str(chosen.size), "--only", name], check=True)


def report(name: str, size: int, seconds: dict[str, float]) -> None:
    """One column of the table."""
    voxels = size**3 / 1e6
    print(f"\n{name} on {size}^3 = {voxels:.0f} Mvox")
    for step, taken in seconds.items():
        print(f"  {step:<22}{taken:>8.1f} s{voxels / max(taken, 1e-3):>9.1f} Mvox/s")


def pipeline(folder: Path, chosen: argparse.Namespace) -> dict[str, float]:
    """Wall seconds of every stage and of the whole command."""
    results = FOLDER / f"run-{chosen.size}"
    subprocess.run(["rm", "-rf", results], check=True)
    volume = {role: {"path": str(folder / "phantom" / role)} for role in ("boundaries", "truth")}
    voxel = json.loads((folder / "phantom.json").read_text())["params"]["voxel_size_um"]
    sample = {role: {**where, "voxel_size_um": voxel} for role, where in volume.items()}
    config = {
        "results": str(results),
        "samples": {"phantom": sample},
        "storage": {"block": [chosen.block] * 3},
    }
    file = FOLDER / f"run-{chosen.size}.yaml"
    file.write_text(yaml.safe_dump(config))
    start = time.perf_counter()
    command = [BIN / "snakemake", "--profile", "profiles/local", "--configfile", file]
    subprocess.run([*command, "--cores", str(chosen.cores), "--quiet", "all"], check=True)
    whole = time.perf_counter() - start
    usages = sorted((results / "phantom" / "usage").glob("*.json"), key=lambda f: f.stat().st_mtime)
    found = {f.stem: json.loads(f.read_text())["seconds"] for f in usages}
    scores = json.loads((results / "phantom" / "scores.json").read_text())["result"]
    print(f"adapted Rand error {scores['adapted_rand_error']:.4f}")
    return {**found, "whole command": whole}


def kernels(folder: Path, _: argparse.Namespace) -> dict[str, float]:
    """The stages' functions on whole arrays."""
    from cellflow.core.edge_table import statistics
    from cellflow.core.graphs import Graph
    from cellflow.core.grid import Grid
    from cellflow.core.labels import look_up
    from cellflow.core.metrics import scores
    from cellflow.core.nodes import at_border
    from cellflow.core.segments import touching
    from cellflow.stages import clean, graph, partition, supervoxels
    from cellflow.stages.scores import scores_block

    seconds: dict[str, float] = {}
    boundaries, truth, voxel = volumes(folder)
    supervoxels.supervoxels_block(boundaries[:64, :64, :64], supervoxels.Params(), voxel)  # compiles
    cut = timed(
        seconds, "supervoxels", supervoxels.supervoxels_block, boundaries, supervoxels.Params(), voxel
    )
    cut = timed(seconds, "supervoxels", cut.astype, np.uint64)
    block = Grid(cut.shape, cut.shape)[0]
    rows, nodes = timed(seconds, "graph", graph.graph_block, cut, boundaries, block)
    table = timed(seconds, "graph", statistics, rows)
    edges = table.edges.astype(np.int64) - 1
    built = Graph(len(nodes.id), edges, table.mean, table.size.astype(np.float64))
    found = timed(seconds, "partition", partition.Params().solver, built)
    cells = timed(
        seconds,
        "clean",
        clean.clean_graph,
        partial(touching, edges, table.mean),
        nodes.size,
        at_border(nodes, cut.shape),
        found.labels + 1,
        clean.Params(),
    )
    cells = timed(seconds, "segment", look_up, cut, np.concatenate([[0], cells]).astype(np.uint64))
    counted = timed(seconds, "scores", scores_block, truth, cells)
    print(f"adapted Rand error {scores(counted)['adapted_rand_error']:.4f}, {len(nodes.id)} supervoxels")
    return {**seconds, "all steps": sum(seconds.values())}


def libraries(folder: Path, _: argparse.Namespace) -> dict[str, float]:
    """The fastest library call known to us for each step."""
    import bioimage_cpp as bic
    import cc3d
    from scipy.ndimage import maximum_filter

    from cellflow.core.graphs import Graph
    from cellflow.solvers import Multicut

    seconds: dict[str, float] = {}
    boundaries, _truth, voxel = volumes(folder)
    pitch = tuple(v / min(voxel) for v in voxel)
    inside = boundaries < 102
    distance = timed(seconds, "distance", bic.distance.distance_transform, inside, sampling=pitch)
    sigma = [2.0 / p for p in pitch]
    smooth = timed(seconds, "smoothing", bic.filters.gaussian_smoothing, distance.astype(np.float32), sigma)
    peaks = timed(seconds, "seeds", lambda: (maximum_filter(smooth, 3) == smooth) & inside)
    seeds = timed(seconds, "seeds", cc3d.connected_components, peaks, connectivity=26)
    heights = boundaries.astype(np.float32)
    cut = timed(seconds, "flooding", bic.segmentation.watershed, heights, seeds)
    rag = timed(seconds, "graph", bic.graph.region_adjacency_graph, cut, number_of_threads=1)
    measure = bic.graph.features.edge_map_features_complex  # moments and quantiles, as the graph stage
    table = timed(seconds, "features", measure, rag, cut, heights / 255, number_of_threads=1)
    mean, sizes = (table[:, bic.graph.features.COMPLEX_EDGE_FEATURE_NAMES.index(n)] for n in ("mean", "size"))
    edges = np.sort(np.asarray(rag.uv_ids()).astype(np.int64), axis=1)
    built = Graph(int(cut.max()) + 1, edges, mean.astype(float), sizes.astype(float))
    found = timed(seconds, "partition", Multicut(), built)
    timed(seconds, "write back", np.take, found.labels, cut)
    return {**seconds, "all steps": sum(seconds.values())}


def volumes(folder: Path) -> tuple[Any, Any, tuple[float, float, float]]:
    """Boundary map, truth and voxel size, in memory."""
    import zarr

    z, y, x = json.loads((folder / "phantom.json").read_text())["params"]["voxel_size_um"]
    boundaries, truth = (
        np.asarray(zarr.open_array(folder / "phantom" / n, mode="r")[:]) for n in ("boundaries", "truth")
    )
    return boundaries, truth, (z, y, x)


def timed(seconds: dict[str, float], step: str, call: Callable[..., Any], *given: Any, **named: Any) -> Any:  # noqa: ANN401
    """The result of the call; its seconds are added to the step."""
    start = time.perf_counter()
    result = call(*given, **named)
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
    return result


if __name__ == "__main__":
    main()
