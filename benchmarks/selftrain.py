"""Does self-training help, and is it the choice of cells that helps?

    .venv/bin/python benchmarks/train.py && .venv/bin/python benchmarks/selftrain.py

Runs `configs/selftrain_phantom.yaml` as it is and with cells picked at random, and prints both tables: the
adapted Rand error of each round's teacher on the volumes that students learn from, and on one that they never
see. The teacher is the network of `benchmarks/train.py`.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import yaml

CONFIG = Path("configs/selftrain_phantom.yaml")
FOLDER = Path("results/benchmark")


def main() -> None:
    """Run both and let the workflow print its tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--by", nargs="*", default=["confidence", "random"])
    parser.add_argument("--rounds", type=int, default=4)
    chosen = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for by in chosen.by:
        content = yaml.safe_load(CONFIG.read_text())
        content["results"] = str(FOLDER / f"selftrain-{by}")
        given = content["selftraining"]
        given["choice"]["by"], given["rounds"] = by, chosen.rounds
        file = FOLDER / f"selftrain-{by}.yaml"
        file.write_text(yaml.safe_dump(content))
        command = [sys.executable, "-m", "snakemake", "selftrain", "--profile", "profiles/local"]
        subprocess.run([*command, "--configfile", file, "--cores", "1", "--quiet", "all"], check=True)


if __name__ == "__main__":
    main()
