"""One round of self-training up to its student: a teacher predicts, cells are cut out, the best are picked.

For each volume there is a label array with all cells, `labels-<n>`, and a table `picks-<n>.csv` with a row a
cell: what speaks for it, and whether a student is to learn from it. The table may be edited before the
student learns: 1 or 0 in the column `picked`. Where a volume has a truth, the cells are scored, for the
record only; no truth reaches a pick.

A person chose the regions in the work that this follows (Wolny, PhD thesis, 2.4.1; Ichikawa et al. 2022);
here it is each cell's weakest contact. Each volume is held in memory, about 60 B a voxel.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.contingency import contingency_block, without
from cellflow.core.errors import BadInput
from cellflow.core.metrics import adapted_rand_error
from cellflow.core.schema import Schema
from cellflow.engine import store
from cellflow.engine.atomic import write
from cellflow.engine.formats import Source, Volume, fingerprint, open_volume
from cellflow.engine.stage import Context
from cellflow.stages.pick.cells import Cells, Cut, cells_of
from cellflow.stages.pick.table import picks_csv

__all__ = ["PRIVATE", "Choice", "Params", "Specimen", "run", "stamp"]

PRIVATE = ("teacher", "volumes")


class Specimen(Schema):
    """A volume to adapt to."""

    raw: Source
    """Intensities."""
    truth: Source | None = None
    """Cells, for scores alone."""
    learn: bool = True
    """Whether students learn from it; else it is only scored."""


class Choice(Schema):
    """Which cells a student learns from."""

    share: float = Field(0.4, gt=0, le=1)
    """Share of the volume that the picked cells fill. Higher: more to learn from, more of it wrong."""
    by: Literal["confidence", "random"] = "confidence"
    """`confidence`: the surest cells. `random`: any, to see what the choice is worth."""
    seed: int = Field(0, ge=0)
    """Of the random choice."""


class Params(Schema):
    """Who predicts, and what is picked."""

    teacher: str
    """The network, as `model` in a prediction."""
    volumes: Annotated[tuple[Specimen, ...], Field(min_length=1)]
    """What is predicted."""
    cut: Cut = Cut()
    """How boundaries become cells."""
    choice: Choice = Choice()
    """Which of them are learnt from."""


def stamp(p: Params) -> str:
    """Sizes and ages of the inputs."""
    paths = [Path(p.teacher), *(Path(specimen.raw.path) for specimen in p.volumes)]
    return " ".join(fingerprint(path) for path in paths if path.exists())


def run(context: Context, p: Params) -> dict[str, Any]:
    """The result has the adapted Rand error of each volume, and how many cells were picked."""
    # ruff: noqa: PLC0415 - torch takes a second, and who plans a workflow needs none of it
    from cellflow.networks.model import load_model
    from cellflow.networks.spec import ModelSpec
    from cellflow.networks.training.statistics import offset_and_scale
    from cellflow.networks.training.tiles import predicted_boundaries

    model = load_model(ModelSpec(model=p.teacher))
    found = []
    for number, specimen in enumerate(p.volumes):
        volume = open_volume(specimen.raw)
        offset, scale = offset_and_scale(volume, model.description.normalisation)
        image = (_whole(volume).astype(np.float32) - np.float32(offset)) / np.float32(scale)
        boundary = predicted_boundaries(model, image)
        if boundary is None:
            raise BadInput(f"{p.teacher}: predicts no boundaries or affinities, expected a network that does")
        cells = cells_of(boundary, p.cut, volume.voxel_size_um or (1.0, 1.0, 1.0))
        picked = chosen(cells, p.choice, number) & specimen.learn
        _keep(context, number, cells, picked)
        found.append(
            {
                "cells": int(cells.size.size),
                "picked": int(picked.sum()),
                "learn": specimen.learn,
                "adapted_rand_error": _error(cells, specimen),
            }
        )
    return {"volumes": found}


def chosen(cells: Cells, p: Choice, number: int) -> NDArray[np.bool_]:
    """The first cells of a ranking that together fill no more than the share of the volume."""
    rank = cells.weakest
    if p.by == "random":
        rank = np.random.default_rng([p.seed, number]).random(cells.size.size)
    order = np.argsort(-rank, kind="stable")
    picked = np.zeros(cells.size.size, bool)
    picked[order[np.cumsum(cells.size[order]) <= p.share * cells.size.sum()]] = True
    return picked


def _whole(volume: Volume) -> NDArray[Any]:
    z, y, x = (slice(0, n) for n in volume.shape)
    return volume.read((z, y, x))


def _keep(context: Context, number: int, cells: Cells, picked: NDArray[np.bool_]) -> None:
    text = picks_csv(cells, picked).encode()
    write(context.output(f"picks-{number}.csv"), lambda file: file.write(text))
    z, y, x = cells.labels.shape
    like = context.fitted((z, y, x))
    target = store.open_or_create(context.output(f"labels-{number}"), like, np.uint64, "labels")
    for block in like.grid():
        store.write_block(target, block.core, cells.labels[block.core])


def _error(cells: Cells, specimen: Specimen) -> float | None:
    if specimen.truth is None:
        return None
    truth = _whole(open_volume(specimen.truth))
    return adapted_rand_error(without(contingency_block(truth, cells.labels))).error
