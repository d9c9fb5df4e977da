"""Run one stage of one sample: what it may see, where it writes, and the receipt at the end.

Everything a stage makes lies under `partial/<stage>/` until all its blocks are done. Then, in this order:
`result.json` is written (from here only moving is left), the outputs are moved to their places, the
receipt is written. A kill at any point leaves either no receipt, and the same command goes on from the
journal, or the whole.

A receipt vouches for the volume beside it: stage, version, parameters, storage, digests of the input
receipts, result. It holds no date and no path, so the same work gives the same bytes on every machine.
"""

import hashlib
import json
import resource
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from numpy.typing import DTypeLike

import cellflow
from cellflow.core.errors import BadInput
from cellflow.core.schema import Schema, without
from cellflow.engine import atomic, lock, ome, pyramid, store
from cellflow.engine.atomic import write_json
from cellflow.engine.blockwise import Item, Task, map_blocks
from cellflow.engine.cluster import Crew, executor, paired
from cellflow.engine.journal import Journal, Part
from cellflow.engine.pyramid import Pyramid, Target

LABELS = ("truth", "mask", "nuclei", "supervoxels", "cells")

Voxel = tuple[float, float, float]


class Module(Protocol):
    """What a stage module offers to the engine."""

    def run(self, context: "Context", p: Any) -> dict[str, Any]:  # noqa: ANN401 - each stage has its own Params
        """Do the work; return what the receipt says of it."""


@dataclass(frozen=True)
class Job:
    """One stage of one sample: `name` is the stage, with a suffix where it runs several times."""

    name: str
    folder: Path
    params: Schema
    storage: store.Storage
    after: tuple[str, ...] = ()
    """Stages whose receipts this one stands on."""
    private: tuple[str, ...] = ()
    """Parameters that the receipt does not repeat, such as the path of an input; `a.b` is b inside of a."""
    stamp: str = ""
    """What else tells one job from another while it is unfinished, such as the age of the input file."""

    @property
    def image(self) -> str:
        """The volume that it looks at: `nuclei_raw` of `predict-nuclei_raw`, else `raw`."""
        return self.name.partition("-")[2] or "raw"

    def key(self) -> str:
        """The digest of all that the result depends on."""
        full = [self.claim(), self.params.model_dump(mode="json"), self.stamp]
        return _digest(json.dumps(full, sort_keys=True).encode())

    def claim(self) -> dict[str, Any]:
        """The receipt without its result."""
        return {
            "stage": self.name,
            "version": cellflow.__version__,
            "params": without(self.params.model_dump(mode="json"), self.private),
            "storage": self.storage.model_dump(mode="json"),
            "inputs": {name: _digest(_read(self.folder, name)) for name in sorted(self.after)},
        }


@dataclass
class Context:
    """What a stage sees: volumes and results of the stages before it, and places to write."""

    job: Job
    pool: Executor
    key: str
    images: dict[str, Pyramid] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Where this stage's files lie until it is whole."""
        return self.job.folder / "partial" / self.job.name

    def result(self, stage: str) -> dict[str, Any]:
        """What the receipt of an earlier stage says."""
        found: dict[str, Any] = read_receipt(self.job.folder, stage)["result"]
        return found

    def voxel_um(self) -> Voxel:
        """Voxel size of the sample along z, y, x in micrometres."""
        z, y, x = self.result("ingest-raw")["voxel_size_um"]
        return z, y, x

    def fitted(self, shape: Sequence[int] | None = None) -> store.Fitted:
        """The storage of a volume of this shape; by default the sample's."""
        z, y, x = shape or self.result("ingest-raw")["shape"]
        return self.job.storage.fitted((z, y, x))

    def volume(self, name: str) -> store.Array:
        """An earlier stage's volume at full size, read-only."""
        return store.open_read(volume_path(self.job.folder, name) / "0")

    def file(self, stage: str, name: str) -> Path:
        """A file that an earlier stage left."""
        return self.job.folder / stage / name

    def output(self, name: str) -> Path:
        """Where to write a file that stays: it will lie in the stage's folder."""
        path = self.work / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def scratch(self, name: str) -> Path:
        """Where to write a file that only this stage reads; it goes with the end of the stage."""
        path = self.work / "scratch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def create(
        self, name: str, like: store.Fitted, dtype: DTypeLike, kind: store.Kind, voxel_um: Voxel | None = None
    ) -> Target:
        """The volume to write, or what is there of it from a stopped run; by default of the sample's voxels.

        All images of a sample have the same levels: OME-Zarr asks that of labels and their image.
        """
        voxel = voxel_um or self.voxel_um()
        folder, levels = self.work / "volumes" / name, pyramid.levels(like.shape, voxel)
        self.images[name] = Pyramid(folder, kind, self.job.storage, voxel, levels)
        return self.images[name].create(0, like, dtype)

    def create_scratch(self, name: str, like: store.Fitted, dtype: DTypeLike) -> store.Array:
        """A volume that only this stage reads; it goes with the end of the stage."""
        return store.open_or_create(self.scratch(name), like, dtype, "scratch")

    def map(self, name: str, task: Task, blocks: Sequence[Item] | Any) -> list[Part]:  # noqa: ANN401 - a Grid is one
        """The parts of `task` over `blocks`, in order; `name` tells the passes of a stage apart."""
        journal = Journal(self.work / "journal" / f"{name}.jsonl", self.key)
        label = f"{self.job.folder.name} {self.job.name}" + (f" ({name})" if name != "blocks" else "")
        return map_blocks(task, blocks, self.pool, journal, label)

    def pyramid(self, name: str) -> None:
        """Write the levels of a volume that its blocks have not written, and its OME metadata."""
        made = self.images[name]
        made.complete(self.map)
        ome.write_image(made.folder, made.kind, made.voxel_um, made.levels)


