"""Whatever a user gives wrongly ends in one line that helps, and leaves nothing behind."""

import ctypes
import json
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from running import ROOT, TOY, cellflow, run, write_config

SHAPE = (32, 32, 32)
STORAGE = {"block": [16, 16, 16], "chunk": [16, 16, 16]}
ROOT_USER = os.geteuid() == 0


def volume(path, name="raw", shape=SHAPE, *, seed=0, value=None, dtype=np.uint16, bad=None):
    values = np.random.default_rng(seed).integers(1, 200, shape).astype(dtype)
    if value is not None:
        values[...] = value
    if bad is not None:
        values[20, 3, 5] = bad
    with h5py.File(path, "a") as file:
        file[name] = values


def source(name):
    return {"path": "in.h5", "dataset": name}


def config(tmp_path, *, sample=None, **more):
    chosen = sample or {"raw": source("raw")}
    return write_config(
        tmp_path, {"results": "results", "samples": {"s": chosen}, "storage": STORAGE, **more}
    )


def one_line(found, *expected):
    """Exit code 2 and one line that holds every expected phrase."""
    assert found.returncode == 2, found.stderr
    lines = found.stderr.splitlines()
    assert len(lines) == 1, found.stderr
    assert lines[0].startswith("cellflow: ")
    for phrase in expected:
        assert phrase in lines[0]


def test_a_gpu_that_is_not_there_is_missed_before_any_job(tmp_path):
    volume(tmp_path / "in.h5")
    predictor = {"name": "network", "model": "membrane3d", "device": "cuda:7"}
    config(tmp_path, stages={"predict": {"predictor": predictor}})
    one_line(
        cellflow(tmp_path, "plan", "toy.yaml"), "device: found cuda:7, expected a GPU that is visible here"
    )
    code, said = run(tmp_path)
    assert code != 0
    assert said.count("device: found cuda:7") == 1
    nothing_left(tmp_path)
    receipt = tmp_path / "results" / "s" / "predict.json"
    receipt.parent.mkdir(parents=True, exist_ok=True)
    receipt.write_text("{}")  # of what is predicted already, nobody asks where
    assert cellflow(tmp_path, "plan", "toy.yaml").returncode == 0


def nothing_left(tmp_path):
    """No receipt, and no volume or file at its final place."""
    sample = tmp_path / "results" / "s"
    assert not list(sample.glob("*.json"))
    assert not list(sample.glob("*.zarr"))


def ingest(tmp_path, role="raw", name="raw", workers=1, **more):
    """Run the stage by hand, as the rule would."""
    job = {
        "params": {"role": role, "source": {"path": "in.h5", "dataset": name, "voxel_size_um": [1, 1, 1]}},
        "storage": STORAGE,
    }
    arguments = (
        "run",
        f"ingest-{role}",
        "results/s",
        "--job",
        json.dumps(job),
        "--log",
        "results/s/logs/i.log",
    )
    return cellflow(tmp_path, *arguments, **more)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sotrage": STORAGE}, ("toy.yaml", "unknown key 'sotrage'", "did you mean 'storage'?")),
        ({"stages": {"clean": {"zzz": 1}}}, ("unknown key 'stages.clean.zzz'", "known are background")),
        ({"stages": {"clean": {"min_size": "big"}}}, ("stages.clean.min_size", "found 'big'", "integer")),
        ({"stages": {"clean": {"min_size": -1}}}, ("found -1", "greater than or equal to 0")),
        ({"storage": {**STORAGE, "block": [24, 16, 16]}}, ("storage.", "found 24", "multiple", "Use 32")),
        ({"storage": {"block": [2**14] * 3, "chunk": [64, 64, 64]}}, ()),
        ({"sample": {"raw": {"path": "none.h5"}}}, ("samples.s.raw", "none.h5")),
        ({"sample": {"raw": source("rwa")}}, ("samples.s.raw", "in.h5", "rwa", "raw")),
        ({"sample": {"raw": source("line")}}, ("samples.s.raw", "in.h5", "dim")),
        ({"sample": {"raw": source("raw"), "truth": source("small")}},
         ("samples.s.truth", "found shape (16, 16, 16)", "expected (32, 32, 32) as raw")),
    ],
)  # fmt: skip
def test_plan_names_the_mistake(tmp_path, change, expected):
    for name, shape in (("raw", SHAPE), ("line", (7,)), ("small", (16, 16, 16))):
        volume(tmp_path / "in.h5", name, shape)
    config(tmp_path, **change)
    found = cellflow(tmp_path, "plan", "toy.yaml", "--workers", "1")
    if expected:
        one_line(found, *expected)
    else:
        assert found.returncode == 0  # a block larger than the volume is the volume
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("word", "workers"), [("nan", 2), ("inf", 1)])
def test_a_voxel_that_is_no_number_is_found_by_its_place(tmp_path, word, workers):
    volume(tmp_path / "in.h5", dtype=np.float32, bad=float(word))
    one_line(
        ingest(tmp_path, workers=workers),
        "raw in.h5",
        "block at (16, 0, 0)",
        f"found {word}",
        "expected finite numbers",
    )
    nothing_left(tmp_path)


