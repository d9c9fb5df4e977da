"""The workflow as a hostile user runs it: changed, killed, started twice, fed with nonsense.

CELLFLOW_KILLS=40 CELLFLOW_SEED=7 pytest tests/test_workflow.py -k killed -s     more kills, other moments
"""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import time
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import psutil
import pytest
from running import STAGES, TOY, cells, command, environment, receipts, run, start, write_config
from small_networks import BLOCK, network
from small_networks import save as saved

from cellflow.engine.atomic import write_json
from cellflow.engine.stage import is_current
from cellflow.summary import table

KILLS = int(os.environ.get("CELLFLOW_KILLS", "5"))
SEED = int(os.environ.get("CELLFLOW_SEED", "1"))
NOTHING = "Nothing to be done"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder in which the toy ran undisturbed, and what it said."""
    folder = tmp_path_factory.mktemp("done")
    write_config(folder, TOY)
    code, said = run(folder)
    assert code == 0, said
    return folder, said


@pytest.fixture
def folder(done, tmp_path):
    """A copy of the finished folder, to disturb."""
    shutil.copytree(done[0], tmp_path / "copy")
    return tmp_path / "copy"


def planned(folder, *more):
    """The stages that a dry run lists."""
    code, said = run(folder, "-n", "--quiet", "host", *more)
    assert code == 0, said
    return {Path(output).stem for output in re.findall(r"^ +output: (\S+)", said, re.MULTILINE)}


def save(folder, seed):
    """The weights of a network."""
    return saved(folder, {"model_state_dict": network(seed, **BLOCK).state_dict()})


def change(folder, **stages):
    write_config(folder, {**TOY, "stages": {**TOY["stages"], **stages}})


def test_the_toy_runs_to_the_end_and_the_table_comes_last(done):
    folder, said = done
    assert set(receipts(folder / "results" / "toy")) == set(STAGES)
    assert said.rstrip().splitlines()[-1].split() == ["report", "results/toy/report.html"]
    assert "adapted Rand error" in said
    assert "Traceback" not in said
    assert "--job" not in said
    assert not list((folder / "results" / "toy" / "partial").iterdir())


def test_a_network_takes_the_place_of_the_filter_and_other_weights_ask_for_it_again(folder):
    weights = save(folder, seed=1)
    predictor = {"name": "network", "model": "best_checkpoint.pytorch", "head": {"name": "boundary"}}
    change(folder, predict={"predictor": {**predictor, "device": "cuda"}})
    code, said = run(folder, "--until", "predict")
    assert code != 0
    assert said.count("device: found cuda, expected a GPU that is visible here") == 1
    assert not (folder / "results" / "toy" / "logs" / "predict.log").read_text().count("cuda")
    change(folder, predict={"predictor": predictor})
    assert planned(folder, "--until", "predict") == {"predict"}
    code, said = run(folder, "--until", "predict", cores=2)
    assert code == 0, said
    result = json.loads((folder / "results" / "toy" / "predict.json").read_text())["result"]
    assert result["model"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert planned(folder, "--until", "predict") == set()
    for faster in ({"device": "cpu", "batch": 2}, {"device": "cuda"}):
        change(folder, predict={"predictor": {**predictor, **faster}})
        assert planned(folder, "--until", "predict") == set()
    save(folder, seed=2)
    assert planned(folder, "--until", "predict") == {"predict"}
    code, said = run(folder, "--until", "predict")
    assert code != 0
    assert "device: found cuda" in said


def test_a_second_run_does_nothing(folder):
    before = receipts(folder / "results" / "toy")
    code, said = run(folder)
    assert code == 0
    assert NOTHING in said
    assert receipts(folder / "results" / "toy") == before


def test_only_what_depends_on_a_changed_parameter_runs_again(folder):
    change(folder, partition={"solver": {"name": "multicut", "beta": 0.7}})
    expected = {"partition", "clean", "segment", "scores", "report"}
    assert planned(folder) == expected
    toy = folder / "results" / "toy"
    before = {path.stem: path.stat().st_mtime_ns for path in toy.glob("*.json")}
    code, said = run(folder)
    assert code == 0, said
    after = {path.stem: path.stat().st_mtime_ns for path in toy.glob("*.json")}
    assert {stage for stage in STAGES if before[stage] != after[stage]} == expected
    assert NOTHING in run(folder, "-n")[1]


def test_dry_runs_name_the_right_stages(folder):
    assert planned(folder) == set()
    assert planned(folder, "-R", "supervoxels") >= {"supervoxels", "graph", "partition", "clean", "segment"}
    assert planned(folder, "-R", "supervoxels", "--until", "graph") == {"supervoxels", "graph"}
    change(folder, clean={"min_size": 50})
    assert planned(folder) == {"clean", "segment", "scores", "report"}
    change(folder, normalise={"low": 2.0})
    assert planned(folder) == set(STAGES) - {"phantom", "ingest-raw", "ingest-truth"}


def test_scores_of_another_time_are_not_shown_beside_new_cells(folder):
    toy = folder / "results" / "toy"
    assert "adapted Rand error" in table(toy)
    segment = json.loads((toy / "segment.json").read_text())
    write_json(toy / "segment.json", {**segment, "result": {**segment["result"], "checksum": "another"}})
    assert "adapted Rand error" not in table(toy)
    assert "not scored yet" in table(toy)


def test_a_report_is_not_the_last_word_while_a_stage_before_it_is_missing(folder):
    toy = folder / "results" / "toy"
    assert is_current(toy, "report")
    (toy / "supervoxels.json").unlink()
    assert not is_current(toy, "report")
    assert is_current(toy, "predict")


def test_nuclei_add_their_stages_and_a_rule_for_them_redoes_only_what_follows(tmp_path):
    toy = {**TOY["samples"]["toy"], "phantom_also": ["boundaries", "nuclei"]}
    write_config(tmp_path, {**TOY, "samples": {"toy": toy}})
    code, said = run(tmp_path)
    assert code == 0, said
    added = {"ingest-boundaries", "ingest-nuclei", "nuclei", "reconcile"}
    assert set(receipts(tmp_path / "results" / "toy")) == {*STAGES, *added} - {"normalise", "predict"}
    write_config(
        tmp_path, {**TOY, "samples": {"toy": toy}, "stages": {**TOY["stages"], "reconcile": {"join": 0}}}
    )
    assert planned(tmp_path) == {"reconcile", "clean", "segment", "scores", "report"}


def test_a_network_finds_nuclei_in_an_image_of_theirs_and_cells_go_by_them(tmp_path):
    write_config(tmp_path, {**TOY, "samples": {"toy": {**TOY["samples"]["toy"], "phantom_also": ["nuclei"]}}})
    assert run(tmp_path, "--until", "phantom")[0] == 0
    made = {role: {"path": f"results/toy/phantom/{role}"} for role in ("raw", "nuclei")}
    predictor = {"name": "network", "model": "nuclei3d", "device": "cpu"}
    stages = {"predict_nuclei": {"predictor": predictor}, "nuclei": {"threshold": 0.3, "min_size": 30}}
    given = {
        **TOY,
        "results": "stained",
        "samples": {"toy": {"raw": made["raw"], "nuclei_raw": made["nuclei"]}},
        "stages": {**TOY["stages"], **stages, "partition": {"solver": {"name": "lifted_multicut"}}},
    }
    write_config(tmp_path, given)
    code, said = run(tmp_path, "--until", "reconcile")
    assert code == 0, said
    written = receipts(tmp_path / "stained" / "toy")
    result = {stage: json.loads(written[stage])["result"] for stage in ("nuclei", "partition")}
    assert result["nuclei"]["nuclei"] > 5
    assert result["partition"]["lifted"] > 0
    given["stages"]["nuclei"] = {"threshold": 0.4, "min_size": 30}
    write_config(tmp_path, given)
    assert planned(tmp_path, "--until", "reconcile") == {"nuclei", "partition", "reconcile"}
    given["stages"]["predict_nuclei"] = {"predictor": {**predictor, "flips": "x"}}
    write_config(tmp_path, given)
    assert "predict-nuclei_raw" in planned(tmp_path, "--until", "reconcile")


def test_until_runs_so_far_and_no_further_even_in_a_folder_with_an_odd_name(tmp_path):
    odd = "my $results; ' it"
    write_config(tmp_path, {**TOY, "results": odd})
    code, said = run(tmp_path, "--until", "normalise")
    assert code == 0, said
    assert set(receipts(tmp_path / odd / "toy")) == {"phantom", "ingest-raw", "normalise"}
    assert "toy: not finished" in said


def family(process):
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def words(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill(processes):
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    return len(processes)


def one_worker(process, rng):
    workers = []
    while not workers and process.poll() is None:  # between two stages there are none
        workers = [p for p in family(process) if "forkserver" in words(p)]
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 3))
    return kill([rng.choice(workers)]) if workers else 0


def the_stage(process, rng):
    return kill([p for p in family(process) if words(p).split()[1:4] == ["-m", "cellflow", "run"]])


def everything(process, rng):
    return kill([psutil.Process(process.pid), *family(process)])


def only_snakemake(process, rng):
    return kill([psutil.Process(process.pid)])


def interrupt(process, rng):
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C: to all that the terminal runs
    return 1


KINDS = (one_worker, the_stage, everything, only_snakemake, interrupt)


def same(folder, reference):
    """No trace of what happened: receipts byte for byte, and voxels."""
    found, wanted = folder / "results" / "toy", reference / "results" / "toy"
    assert receipts(found) == receipts(wanted)
    assert np.array_equal(cells(found), cells(wanted))
    assert not list((found / "partial").iterdir())
    assert not [path for path in found.rglob("*") if ".partial" in path.name]


def started(folder, log):
    """A run of two pairs of workers, whose words go to a file: an orphan cannot keep a pipe open."""
    import subprocess

    with log.open("a") as words_of_run:
        return subprocess.Popen(
            command(cores=4), cwd=folder, env=environment(), stdout=words_of_run, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


def reach_a_random_moment(process, rng):
    """Wait until a stage has worked for a while; False if the run ends first."""
    end = time.monotonic() + rng.uniform(3, 12)
    while time.monotonic() < end:
        if process.poll() is not None:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.timeout(60 + 90 * KILLS)
def test_a_killed_run_is_finished_by_the_same_command(done, tmp_path):
    rng = random.Random(SEED)  # noqa: S311 - moments, not secrets
    folder, log = tmp_path / "run0", tmp_path / "said.log"
    folder.mkdir()
    write_config(folder, TOY)
    process = started(folder, log)
    counts: dict[str, int] = {}
    for i, strike in enumerate(islice(cycle(rng.sample(KINDS, len(KINDS))), KILLS)):
        if not reach_a_random_moment(process, rng):
            if process.returncode == 0:
                same(folder, done[0])
                folder = tmp_path / f"run{i + 1}"
                folder.mkdir()
                write_config(folder, TOY)
            process = started(folder, log)
            reach_a_random_moment(process, rng)
        struck = strike(process, rng)
        counts[strike.__name__] = counts.get(strike.__name__, 0) + (struck > 0)
        if strike in (everything, only_snakemake, interrupt):
            process.wait()
    if process.wait() != 0:
        code = started(folder, log).wait()
        assert code == 0, log.read_text()[-3000:]
    same(folder, done[0])
    print(counts)


def test_a_second_run_into_the_same_folder_stops_at_once(done, tmp_path):
    write_config(tmp_path, TOY)
    first = start(tmp_path)
    while not (tmp_path / "results" / "toy" / "phantom.json").exists():
        assert first.poll() is None
        time.sleep(0.1)
    code, said = run(tmp_path)
    assert code != 0
    lines = [line for line in said.splitlines() if "in use by" in line]
    assert len(lines) == 1
    assert re.search(r"results folder results is in use by process \d+ on \S+: wait for that run", lines[0])
    assert "Traceback" not in said
    assert first.communicate(timeout=300)[0]
    assert first.returncode == 0
    same(tmp_path, done[0])


def test_a_sample_that_fails_does_not_stop_the_others(done, tmp_path):
    voxels = np.full((48, 64, 64), 0.5, np.float32)
    voxels[40, 3, 5] = np.nan
    import h5py

    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["raw"] = voxels
    bad = {"raw": {"path": "bad.h5", "dataset": "raw", "voxel_size_um": [0.5, 0.25, 0.25]}}
    write_config(tmp_path, {**TOY, "samples": {"bad": bad, **TOY["samples"]}})
    code, said = run(tmp_path)
    assert code != 0
    assert receipts(tmp_path / "results" / "bad") == {}
    assert receipts(tmp_path / "results" / "toy") == receipts(done[0] / "results" / "toy")
    assert "bad.h5, block at (32, 0, 0): found nan at z, y, x" in said
    assert "Traceback" not in said
    before, _, last = said.partition("bad: not finished")
    assert "adapted Rand error" in before
    assert "  ingest-raw: raw bad.h5, block at (32, 0, 0): found nan" in last
