"""A training as a user runs it: from files to a model, killed on the way, wrongly written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from running import command, environment

from cellflow.cli import cli
from cellflow.core.errors import BadInput
from cellflow.core.phantom import Phantom, phantom_block
from cellflow.networks.architecture import Architecture
from cellflow.networks.heads import Foreground
from cellflow.networks.model import load_model
from cellflow.networks.spec import ModelSpec

SHAPE = (16, 40, 40)
TOY = {
    "results": "out",
    "training": {
        "train": [
            {"raw": {"path": "in.h5", "dataset": "raw"}, "truth": {"path": "in.h5", "dataset": "truth"}},
            {"phantom": {"shape": [16, 32, 32], "cell_um": 4}, "seeds": [3]},
        ],
        "check": [{"phantom": {"shape": [16, 32, 32], "cell_um": 4}, "seeds": [4]}],
        "architecture": {"f_maps": 4, "num_levels": 2},
        "patches": {"shape": [8, 16, 16], "batch": 2, "per_epoch": 8},
        "optimiser": {"learning_rate": 0.01, "schedule": {"name": "cosine"}},
        "epochs": 3,
        "save_every": 1,
        "device": "cpu",
    },
}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    made = phantom_block(Phantom(shape=SHAPE, cell_um=4, tissue=1.0), tuple(slice(0, n) for n in SHAPE))
    with h5py.File(folder / "in.h5", "w") as file:
        file["raw"], file["truth"] = made.raw, made.labels
        file["small"], file["float"] = made.labels[:8], made.raw.astype(np.float32)
        file["raw"].attrs["element_size_um"] = (0.5, 0.25, 0.25)
    return folder


@pytest.fixture
def folder(volumes, tmp_path):
    (tmp_path / "in.h5").symlink_to(volumes / "in.h5")
    return tmp_path


def said_by(folder):
    """What `cellflow train` prints, run in this process; raises what it raises."""
    before, threads = Path.cwd(), torch.get_num_threads()
    os.chdir(folder)
    torch.set_num_threads(1)
    try:
        return CliRunner().invoke(cli, ["train", "toy.yaml"], catch_exceptions=False).output
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)


def write(folder, content=TOY, **training):
    changed = {**content, "training": {**content["training"], **training}}
    (folder / "toy.yaml").write_text(yaml.safe_dump(changed))


@pytest.fixture(scope="module")
def done(volumes):
    """The folder of a training that ran undisturbed, through Snakemake."""
    write(volumes)
    found = subprocess.run(
        [*command()[:3], "train", *command()[3:]],
        cwd=volumes,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr
    return volumes / "out"


def test_the_workflow_leaves_a_model_that_loads(done):
    made = {path.name for path in (done / "train").iterdir()}
    assert made == {
        "model.pytorch",
        "model.yaml",
        "last.pytorch",
        "last.yaml",
        "curves.csv",
        "report.html",
        "key",
    }
    model = load_model(ModelSpec(model=str(done / "train" / "model.pytorch")), "cpu")
    assert model.description.normalisation.name == "mean_std"
    assert model.description.voxel_size_um == (0.5, 0.25, 0.25)
    assert model.description.reach == (9, 9, 9)
    result = json.loads((done / "train.json").read_text())["result"]
    assert result["sha256"] == model.sha256
    assert result["epochs"] == 3
    assert not list((done / "partial").iterdir())


def test_the_page_stands_alone(done):
    html = (done / "train" / "report.html").read_text()
    assert html.count("<svg") == 3
    assert html.count("data:image/png") == 3
    assert "http" not in html.replace("http-equiv", "")
    assert "training.epochs" not in html
    assert "optimiser.learning_rate" in html


def test_a_killed_training_goes_on_to_the_same_bytes(done, folder):
    write(folder)
    state = folder / "out" / "partial" / "train" / "scratch" / "state.pytorch"
    process = subprocess.Popen(
        [sys.executable, "-m", "cellflow", "train", "toy.yaml"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not state.exists() and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert state.exists()
    assert not (folder / "out" / "train.json").exists()
    assert said_by(folder).endswith("report.html\n")
    for name in ("train/curves.csv", "train/model.pytorch", "train.json"):
        assert (folder / "out" / name).read_bytes() == (done / name).read_bytes(), name
    assert "was done before" in said_by(folder)


def test_a_training_can_begin_with_a_model(done, folder):
    start = str(done / "train" / "model.pytorch")
    given = {k: v for k, v in TOY["training"].items() if k != "architecture"}
    write(folder, {"results": "out", "training": given}, start=start, epochs=1)
    said_by(folder)
    first = _losses(done)[0]
    assert _losses(folder / "out")[0] < 0.9 * first
    assert load_model(ModelSpec(model=str(folder / "out/train/model.pytorch")), "cpu")


def _losses(results):
    lines = (results / "train" / "curves.csv").read_text().splitlines()
    at = lines[0].split(",").index("loss")
    return [float(line.split(",")[at]) for line in lines[1:]]


RAW, TRUTH = TOY["training"]["train"][0]["raw"], TOY["training"]["train"][0]["truth"]
HEADS = Architecture(heads=(Foreground(),)).model_dump(mode="json", include={"heads"})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"train": [{"raw": RAW}]}, "found no labels, expected truth or nuclei"),
        ({"train": []}, "train"),
        ({"patches": {"shape": [16, 48, 48]}}, "expected at most (16, 40, 40)"),
        ({"patches": {"shape": [8, 15, 16]}}, "along y: found 15, expected a multiple of 2"),
        (
            {"architecture": {"f_maps": 4, **HEADS}},
            "targets for the heads ['boundary'], expected one for each",
        ),
        ({"targets": [{"name": "nuclei"}]}, "targets for the heads ['nuclei']"),
        ({"train": [{"raw": RAW, "truth": {**TRUTH, "dataset": "small"}}]}, "found shape (8, 40, 40)"),
        ({"train": [{"raw": RAW, "truth": {**TRUTH, "dataset": "float"}}]}, "found float32, expected whole"),
        ({"train": [{"raw": {"path": "no.h5"}, "truth": TRUTH}]}, "does not exist"),
        ({"targets": [{"name": "boundary", "loss": {"name": "mse"}}]}, "expected mse with none"),
        ({"architecture": {"f_maps": 4, "in_channels": 2}}, "in_channels is 2, expected 1"),
        ({"start": "no.pytorch"}, "no.pytorch"),
        ({"device": "cuda:7"}, "expected a GPU that is visible"),
        ({"epoch": 3}, "did you mean 'epochs'?"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_wrong_is_said_in_one_line(folder, wrong, said):
    write(folder, **wrong)
    with pytest.raises(BadInput) as found:
        said_by(folder)
    assert said in str(found.value)
    assert "\n" not in str(found.value)
    assert not (folder / "out" / "train.json").exists()


def test_a_config_of_the_other_kind_is_explained(folder):
    (folder / "toy.yaml").write_text(yaml.safe_dump({"results": "out", "samples": {"a": {"raw": RAW}}}))
    with pytest.raises(BadInput, match="samples"):
        said_by(folder)
