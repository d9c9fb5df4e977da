"""Mutex watershed of all voxels: CPU seconds and memory in one piece, next to bioimage-cpp's.

    .venv/bin/python benchmarks/mutex.py --size 128

Noisy affinities of a phantom's cells, to direct neighbours and nine further ones, the latter on a lattice of
strides 2, 4, 4. One thread. Each call runs in a process of its own; peaks are above the affinities. Seconds
of the library are with its conversion to float32. The two differ in which of equal affinities comes first.
"""

import argparse
import multiprocessing
import os
import resource
import time
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np

DIRECT = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
FURTHER = (
    *((-3, 0, 0), (0, -9, 0), (0, 0, -9), (-2, -4, 0), (-2, 0, -4)),
    *((0, -9, -4), (0, -4, -9), (0, -9, 9), (-4, 0, 0)),
)
OFFSETS = (*DIRECT, *FURTHER)
STRIDES = (2, 4, 4)


def main() -> None:
    """Print a row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=128, help="voxels a side")
    parser.add_argument(
        "--noise", type=float, default=0.3, help="standard deviation on affinities of 0 and 1"
    )
    chosen = parser.parse_args()
    print(f"{chosen.size}^3 voxels, {len(OFFSETS)} offsets, strides {STRIDES}")
    print(f"{'':<14}{'CPU s':>8}{'Mvox/s':>8}{'B/voxel':>9}{'segments':>10}{'error':>8}")
    for name in ("cellflow", "bioimage-cpp"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, peak, segments, error = pool.apply(measured, (name, chosen.size, chosen.noise))
        voxels = chosen.size**3
        print(
            f"{name:<14}{seconds:>8.2f}{voxels / seconds / 1e6:>8.2f}{peak / voxels:>9.0f}{segments:>10}"
            f"{error:>8.4f}"
        )


def measured(name: str, size: int, noise: float) -> tuple[float, float, int, float]:
    """CPU seconds, bytes at the peak above what there was, segments, adapted Rand error."""
    from cellflow.core.contingency import contingency_block, without
    from cellflow.core.metrics import adapted_rand_error

    call = {"cellflow": ours, "bioimage-cpp": library}[name]
    small, _ = volume(32, noise)
    call(small)  # compiles
    values, truth = volume(size, noise)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    labels = call(values)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    error = adapted_rand_error(without(contingency_block(truth, labels.astype(np.uint64)))).error
    return seconds, 1024.0 * peak, len(np.unique(labels)), error


def volume(size: int, noise: float) -> tuple[Any, Any]:
    """Affinities x 255 (c, z, y, x) with noise, and the true cells."""
    from cellflow.core.affinities import affinities
    from cellflow.core.phantom import Phantom, phantom_block

    shape = (size // 2, size, 2 * size)
    truth = phantom_block(Phantom(shape=shape, seed=3), tuple(slice(0, n) for n in shape)).labels
    values, rng = affinities(truth, OFFSETS), np.random.default_rng(0)
    for channel in values:
        moved = 51 + 0.6 * channel + rng.normal(0, 255 * noise, channel.shape).astype(np.float32)
        channel[:] = np.clip(moved, 0, 255).astype(np.uint8)
    return values, truth


def ours(values: Any) -> Any:  # noqa: ANN401
    """What the stage does with one box."""
    from cellflow.core.agglomeration import agglomerate
    from cellflow.core.grid import Grid
    from cellflow.core.voxel_pairs import voxel_pairs

    grid = Grid(values.shape[1:], values.shape[1:])
    pairs = voxel_pairs(values, OFFSETS, grid[0], grid, STRIDES)
    return agglomerate(values[0].size, pairs, "abs_max", far_repels=True).labels.reshape(values.shape[1:])


def library(values: Any) -> Any:  # noqa: ANN401
    """bioimage-cpp 0.9: attractive affinities, and what speaks against the others."""
    import bioimage_cpp as bic

    weights = values.astype(np.float32) / np.float32(255)
    weights[len(DIRECT) :] = 1 - weights[len(DIRECT) :]
    return bic.segmentation.mutex_watershed(weights, OFFSETS, len(DIRECT), strides=STRIDES)


if __name__ == "__main__":
    main()
