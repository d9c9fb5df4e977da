"""The supervoxel stage with one and with two workers, exact and independent, storage included.

    .venv/bin/python benchmarks/pipeline.py --size 512    # makes the volume
    .venv/bin/python benchmarks/workers.py --size 512

Seconds of the blocks' passes alone, from the journal, and of the whole stage with the start of its workers.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1")

FOLDER = Path("results/benchmark")


def main() -> None:
    """Run the stage four times and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--block", type=int, default=128, help="voxels a side of a block")
    chosen = parser.parse_args()
    made = FOLDER / f"run-{chosen.size}" / "phantom"
    print(f"{'mode':14}{'workers':>8}{'stage s':>9}{'work s':>9}{'Mvox/s':>9}")
    for mode in ("exact", "independent"):
        for workers in (1, 2):
            usage = run(made, mode, workers, chosen.block)
            speed = chosen.size**3 / 1e6 / usage["seconds"]
            row = f"{mode:14}{workers:>8}{usage['seconds']:>9.1f}{usage['worker_seconds']:>9.1f}{speed:>9.1f}"
            print(row)


def run(made: Path, mode: str, workers: int, block: int) -> dict[str, float]:
    """What the stage cost in a copy of the sample that shares the boundary map."""
    from cellflow.stages.supervoxels import Params

    folder = FOLDER / "workers" / "phantom"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder, ignore=shutil.ignore_patterns("raw", "labels", "boundaries", "*.html"))
    image = folder / "phantom.ome.zarr" / "boundaries"
    image.symlink_to((made / "phantom.ome.zarr" / "boundaries").resolve())
    job = {
        "params": Params.model_validate({"blocks": {"name": mode}}).model_dump(mode="json"),
        "storage": {"block": [block] * 3, "chunk": [64, 64, 64]},
    }
    command = [sys.executable, "-m", "cellflow", "run", "supervoxels", str(folder)]
    command += [str(folder / "ingest-raw.json"), str(folder / "ingest-boundaries.json")]
    command += ["--job", json.dumps(job), "--workers", str(workers), "--log", str(folder / "log")]
    subprocess.run(command, check=True)
    found: dict[str, float] = json.loads((folder / "usage" / "supervoxels.json").read_text())
    return found


if __name__ == "__main__":
    main()
