"""Train a network: volumes with labels in, a model that `predict` can use out.

Passes: (1) synthetic volumes are made and statistics of all volumes taken (`volumes`); (2) epochs of steps
and validations (`networks.training.fit`), each leaving a state from which a stopped run goes on to the same
bits; (3) the best network, the last one, curves and a page are handed over.

With torchrun the first process runs the stage and the others `follow` it.
"""

import logging
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cellflow.engine import atomic
from cellflow.engine.formats import fingerprint
from cellflow.engine.stage import Context
from cellflow.stages.train.params import Params, Volumes

if TYPE_CHECKING:
    from cellflow.networks.training.begin import Beginning

__all__ = ["PRIVATE", "Params", "Volumes", "follow", "run", "stamp"]

log = logging.getLogger("cellflow")

PRIVATE = ("train", "check", "start", "device", "loaders")
"""Paths, and what has no part in the result."""


def stamp(p: Params) -> str:
    """Sizes and ages of the inputs: if one changes while a training is stopped, it starts afresh."""
    sources = [
        getattr(volumes, role).path
        for volumes in (*p.train, *p.check)
        for role in ("raw", "truth", "nuclei")
        if getattr(volumes, role) is not None
    ]
    tables = [volumes.picks for volumes in (*p.train, *p.check) if volumes.picks]
    paths = [Path(path) for path in [*sources, *tables, *([p.start] if p.start else [])]]
    return " ".join(fingerprint(path) for path in paths if path.exists())


def run(context: Context, p: Params) -> dict[str, Any]:
    """Leave `model.pytorch`, `last.pytorch` with their YAML files, `curves.csv` and `report.html`.

    The result says what the best network is like.
    """
    # ruff: noqa: PLC0415 - torch takes a second, and who reads a manual or plans a workflow needs none of it
    from cellflow.networks.device import slow
    from cellflow.networks.training import processes
    from cellflow.networks.training.begin import begin
    from cellflow.networks.training.fit import Desk, train
    from cellflow.networks.training.history import scores
    from cellflow.stages.train.notes import Notes
    from cellflow.stages.train.task import task_of
    from cellflow.stages.train.volumes import prepare

    start = begin(p)
    for line in slow(p.device, p.precision):
        log.warning("%s train: %s", context.job.folder.name, line)
    prepare(context, p, start.normalisation)
    task = task_of(p, start, context.scratch("statistics.json").parent)
    folder = context.output("model.pytorch").parent
    _describe(folder, start, task.voxel_um)
    atomic.write(folder / "key", partial(_put, text=context.key.encode()))
    with Notes(context.job.folder.name, folder, task, p) as notes, processes.group():
        desk = Desk(folder, context.scratch("state.pytorch"), atomic.write, notes.step, notes.epoch)
        rows = train(task.task, desk)
    ranks = scores(rows, p)
    best = rows[ranks.index(min(ranks))]
    return {"epochs": len(rows), "best": best._asdict(), "sha256": _sha256(folder / "model.pytorch")}


def follow(folder: Path, p: Params) -> None:
    """What the further processes of torchrun do: their share of every step of the training in `folder`."""
    from cellflow.networks.training import processes
    from cellflow.networks.training.begin import begin
    from cellflow.networks.training.fit import Desk, train
    from cellflow.stages.train.task import task_of

    with processes.group():
        scratch = folder / "partial" / "train" / "scratch"
        task = task_of(p, begin(p), scratch)
        train(
            task.task, Desk(folder, scratch / "state.pytorch", atomic.write, lambda _: None, lambda *_: None)
        )


def _describe(folder: Path, start: "Beginning", voxel_um: tuple[float, float, float] | None) -> None:
    """The YAML files that make weights a model."""
    from cellflow.networks.sources.description import description
    from cellflow.networks.spec import Trained

    for name, what in (("model", "the best epoch"), ("last", "the last epoch")):
        trained = Trained(
            architecture=start.architecture,
            normalisation=start.normalisation,
            voxel_size_um=voxel_um,
            description=f"trained by cellflow, {what}",
        )
        text = description(trained).encode()
        atomic.write(folder / f"{name}.yaml", partial(_put, text=text))


def _put(file: IO[bytes], text: bytes) -> None:
    file.write(text)


def _sha256(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
