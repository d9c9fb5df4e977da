import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import CUT, Sample, cut, tissue

import cellflow
from cellflow.core.errors import BadInput, BlocksFailed
from cellflow.core.schema import Schema
from cellflow.engine import lock, ome, pyramid, stage, store
from cellflow.engine.journal import Journal
from cellflow.engine.stage import Job
from cellflow.engine.store import Storage
from cellflow.stages import ingest, supervoxels

RAW = {"raw": tissue()["raw"]}


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the package may catch it."""


class Numbers(Schema):
    n: int = 1
    place: str = ""


def _job(folder, **changes):
    given = {"name": "x", "folder": folder, "params": Numbers(), "storage": Storage(), "after": ("before",)}
    return Job(**{**given, **changes})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "before.json").write_text('{"result": 1}')
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {"params": Numbers(n=2)},
        {"params": Numbers(place="elsewhere"), "private": ("place",)},
        {"storage": Storage(block=(128, 128, 128))},
        {"storage": Storage(chunk=(32, 64, 64))},
        {"stamp": "another file"},
        {"name": "y"},
        {"after": ()},
    ],
)
def test_the_key_changes_with_all_that_the_result_depends_on(folder, changes):
    assert _job(folder, **changes).key() != _job(folder).key()


def test_the_key_changes_with_an_input_receipt_and_the_version(folder, monkeypatch):
    key = _job(folder).key()
    monkeypatch.setattr(cellflow, "__version__", "9.9")
    newer = _job(folder).key()
    monkeypatch.undo()
    (folder / "before.json").write_text('{"result": 2}')
    assert len({key, newer, _job(folder).key()}) == 3
    (folder / "before.json").write_text('{"result": 1}')
    assert _job(folder).key() == key


def test_the_key_does_not_depend_on_the_folder(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    shutil.copy(folder / "before.json", other)
    assert _job(folder).key() == _job(other).key()


def test_a_stage_whose_input_has_not_run_is_refused(tmp_path):
    with pytest.raises(BadInput, match="stage before has not finished here; run it first"):
        _job(tmp_path).key()


def test_a_receipt_has_no_path_and_no_date(sample):
    made = sample()
    made.run()
    year = time.strftime("%Y")
    receipts = list(made.folder.glob("*.json"))
    assert len(receipts) == 10
    for receipt in receipts:
        text = receipt.read_text()
        assert str(made.folder) not in text, receipt
        assert made.folder.parent.name not in text, receipt
        assert "/" not in text, receipt
        assert f"{year}-" not in text, receipt
        content = json.loads(text)
        assert set(content) == {"stage", "version", "params", "storage", "inputs", "volumes", "result"}
        assert text == json.dumps(content, indent=1, sort_keys=True) + "\n"


def test_a_finished_stage_leaves_no_partial_files(sample):
    made = sample()
    made.run()
    assert list((made.folder / "partial").iterdir()) == []
    assert json.loads((made.folder / "usage" / "segment.json").read_text())["tasks"] == 18


POINTS = [
    (store, "write_block"),
    (store, "create"),
    (stage, "write_json"),
    (stage, "_move"),
    (ome, "write_image"),
    (ome, "write_root"),
    (Journal, "finished"),
    (shutil, "rmtree"),
]


class Fuse:
    """Kills at the n-th call of any of the points, before or after what it does."""

    def __init__(self, monkeypatch, n, *, after):
        self.left, self.after = n, after
        for owner, name in POINTS:
            monkeypatch.setattr(owner, name, self._wired(getattr(owner, name)))

    def _wired(self, function):
        def call(*args, **kwargs):
            self.left -= 1
            blown = self.left == 0
            if blown and not self.after:
                raise Killed
            result = function(*args, **kwargs)
            if blown:
                raise Killed
            return result

        return call


def _tree(folder):
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in folder.rglob("*")
        if f.is_file() and not {"usage", "journal", ".locks"} & set(f.relative_to(folder).parts)
    }


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """A sample up to its supervoxels, without a mask."""
    small = {name: values[:12, :24, :32] for name, values in tissue().items()}
    made = Sample(tmp_path_factory.mktemp("upstream") / "root", small, cut(16))
    made.run("ingest-raw", "ingest-boundaries", "supervoxels", "graph", "partition", "clean")
    return made


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("name", "step"), [("supervoxels", 7), ("segment", 2)])
def test_a_stage_killed_at_any_point_goes_on_to_the_same_receipt_and_bytes(  # noqa: PLR0917
    upstream, tmp_path, monkeypatch, name, step, after
):
    monkeypatch.setattr(pyramid, "SMALLEST_LEVEL", 16)  # so that small volumes have pyramids
    fresh = _copy(upstream, tmp_path / "fresh" / "root", name)
    fresh.run(name)
    expected = _tree(fresh.folder)
    n, killed = 0, True
    while killed:
        n += step
        made = _copy(upstream, tmp_path / str(n) / "root", name)
        with monkeypatch.context() as patch:
            Fuse(patch, n, after=after)
            killed = _killed(made, name)
        if killed and (made.folder / f"{name}.json").exists():  # only the sweep of the work folder was left
            assert (made.folder / f"{name}.json").read_bytes() == expected[f"{name}.json"]
        made.run(name)
        found = _tree(made.folder)
        assert found.keys() == expected.keys(), n
        assert [f for f in expected if found[f] != expected[f]] == [], n
        shutil.rmtree(tmp_path / str(n))
    assert n >= 20


def _copy(made, folder, name):
    shutil.copytree(made.folder, folder)
    (folder / f"{name}.json").unlink(missing_ok=True)
    shutil.rmtree(stage.volume_path(folder, name), ignore_errors=True)
    ome.write_root(stage.root_path(folder))
    return Sample(folder, made.volumes, made.storage)


def _killed(made, name):
    try:
        made.run(name)
    except Killed:
        return True
    return False


def _die_after(folder, blocks):
    real = store.write_block

    def fatal(array, box, data):
        nonlocal blocks
        blocks -= 1
        if blocks < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(array, box, data)

    store.write_block = fatal
    Sample(Path(folder), RAW, cut()).run("ingest-raw")


def test_a_real_kill_leaves_no_receipt_and_costs_no_finished_block(sample, monkeypatch):
    made = sample("killed/root", RAW)
    process = multiprocessing.get_context("spawn").Process(target=_die_after, args=(str(made.folder), 5))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (made.folder / "ingest-raw.json").exists()
    written = []
    real = store.write_block
    monkeypatch.setattr(store, "write_block", lambda *args: written.append(args[1]) or real(*args))
    made.run("ingest-raw")
    assert len(written) == 18 - 5
    monkeypatch.undo()
    fresh = sample("fresh/root", RAW)
    fresh.run("ingest-raw")
    assert _tree(made.folder) == _tree(fresh.folder)


def test_what_a_killed_writer_left_aside_is_swept(sample):
    made = sample(volumes=RAW)
    made.run("ingest-raw")
    expected = _tree(made.folder)
    job = made.job("ingest-raw")
    work = made.folder / "partial" / "ingest-raw"
    shard = work / "volumes" / "raw" / "0" / "c" / "0" / "0"
    for place in (shard, work / "files"):
        place.mkdir(parents=True)
    (work / "key").write_text(job.key())
    for left in (shard / "0.123abc.partial", shard / ".0.123abc", work / "files" / ".table.npy.123abc"):
        left.write_bytes(b"half a file")
    made.run("ingest-raw")
    assert _tree(made.folder) == expected


@pytest.mark.parametrize("later", [{"threshold": 0.2}, {"sigma_seeds": 3.0}, {"min_size": 0}])
def test_changed_parameters_never_resume_old_blocks(upstream, tmp_path, monkeypatch, later):
    changed = {"supervoxels": CUT.model_copy(update=later)}
    made = _copy(upstream, tmp_path / "a" / "root", "supervoxels")
    with monkeypatch.context() as patch:
        Fuse(patch, 7, after=True)
        assert _killed(made, "supervoxels")
    made.params = changed
    made.run("supervoxels")
    fresh = _copy(upstream, tmp_path / "b" / "root", "supervoxels")
    fresh.params = changed
    fresh.run("supervoxels")
    assert _tree(made.folder) == _tree(fresh.folder)
    assert json.loads((made.folder / "usage" / "supervoxels.json").read_text())["tasks"] == 5 * 4


def test_a_changed_input_file_never_resumes_old_blocks(sample, monkeypatch):
    made = sample(volumes=RAW)
    with monkeypatch.context() as patch:
        Fuse(patch, 9, after=True)
        assert _killed(made, "ingest-raw")
    (made.folder.parent / "root-raw.h5").unlink()
    made.volumes = {"raw": RAW["raw"] + 1}
    made.run("ingest-raw")
    np.testing.assert_array_equal(made.read("raw"), RAW["raw"] + 1)


@pytest.mark.parametrize("after", range(6))
def test_a_work_folder_half_cleared_is_never_continued(sample, monkeypatch, after):
    """A stopped run of A, then B is killed while it clears A's files, then A again: once all zeros."""
    made = sample(volumes=RAW, storage=cut(16))
    made.run("ingest-raw")
    expected = made.read("raw")
    shutil.rmtree(made.folder)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "_publish", _kill)
        with pytest.raises(Killed):
            made.run("ingest-raw")
    other = sample(volumes=RAW, storage=cut(8))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", _rmtree_that_dies(after))
        with pytest.raises(Killed):
            other.run("ingest-raw")
    made.run("ingest-raw")
    np.testing.assert_array_equal(made.read("raw"), expected)
    assert not list((made.folder / "partial").glob(".gone*"))


