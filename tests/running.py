"""Run the workflow as a user does: a folder, a config, the snakemake command."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
import zarr

ROOT = Path(__file__).parents[1]
TOY: dict[str, Any] = {
    "results": "results",
    "samples": {"toy": {"phantom": {"shape": [48, 64, 64], "seed": 1}}},
    "stages": {"supervoxels": {"max_distance": 12}},
    "storage": {"block": [32, 32, 32], "chunk": [16, 16, 16]},
}
STAGES = (
    *("phantom", "ingest-raw", "ingest-truth", "normalise", "predict", "supervoxels"),
    *("graph", "partition", "clean", "segment", "scores", "report"),
)


def write_config(folder: Path, content: dict[str, Any], name: str = "toy.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def command(*more: str, cores: int = 1) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
        *("--profile", str(ROOT / "profiles" / "local"), "--cores", str(cores), *more),
        *("--configfile", "toy.yaml"),
    ]


def environment() -> dict[str, str]:
    """Workers find the package of this checkout, and a run knows nothing of a run around it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SNAKEMAKE")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start(folder: Path, *more: str, cores: int = 1) -> "subprocess.Popen[str]":
    """A run in a session of its own, as from a terminal."""
    return subprocess.Popen(
        command(*more, cores=cores),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *more: str, cores: int = 1) -> tuple[int, str]:
    """Exit code and all that was said."""
    process = start(folder, *more, cores=cores)
    said = process.communicate(timeout=300)[0]
    return process.returncode, said


def cellflow(folder: Path, *arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cellflow", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **more,
    )


def receipts(sample: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sample.glob("*.json")}


def cells(sample: Path) -> Any:
    return zarr.open_array(str(sample / f"{sample.name}.ome.zarr" / "labels" / "cells" / "0"), mode="r")[:]
