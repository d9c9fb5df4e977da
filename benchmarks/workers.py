"""The supervoxel stage with one and with two workers, exact and independent, storage included.

    .venv/bin/python benchmarks/workers.py --size 1024

A phantom boundary map of 512^3, mirrored until it fills the size. Wall seconds of the whole stage, with the
start of its workers, and of the blocks' passes summed over workers, from the journal. Beside them, what the
machine gives: two stages of one worker at once, each on a copy. They take turns; medians of `--repeat`, and
of the ratios within a turn. Wants a machine with nothing else to do, and 10 GB of disk at 1024^3.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml
import zarr

os.environ.update(OMP_NUM_THREADS="1")

FOLDER = Path("results/benchmark")
PIECE = 512


def main() -> None:
    """Run the stage with one and two workers, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1024, help="voxels a side")
    parser.add_argument("--block", type=int, default=256, help="voxels a side of a block")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--modes", nargs="+", default=["exact", "independent"])
    chosen = parser.parse_args()
    made = ingested(chosen.size)
    print(f"{'mode':14}{'workers':>12}{'stage s':>9}{'work s':>9}{'Mvox/s':>9}{'times':>7}")
    for mode in chosen.modes:
        turns = [turn(made, mode, chosen.block) for _ in range(chosen.repeat)]
        for row in turns[0]:
            seconds, work = (median(one[row][i] for one in turns) for i in (0, 1))
            times = [one["1"][0] / one[row][0] for one in turns]
            each = ", ".join(f"{one:.2f}" for one in times)
            print(f"{mode:14}{row:>12}{seconds:>9.1f}{work:>9.1f}", end="")
            print(f"{chosen.size**3 / 1e6 / seconds:>9.1f}{median(times):>7.2f} ({each})", flush=True)


def turn(made: Path, mode: str, block: int) -> dict[str, tuple[float, float]]:
    """Seconds for a volume, and of work on it: one worker, two, two stages of one worker at once."""
    first, second = FOLDER / "workers" / "phantom", FOLDER / "workers-beside" / "phantom"
    found = {}
    for workers in (1, 2):
        finished([started(made, first, mode, workers, block)])
        found[str(workers)] = spent(first)
    finished([started(made, folder, mode, 1, block) for folder in (first, second)])
    both = [spent(folder) for folder in (first, second)]
    # In the seconds of the slower one, two volumes are done.
    found["1 and 1"] = (max(seconds for seconds, _ in both) / 2, sum(work for _, work in both) / 2)
    return found


def ingested(size: int) -> Path:
    """A sample with nothing but its boundary map."""
    results, source = FOLDER / f"workers-{size}", FOLDER / f"tiled-{size}.zarr"
    if not (results / "phantom" / "ingest-boundaries.json").exists():
        tile(phantom(), size, source)
        sample = {"boundaries": {"path": str(source), "voxel_size_um": [0.25] * 3}}
        config = FOLDER / f"workers-{size}.yaml"
        config.write_text(yaml.safe_dump({"results": str(results), "samples": {"phantom": sample}}))
        wanted = results / "phantom" / "ingest-boundaries.json"
        command = [sys.executable, "-m", "snakemake", wanted, "--profile", "profiles/local"]
        subprocess.run([*command, "--configfile", config], check=True)
        shutil.rmtree(source)
    return results / "phantom"


def phantom() -> Any:  # noqa: ANN401
    """A boundary map of `PIECE` voxels a side."""
    folder = FOLDER / f"phantom-{PIECE}"
    if not (folder / "phantom.json").exists():
        command = [sys.executable, "-m", "cellflow", "phantom", folder, "--shape", *[str(PIECE)] * 3]
        subprocess.run([*command, "--seed", "7"], check=True)
    return zarr.open_array(folder / "phantom" / "boundaries", mode="r")


def tile(piece: Any, size: int, target: Path) -> None:  # noqa: ANN401
    """Write a Zarr array of the piece, mirrored at its faces, a slab at a time."""
    mirrored = np.pad(np.arange(PIECE), (0, max(0, size - PIECE)), mode="symmetric")[:size]
    out = zarr.create_array(target, shape=(size,) * 3, chunks=(64,) * 3, dtype="u1", overwrite=True)
    for z in range(0, size, 64):
        planes = mirrored[z : z + 64]
        slab = piece[planes.min() : planes.max() + 1]
        out[z : z + 64] = slab[planes - planes.min()][:, mirrored][:, :, mirrored]


def started(made: Path, folder: Path, mode: str, workers: int, block: int) -> "subprocess.Popen[bytes]":
    """The stage in a copy of the sample that shares the boundary map."""
    from cellflow.stages.supervoxels import Params

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("boundaries"))
    image = folder / "phantom.ome.zarr" / "boundaries"
    image.symlink_to((made / "phantom.ome.zarr" / "boundaries").resolve())
    job = {
        "params": Params.model_validate({"blocks": {"name": mode}}).model_dump(mode="json"),
        "storage": {"block": [block] * 3, "chunk": [64, 64, 64]},
    }
    command = [sys.executable, "-m", "cellflow", "run", "supervoxels", str(folder)]
    command += [str(folder / "ingest-boundaries.json")]
    command += ["--job", json.dumps(job), "--workers", str(workers), "--log", str(folder / "log")]
    return subprocess.Popen(command)


def finished(stages: list["subprocess.Popen[bytes]"]) -> None:
    """Wait for them."""
    codes = [stage.wait() for stage in stages]
    if any(codes):
        sys.exit("a stage failed")


def spent(folder: Path) -> tuple[float, float]:
    """Seconds of the stage, and of its blocks."""
    usage = json.loads((folder / "usage" / "supervoxels.json").read_text())
    return usage["seconds"], usage["worker_seconds"]


if __name__ == "__main__":
    main()