def _kill(*_):
    raise Killed


def _rmtree_that_dies(after):
    """Deletes so many files of a folder, those of volumes first, then the process is gone."""

    def rmtree(path, **_):
        files = sorted(
            (f for f in Path(path).rglob("*") if f.is_file()), key=lambda f: "volumes" not in f.parts
        )
        for file in files[: after * 5]:
            file.unlink()
        raise Killed

    return rmtree


def test_a_volume_that_another_stage_overwrites_loses_its_receipt(sample):
    made = sample(volumes={name: tissue()[name] for name in ("raw", "boundaries")})
    made.run("ingest-raw", "ingest-boundaries")
    assert (made.folder / "ingest-boundaries.json").exists()
    made.run("normalise", "predict")
    assert not (made.folder / "ingest-boundaries.json").exists()
    made.run("ingest-boundaries")
    assert not (made.folder / "predict.json").exists()


def test_a_failed_stage_leaves_no_receipt_of_before(sample, monkeypatch):
    made = sample(volumes=RAW)
    made.run("ingest-raw")
    monkeypatch.setattr(ingest, "ingest_block", lambda *_: 1 / 0)
    with pytest.raises(BlocksFailed, match=r"root ingest-raw: 3 of 18 blocks failed.*ZeroDivisionError"):
        made.run("ingest-raw")
    assert not (made.folder / "ingest-raw.json").exists()