def execute(module: Module, job: Job, workers: int) -> dict[str, Any]:
    """Run a stage to its receipt and return that; a stopped run of the same job is continued."""
    with lock.waiting(job.folder / ".locks" / job.name, f"stage {job.name} of {job.folder}"):
        start = time.perf_counter()
        receipt = job.folder / f"{job.name}.json"
        receipt.unlink(missing_ok=True)
        claim, key = job.claim(), job.key()
        work = _prepare(job, key)
        if not (work / "result.json").exists():
            with executor(_crew(module, job, workers), module.run.__module__) as pool:
                result = module.run(Context(job, pool, key), job.params)
            volumes = sorted(path.name for path in (work / "volumes").glob("*"))
            write_json(work / "result.json", {"result": result, "volumes": volumes})
        disk = sum(
            f.stat().st_size for d in ("volumes", "files") for f in (work / d).rglob("*") if f.is_file()
        )
        _publish(job, work)
        content = {**claim, **json.loads((work / "result.json").read_text())}
        usage = {**_usage(work, workers, time.perf_counter() - start), "disk_bytes": disk}
        write_json(job.folder / "usage" / f"{job.name}.json", usage)
        write_json(receipt, content)
        _remove(work)
        return content


def _crew(module: Module, job: Job, workers: int) -> Crew:
    """Two workers a process, unless the stage knows better: `crew(job, workers)`."""
    chosen: Crew = module.crew(job, workers) if hasattr(module, "crew") else paired(workers)
    return chosen


def volume_path(folder: Path, name: str) -> Path:
    """Where a volume of a sample lies: the group that holds its levels."""
    root = root_path(folder)
    return root / "labels" / name if name in LABELS else root / name


def root_path(folder: Path) -> Path:
    """The OME-Zarr of a sample."""
    return folder / f"{folder.name}.ome.zarr"


def read_receipt(folder: Path, stage: str) -> dict[str, Any]:
    """The receipt of a stage. Raises `BadInput` where it has not run."""
    content: dict[str, Any] = json.loads(_read(folder, stage))
    return content


def is_current(folder: Path, stage: str) -> bool:
    """Whether a stage has a receipt and all that it stands on, down to the inputs, is still as it was then.

    Scores that an earlier configuration asked for stay in the folder, and must not be shown beside cells
    that were made since; nor is a report the last word while a stage before it has failed.
    """
    if not (folder / f"{stage}.json").exists():
        return False
    stood_on = read_receipt(folder, stage)["inputs"]
    return all(
        is_current(folder, name) and _digest(_read(folder, name)) == digest
        for name, digest in stood_on.items()
    )


def _read(folder: Path, stage: str) -> bytes:
    try:
        return (folder / f"{stage}.json").read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"{folder}: stage {stage} has not finished here; run it first") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _prepare(job: Job, key: str) -> Path:
    """The stage's work folder: kept if it belongs to this very job, else empty."""
    work = job.folder / "partial" / job.name
    stamp = work / "key"
    if not stamp.exists() or stamp.read_text() != key:
        _remove(work)
        work.mkdir(parents=True)
        atomic.write(stamp, lambda file: file.write(key.encode()))
    return work


def _remove(work: Path) -> None:
    """Clear a work folder. Renamed first: half of one must not be taken for one that is to be continued."""
    if work.exists():
        work.rename(work.with_name(f".gone-{work.name}-{uuid4().hex[:8]}"))
    for gone in work.parent.glob(f".gone-{work.name}-*"):
        shutil.rmtree(gone, ignore_errors=True)


def _publish(job: Job, work: Path) -> None:
    """Move what the stage made to its place. Idempotent, so a kill between two moves does no harm."""
    volumes, files = work / "volumes", work / "files"
    for left in (*volumes.rglob("*.partial"), *volumes.rglob(".*"), *files.rglob(".*")):
        left.unlink()  # by a worker that was killed while it wrote
    with lock.waiting(job.folder / ".locks" / "publish", f"results of {job.folder}"):
        for volume in sorted(volumes.glob("*")):
            _disown(job, volume.name)
            _move(volume, volume_path(job.folder, volume.name))
        if files.exists():
            _move(files, job.folder / job.name)
        if volumes.exists():
            ome.write_root(root_path(job.folder))
    journals = job.folder / "journal" / job.name
    shutil.rmtree(journals, ignore_errors=True)
    if (work / "journal").exists():
        shutil.copytree(work / "journal", journals)


def _disown(job: Job, volume: str) -> None:
    """Take away the receipt of another stage that made a volume of this name: it vouches for it no more."""
    for receipt in job.folder.glob("*.json"):
        made = json.loads(receipt.read_text()).get("volumes", [])
        if volume in made and receipt.stem != job.name:
            receipt.unlink()


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    source.rename(target)


def _usage(work: Path, workers: int, seconds: float) -> dict[str, Any]:
    """What the stage cost: for the report, not for the receipt."""
    records = [
        json.loads(line)
        for file in (work / "journal").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    done = [record for record in records if "part" in record]
    failures = [record for record in records if "error" in record]
    return {
        "seconds": round(seconds, 2),
        "workers": workers,
        "tasks": len(done),
        "failed_attempts": len(failures),
        "worker_seconds": round(sum(record["seconds"] for record in done), 2),
        "worker_peak_mb": max((record["peak_mb"] for record in done), default=0),
        "main_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
