"""What a user asks for who adapts a network to volumes without labels: rounds of teacher and student.

teacher ──► pick-1 ──► train-1 ──► pick-2 ──► train-2 ──► … ──► pick-(k+1)
            cells, picks-*.csv    a student, the next teacher    the last one's cells
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

import cellflow
from cellflow.core.phantom import Phantom
from cellflow.core.schema import Schema, checked
from cellflow.engine.formats import Source
from cellflow.engine.stage import read_receipt
from cellflow.engine.store import Storage
from cellflow.networks.training.spec import Learning
from cellflow.sample import plain_path
from cellflow.stages import pick, train
from cellflow.stages.pick.cells import Cut

KEY = "selftraining"
"""What tells a config of this kind from others."""


class Target(Schema):
    """A volume to adapt to: `raw`, or a `phantom`."""

    raw: Source | None = None
    """Intensities."""
    truth: Source | None = None
    """Cells, for scores alone; no student sees them."""
    phantom: Phantom | None = None
    """A synthetic tissue."""
    learn: bool = True
    """Whether students learn from it; else it is only scored."""

    @model_validator(mode="after")
    def _has_an_image(self) -> Self:
        if (self.raw is None) == (self.phantom is None):
            raise ValueError("expected raw, or phantom, and not both")
        return self


class SelfTraining(Schema):
    """Rounds of teacher and student."""

    teacher: str
    """The network to begin with, as `model` in a prediction."""
    volumes: Annotated[tuple[Target, ...], Field(min_length=1)]
    """What it is adapted to."""
    rounds: int = Field(4, ge=1, le=100)
    """Students, each the teacher of the next."""
    cut: Cut = Cut()
    """How boundaries become cells."""
    choice: pick.Choice = pick.Choice()
    """Which cells students learn from."""
    student: Learning = Learning()
    """How they learn; each begins with its teacher's weights."""

    @model_validator(mode="after")
    def _students_can_learn(self) -> Self:
        if not any(target.learn for target in self.volumes):
            raise ValueError("volumes: found none to learn from, expected one; drop a learn: false")
        if self.student.start is not None or self.student.architecture is not None:
            raise ValueError("student: found start or architecture, expected neither: the teacher gives both")
        return self


class Rounds(Schema):
    """One self-training."""

    results: Annotated[str, Field(min_length=1), AfterValidator(plain_path)]
    """Folder for all that is made; relative to the working folder."""
    selftraining: SelfTraining

    @property
    def folder(self) -> Path:
        """The same as a path."""
        return Path(self.results)

    def tissue(self, number: int) -> Path:
        """Where a phantom is made."""
        return self.folder / "volumes" / str(number)

    def teacher(self, round_: int) -> str:
        """The teacher of a round, counted from 1."""
        model = self.folder / f"train-{round_ - 1}" / "model.pytorch"
        return self.selftraining.teacher if round_ == 1 else str(model)

    def params(self, stage: str, round_: int) -> Schema:
        """The parameters of `pick` or `train` in a round; of `phantom`, for a volume's number."""
        if stage == "phantom":
            phantom = self.selftraining.volumes[round_].phantom
            return phantom or Phantom()
        return self._pick(round_) if stage == "pick" else self._train(round_)

    def job(self, stage: str, round_: int) -> str:
        """What Snakemake compares, and hands to the stage: JSON. Its inputs are files that it knows."""
        content = {
            "params": self.params(stage, round_).model_dump(mode="json"),
            "storage": Storage().model_dump(mode="json"),
            "version": cellflow.__version__,
        }
        return json.dumps(content, sort_keys=True)

    def learnt(self) -> list[int]:
        """Numbers of the volumes that students learn from."""
        return [number for number, target in enumerate(self.selftraining.volumes) if target.learn]

    def _pick(self, round_: int) -> pick.Params:
        p = self.selftraining
        volumes = tuple(
            pick.Specimen(**self._sources(number), learn=target.learn)
            for number, target in enumerate(p.volumes)
        )
        choice = p.choice.model_copy(update={"seed": p.choice.seed + round_})
        return pick.Params(teacher=self.teacher(round_), volumes=volumes, cut=p.cut, choice=choice)

    def _train(self, round_: int) -> train.Params:
        p, made = self.selftraining, self.folder / f"pick-{round_}"
        volumes = tuple(
            train.Volumes(
                raw=self._sources(number)["raw"],
                truth=Source(path=str(made / f"labels-{number}")),
                picks=str(made / f"picks-{number}.csv"),
            )
            for number in self.learnt()
        )
        given = {name: getattr(p.student, name) for name in Learning.model_fields}
        seed = p.student.seed + round_
        return train.Params(
            **{**given, "start": self.teacher(round_), "seed": seed, "train": volumes, "check": volumes}
        )

    def _sources(self, number: int) -> dict[str, Source | None]:
        target = self.selftraining.volumes[number]
        if target.phantom is None:
            return {"raw": target.raw, "truth": target.truth}
        made, voxel = self.tissue(number) / "phantom", target.phantom.voxel_size_um
        return {n: Source(path=str(made / n), voxel_size_um=voxel) for n in ("raw", "truth")}


def from_mapping(content: object, where: str) -> Rounds:
    """The checked configuration. Raises `BadInput`."""
    return checked(Rounds, content, where)


def table(folder: Path, rounds: int) -> str:
    """What each round found: cells, picked ones, adapted Rand error of learnt and of other volumes."""
    lines = [f"{folder.name}", f"  {'teacher':<12}{'cells':>8}{'picked':>8}{'error':>9}{'held out':>10}"]
    for round_ in range(1, rounds + 2):
        found = read_receipt(folder, f"pick-{round_}")["result"]["volumes"]
        cells, picked = (sum(volume[name] for volume in found) for name in ("cells", "picked"))
        errors = [_mean([v for v in found if v["learn"] is learn]) for learn in (True, False)]
        name = "given" if round_ == 1 else f"student {round_ - 1}"
        lines.append(f"  {name:<12}{cells:>8}{picked:>8}{errors[0]:>9}{errors[1]:>10}")
    return "\n".join([*lines, f"  model  {folder / f'train-{rounds}' / 'model.pytorch'}"])


def _mean(volumes: Sequence[dict[str, float | None]]) -> str:
    errors = [v["adapted_rand_error"] for v in volumes if v["adapted_rand_error"] is not None]
    return f"{sum(errors) / len(errors):.4f}" if errors else "-"
