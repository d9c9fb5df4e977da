"""Peak memory of every stage on a small and a large phantom, next to the plan: memory follows the block.

    .venv/bin/python benchmarks/memory.py --sizes 256 640

Runs the whole pipeline from the raw image with Snakemake. Asked: no stage above its plan, and no worker
of the large volume above 1.2 times that of the small one. An odd number of workers, so that each is a process
of its own: of two in one process, the peaks of blocks meet by chance, and the more blocks, the likelier.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import yaml

FOLDER = Path("results/benchmark")
BIN = Path(sys.executable).parent


def main() -> None:
    """Run and print the table; exit code 1 if a stage needs more than planned."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs=2, default=(256, 640), help="voxels a side")
    parser.add_argument("--block", type=int, default=96, help="voxels a side of a block")
    parser.add_argument("--cores", type=int, default=3)
    chosen = parser.parse_args()
    runs = [run(size, chosen.block, chosen.cores) for size in chosen.sizes]
    sys.exit(0 if table(*runs) else 1)


def run(size: int, block: int, cores: int) -> dict[str, tuple[int, int, int, int]]:
    """Planned and measured MB of each stage: process of workers, the same, own process, the same."""
    from cellflow.config import load
    from cellflow.engine.cluster import paired
    from cellflow.plan import MAIN_BASE, WORKER_BASE, planned

    results = FOLDER / f"memory-{size}"
    subprocess.run(["rm", "-rf", results], check=True)
    file = FOLDER / f"memory-{size}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    config = {
        "results": str(results),
        "samples": {"tissue": {"phantom": {"shape": [size] * 3, "seed": 5}}},
        "storage": {"block": [block] * 3, "chunk": [block // 3] * 3},
    }
    file.write_text(yaml.safe_dump(config))
    command = [BIN / "snakemake", "--profile", "profiles/local", "--configfile", file, "--cores", str(cores)]
    subprocess.run([*command, "--quiet", "all"], check=True)
    found = {}
    for row in planned(load(file)):
        usage = json.loads((results / "tissue" / "usage" / f"{row.stage}.json").read_text())
        main_mb = (MAIN_BASE + row.demand.main_bytes) >> 20
        worker_mb = (WORKER_BASE + paired(cores).threads * row.demand.worker_bytes) >> 20
        ours = (main_mb, usage["main_peak_mb"])
        found[row.stage] = (worker_mb, usage["worker_peak_mb"], *ours) if usage["tasks"] else (0, 0, *ours)
    return found


def table(small: dict[str, tuple[int, ...]], large: dict[str, tuple[int, ...]]) -> bool:
    """Print both runs; whether all stayed within the plan and the ratio."""
    print(
        f"{'':18}{'workers: planned':>16}{'small':>8}{'large':>8}{'ratio':>7}"
        f"{'own: planned':>14}{'small':>8}{'large':>8}"
    )
    good = True
    for stage, (plan, worker, main, own) in large.items():
        _, few, _, little = small[stage]
        ratio = worker / few if few else 0.0
        within = max(worker, few) <= max(plan, 1) and own <= main and ratio <= 1.2
        good &= within
        print(
            f"{stage:18}{plan:>16}{few:>8}{worker:>8}{ratio:>7.2f}"
            f"{main:>14}{little:>8}{own:>8}{'' if within else '  ABOVE'}"
        )
    return good


if __name__ == "__main__":
    main()
