"""Compiled kernels are kept apart by the sources they came from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "cellflow"
SHOW = "import cellflow.core, os; print(os.environ.get('NUMBA_CACHE_DIR'))"


def folder(root: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    found = subprocess.run(
        [sys.executable, "-c", SHOW],
        env={**kept, "PYTHONPATH": str(root), **environment},
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


def test_the_folder_is_private_and_changes_with_the_sources(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "cellflow", ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "cache"
    before = folder(tmp_path, XDG_CACHE_HOME=str(cache))
    assert before.startswith(str(cache / "cellflow" / "kernels-"))
    assert (cache / "cellflow").stat().st_mode & 0o077 == 0
    assert folder(tmp_path, XDG_CACHE_HOME=str(cache)) == before
    with (tmp_path / "cellflow" / "core" / "forest" / "keys.py").open("a") as file:
        file.write("# another state\n")
    assert folder(tmp_path, XDG_CACHE_HOME=str(cache)) != before


def test_without_a_home_a_private_temporary_folder_serves(tmp_path):
    found = folder(PACKAGE.parent, XDG_CACHE_HOME="/proc/nothing", TMPDIR=str(tmp_path))
    assert found.startswith(str(tmp_path / f"cellflow-{os.getuid()}"))


def test_a_folder_that_the_user_names_is_kept(tmp_path):
    assert folder(PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path)) == str(tmp_path)