def test_bad_voxels_are_refused_with_their_place(sample):
    values = RAW["raw"].astype(np.float32)
    values[3, 20, 33] = np.nan
    with pytest.raises(BadInput, match=r"block at \(0, 16, 32\): found nan at z, y, x = \(3, 20, 33\)"):
        sample(volumes={"raw": values}).run("ingest-raw")


def test_a_second_run_waits_for_the_first(sample, caplog):
    made = sample(volumes=RAW)
    with lock.waiting(made.folder / ".locks" / "ingest-raw", "stage ingest-raw"):
        runner = threading.Thread(target=made.run, args=("ingest-raw",))
        runner.start()
        runner.join(0.5)
        assert runner.is_alive()
        assert not (made.folder / "ingest-raw.json").exists()
    runner.join(30)
    assert (made.folder / "ingest-raw.json").exists()
    assert f"is being written by process {os.getpid()} on " in caplog.text


def test_the_results_folder_has_one_holder(tmp_path):
    handle = lock.hold(tmp_path / "run", "results folder r")
    with pytest.raises(
        BadInput, match=rf"results folder r is in use by process {os.getpid()} on \S+: wait for"
    ):
        lock.hold(tmp_path / "run", "results folder r")
    os.close(handle)
    os.close(lock.hold(tmp_path / "run", "results folder r"))


def _hold_and_die(path):
    lock.hold(Path(path), "results")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_lock_dies_with_its_holder(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=_hold_and_die, args=(str(tmp_path / "run"),)
    )
    process.start()
    process.join()
    os.close(lock.hold(tmp_path / "run", "results"))


def test_the_params_of_a_stage_are_whole_in_its_receipt(sample):
    made = sample()
    receipt = made.run("ingest-raw", "ingest-boundaries", "supervoxels")["supervoxels"]
    assert receipt["params"].keys() == supervoxels.Params.model_fields.keys()