def test_a_volume_of_zeros_is_refused(tmp_path):
    volume(tmp_path / "in.h5", value=0)
    one_line(ingest(tmp_path), "every voxel is 0", "is the dataset right?")
    nothing_left(tmp_path)


def test_labels_with_fractions_or_below_zero_are_refused(tmp_path):
    volume(tmp_path / "in.h5", "half", dtype=np.float32, bad=0.5)
    one_line(ingest(tmp_path, "truth", "half"), "found fractions", "expected whole numbers")
    volume(tmp_path / "in.h5", "minus", dtype=np.int32, bad=-3)
    one_line(ingest(tmp_path, "truth", "minus"), "found label -3", "expected labels >= 0")
    nothing_left(tmp_path)


def test_a_stage_whose_input_has_not_run_says_which(tmp_path):
    job = {"params": {}, "storage": STORAGE}
    found = cellflow(
        tmp_path, "run", "graph", "results/s", "results/s/supervoxels.json", "--job", json.dumps(job)
    )
    one_line(found, "stage supervoxels has not finished here")


@pytest.mark.parametrize("job", ["", "{", "[]", "{}", '{"params": {"x": 1}, "storage": {}}'])
def test_a_job_that_is_not_one_is_refused(tmp_path, job):
    one_line(cellflow(tmp_path, "run", "clean", "results/s", "--job", job))


def test_an_unknown_stage_is_refused(tmp_path):
    one_line(
        cellflow(tmp_path, "run", "clena", "results/s", "--job", "{}"), "stage 'clena'", "expected one of"
    )


def test_debug_shows_where_it_happened(tmp_path):
    found = cellflow(tmp_path, "--debug", "plan", "none.yaml")
    assert found.returncode != 0
    assert "Traceback" in found.stderr
    assert "BadInput: none.yaml: cannot be read" in found.stderr


def as_anyone():
    """Permissions do not bind root: the child gives up the right to pass over them."""
    drop_from_bounding_set, override, read_search = 24, 1, 2
    for capability in (override, read_search):
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


def test_results_without_permission_are_named(tmp_path):
    volume(tmp_path / "in.h5")
    (tmp_path / "results").mkdir(mode=0o555)
    more = {"preexec_fn": as_anyone} if ROOT_USER else {}
    one_line(ingest(tmp_path, **more), "results/s", "no permission", "a folder you may write to")
    (tmp_path / "results").chmod(0o755)
    (tmp_path / "in.h5").chmod(0o000)
    one_line(ingest(tmp_path, **more), "in.h5", "ermission")
    nothing_left(tmp_path)


def test_a_full_disk_is_named_and_the_same_command_goes_on(tmp_path):
    volume(tmp_path / "in.h5", shape=(64, 64, 64))
    results = tmp_path / "results"
    results.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(results)]
    if not (ROOT_USER and shutil.which("mount")) or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs root to mount a small disk")
    try:
        one_line(
            ingest(tmp_path, workers=2),
            "disk full at results/s/partial",
            "free some space and run the same command again",
        )
        nothing_left(tmp_path)
        subprocess.run(["mount", "-o", "remount,size=16m", str(results)], check=True)
        assert ingest(tmp_path).returncode == 0
        assert "were done before, going on" in (results / "s" / "logs" / "i.log").read_text()
        receipt = (results / "s" / "ingest-raw.json").read_bytes()
    finally:
        subprocess.run(["umount", str(results)], check=True)
    shutil.rmtree(results)
    assert ingest(tmp_path).returncode == 0
    assert (results / "s" / "ingest-raw.json").read_bytes() == receipt


def test_snakemake_shows_a_config_error_before_any_job(tmp_path):
    write_config(tmp_path, {**TOY, "stages": {"supervoxels": {"treshold": 0.4}}})
    code, said = run(tmp_path)
    assert code != 0
    lines = [line for line in said.splitlines() if "unknown key 'stages.supervoxels.treshold'" in line]
    assert len(lines) == 1
    assert "did you mean 'threshold'?" in lines[0]
    assert "Traceback" not in said
    assert "Building DAG" not in said
    assert not (tmp_path / "results").exists()


def test_snakemake_without_a_config_says_what_to_add(tmp_path):
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    found = subprocess.run(snakemake, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert "no configuration: add --profile profiles/local or --configfile FILE" in found.stderr
    assert "Traceback" not in found.stderr


def test_snakemake_refuses_what_cannot_fit_before_any_job(tmp_path):
    huge = {"samples": {"toy": {"phantom": {"shape": [4096, 4096, 4096]}}}}
    write_config(tmp_path, {**TOY, **huge, "storage": {"block": [2048, 2048, 2048]}})
    code, said = run(tmp_path)
    assert code != 0
    assert len([line for line in said.splitlines() if "MB of free memory" in line]) == 1
    assert "Traceback" not in said
    assert not list((tmp_path / "results").glob("*/*.json"))
