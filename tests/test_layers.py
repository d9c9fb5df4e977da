"""Imports point down only, and each outside world is known to the files that are made for it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVELS = {
    "core": 0,
    "engine": 1,
    "solvers": 1,
    "networks": 1,
    "stages": 2,
    "sample": 3,
    "summary": 3,
    "manual": 3,
    "config": 4,
    "plan": 5,
    "models": 5,
    "training": 5,
    "selftraining": 5,
    "phantom": 6,
    "train": 6,
    "cli": 7,
    "__main__": 8,
}
OWNERS = {
    "dask": ("cellflow/engine/cluster.py",),
    "distributed": ("cellflow/engine/cluster.py",),
    "zarr": ("cellflow/engine",),
    "h5py": ("cellflow/engine/formats",),
    "tifffile": ("cellflow/engine/formats",),
    # What a config or a command needs of a network starts without torch, which takes a second.
    "torch": (
        *(
            f"cellflow/networks/{name}.py"
            for name in (
                "blocks",
                "unet",
                "checkpoint",
                "device",
                "model",
                "session",
                "focus",
                "reuse",
                "subpixels",
            )
        ),
        *(f"cellflow/networks/training/{n}.py" for n in ("fit", "forward", "judge", "losses", "processes")),
        "cellflow/networks/training/state.py",
    ),
    "bioimageio": ("cellflow/networks/sources/package.py",),
    "loguru": ("cellflow/networks/sources/package.py",),
    "urllib": ("cellflow/networks/sources/download.py",),
    "bioimage_cpp": (),
    "snakemake": (),
    "click": tuple(f"cellflow/{name}.py" for name in ("cli", "manual", "models", "phantom", "train")),
    "yaml": ("cellflow/config.py", "cellflow/phantom.py", "cellflow/manual.py", "cellflow/networks/sources"),
}


def imports(file: Path) -> set[str]:
    """Full names of all that a file imports, at its head or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str | None:
    """The room of a module such as cellflow.stages.graph; None for the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "cellflow" and parts[1] in LEVELS else None


def file_stage(place: str) -> str:
    """The stage a file belongs to: a module, or a folder of them."""
    return place.split("/")[2].removesuffix(".py")


def violations(root: Path) -> list[str]:
    found = []
    for file in sorted((root / "cellflow").rglob("*.py")):
        place = file.relative_to(root).as_posix()
        own = room(place.removesuffix(".py").replace("/", "."))
        for name in sorted(imports(file)):
            top, other = name.split(".")[0], room(name)
            if own and other and other != own and LEVELS[other] >= LEVELS[own]:
                found.append(f"{place} imports {name}, which lies above or beside it")
            if own == other == "stages" and name.split(".")[2] != file_stage(place):
                found.append(f"{place} imports another stage, {name}")
            if top in OWNERS and not place.startswith(OWNERS[top] or ("-",)):
                found.append(f"{place} imports {name}, which it must not know")
    return found


def test_imports_point_down_and_owners_own():
    assert violations(ROOT) == []


def test_every_file_has_a_place_in_the_house():
    known = {*LEVELS, "__init__"}
    assert {p.stem if p.is_file() else p.name for p in (ROOT / "cellflow").iterdir()} - known <= {
        "__pycache__",
        "py",
    }


@pytest.mark.parametrize(
    ("place", "line", "complaint"),
    [
        ("core/grid.py", "import zarr", "must not know"),
        ("core/grid.py", "def f():\n    from dask.base import compute", "must not know"),
        ("core/grid.py", "from cellflow.engine.store import Storage", "above or beside"),
        ("core/grid.py", "from cellflow import stages", "above or beside"),
        ("stages/graph.py", "from cellflow.stages import clean", "another stage"),
        ("stages/graph.py", "import cellflow.stages.clean", "another stage"),
        ("stages/graph.py", "from distributed import Client", "must not know"),
        ("stages/graph.py", "import zarr", "must not know"),
        ("stages/graph.py", "from cellflow import cli", "above or beside"),
        ("engine/store.py", "from cellflow.solvers import Solver", "above or beside"),
        ("engine/store.py", "import dask", "must not know"),
        ("solvers/gasp.py", "import torch", "must not know"),
        ("stages/predict.py", "def f():\n    import torch", "must not know"),
        ("engine/stage.py", "from torch import nn", "must not know"),
        ("cli.py", "import torch.nn", "must not know"),
        ("networks/spec.py", "import torch", "must not know"),
        ("networks/sources/listed.py", "import torch", "must not know"),
        ("networks/unet.py", "from cellflow.engine.store import Storage", "above or beside"),
        ("networks/model.py", "from urllib.request import urlopen", "must not know"),
        ("config.py", "import snakemake", "must not know"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, place, line, complaint):
    file = tmp_path / "cellflow" / place
    file.parent.mkdir(parents=True)
    file.write_text(line + "\n")
    assert [complaint in found for found in violations(tmp_path)] == [True]


def test_what_is_allowed_is_not_complained_of(tmp_path):
    good = {
        "stages/graph.py": "import cellflow\nfrom cellflow.engine.stage import Context\nimport numpy",
        "engine/cluster.py": "def f():\n    from distributed import Client",
        "cli.py": "from cellflow.config import load",
        "networks/unet.py": "import torch\nfrom cellflow.core.grid import Triple",
    }
    for place, text in good.items():
        file = tmp_path / "cellflow" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert violations(tmp_path) == []


def test_what_is_on_the_way_to_a_command_starts_without_torch():
    """Every module of the package but those that own torch, and `models list`, in one fresh process."""
    modules = [
        file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for file in sorted((ROOT / "cellflow").rglob("*.py"))
        if file.relative_to(ROOT).as_posix() not in OWNERS["torch"] and file.stem != "__main__"
    ]
    script = f"""
import sys
from importlib import import_module
for name in {modules}:
    import_module(name)
    assert "torch" not in sys.modules, name
from click.testing import CliRunner
from cellflow.cli import cli
for arguments in (["--help"], ["models", "list"], ["models", "check", "--help"], ["params", "predict"]):
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert "torch" not in sys.modules, arguments
import cellflow.networks.model
assert "torch" in sys.modules
"""
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert found.returncode == 0, found.stderr
