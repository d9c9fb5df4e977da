"""The volumes of a training: synthetic ones are made once, statistics taken once, all is read lazily."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from cellflow.core.errors import BadInput
from cellflow.core.grid import Block
from cellflow.core.phantom import Phantom, phantom_block
from cellflow.engine import store
from cellflow.engine.atomic import write_json
from cellflow.engine.formats import Source, Volume, open_volume
from cellflow.engine.stage import Context, Voxel
from cellflow.engine.store import Array
from cellflow.networks.normalisation import Normalisation
from cellflow.networks.training.patches import Labelled, Readable
from cellflow.networks.training.statistics import offset_and_scale
from cellflow.stages.train.params import Params, Volumes
from cellflow.stages.train.picks import OTHER_CELLS, picked

KINDS: dict[str, tuple[str, store.Kind]] = {
    "raw": ("uint16", "intensity"),
    "truth": ("uint64", "labels"),
    "nuclei": ("uint64", "labels"),
}

Listed = tuple[str, dict[str, Source], Volumes]
"""Where it stands in the config; its volumes; its record."""


def prepare(context: Context, p: Params, normalisation: Normalisation) -> None:
    """Make the synthetic volumes and take the statistics of all, unless an earlier run has."""
    for volumes in (*p.train, *p.check):
        if volumes.phantom is not None:
            for seed in volumes.seeds:
                _paint(context, volumes.phantom.model_copy(update={"seed": seed}))
    done = context.scratch("statistics.json")
    if not done.exists():
        found = {}
        for where, sources, _ in (*listed(p, "train", done.parent), *listed(p, "check", done.parent)):
            try:
                found[where] = offset_and_scale(open_volume(sources["raw"]), normalisation)
            except BadInput as error:
                raise BadInput(f"{where}: {error}") from error
        write_json(done, found)


def labelled(p: Params, role: str, scratch: Path) -> tuple[Labelled, ...]:
    """The prepared volumes to `train` on or to `check` with. Raises `BadInput` for what does not fit."""
    statistics = json.loads((scratch / "statistics.json").read_text())
    found = []
    for where, sources, given in listed(p, role, scratch):
        opened = {name: open_volume(source) for name, source in sources.items()}
        raw = opened.pop("raw")
        for name, volume in opened.items():
            _fits(f"{where}.{name}", volume, raw)
        z, y, x = raw.voxel_size_um or (1.0, 1.0, 1.0)
        finest = min(z, y, x)
        pitch = (z / finest, y / finest, x / finest)
        offset, scale = statistics[where]
        labels: dict[str, Readable] = {**opened}
        if given.picks is not None:
            labels["truth"] = picked(opened["truth"], given.picks)
        other = OTHER_CELLS if given.picks is not None else None
        found.append(Labelled(raw, labels, given.ignore, offset, scale, pitch, other))
    return tuple(found)


def voxel_size_um(p: Params, scratch: Path) -> Voxel | None:
    """That of the volumes to train on; None where they differ or nobody says."""
    sizes = {open_volume(sources["raw"]).voxel_size_um for _, sources, _ in listed(p, "train", scratch)}
    return sizes.pop() if len(sizes) == 1 else None


def listed(p: Params, role: str, scratch: Path) -> Iterator[Listed]:
    """Every volume of a role, one for each seed of a phantom."""
    given: tuple[Volumes, ...] = getattr(p, role)
    for number, volumes in enumerate(given):
        where = f"training.{role}.{number}"
        if volumes.phantom is None:
            names = [name for name in KINDS if getattr(volumes, name) is not None]
            yield where, {name: getattr(volumes, name) for name in names}, volumes
            continue
        for seed in volumes.seeds:
            phantom = volumes.phantom.model_copy(update={"seed": seed})
            folder = _folder(scratch, phantom)
            voxel = phantom.voxel_size_um
            sources = {n: Source(path=str(folder / n), voxel_size_um=voxel) for n in KINDS}
            yield f"{where} seed {seed}", sources, volumes


def _fits(where: str, volume: Volume, raw: Volume) -> None:
    if volume.shape != raw.shape:
        raise BadInput(
            f"{where}: found shape {volume.shape}, expected {raw.shape} as raw; crop or resample it"
        )
    if volume.dtype.kind not in "iu":
        raise BadInput(f"{where}: found {volume.dtype}, expected whole numbers, one a cell; convert it")


def _paint(context: Context, phantom: Phantom) -> None:
    folder = _folder(context.scratch("phantoms").parent, phantom)
    like = context.fitted(phantom.shape)
    targets = {n: store.open_or_create(folder / n, like, dtype, kind) for n, (dtype, kind) in KINDS.items()}
    context.map(
        f"phantom {folder.name}", partial(_paint_block, phantom=phantom, targets=targets), like.grid()
    )


def _paint_block(block: Block, phantom: Phantom, targets: dict[str, Array]) -> dict[str, int]:
    made = phantom_block(phantom, block.core)
    arrays = {"raw": made.raw, "truth": made.labels, "nuclei": made.nuclei}
    return {n: store.write_block(targets[n], block.core, np.asarray(arrays[n])) for n in KINDS}


def _folder(scratch: Path, phantom: Phantom) -> Path:
    """A place of its own for each phantom, by what it is like."""
    digest = hashlib.sha256(phantom.model_dump_json().encode()).hexdigest()[:12]
    return scratch / "phantoms" / digest
