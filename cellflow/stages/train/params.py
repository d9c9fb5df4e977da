"""What may be set for a training: volumes to learn from, and how."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from cellflow.core.phantom import Phantom
from cellflow.core.schema import Schema
from cellflow.engine.formats import Source
from cellflow.networks.training.spec import Learning
from cellflow.networks.training.targets import NucleiTarget

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Volumes(Schema):
    """One volume with its labels, or synthetic ones: a `phantom` for each of some `seeds`."""

    raw: Source | None = None
    """Intensities."""
    truth: Source | None = None
    """Cells, a number each; 0 is background."""
    nuclei: Source | None = None
    """Nuclei, a number each; for a head that finds them."""
    picks: str | None = None
    """Table (CSV) with columns `cell` and `picked`: only cells of `truth` with a 1 are learnt from, and the
    borders of these with others. Default: all cells are."""
    ignore: int | None = None
    """Label under which nothing is known; 0 where only some cells were annotated. Default: none."""
    phantom: Phantom | None = None
    """Synthetic tissues, with their cells and nuclei; its own seed does not count."""
    seeds: tuple[Seed, ...] = (0,)
    """One tissue for each."""

    @model_validator(mode="after")
    def _has_labels(self) -> Self:
        given = [self.raw, self.truth, self.nuclei, self.picks, self.ignore]
        if self.phantom is not None:
            if any(value is not None for value in given):
                raise ValueError("expected phantom alone: it brings its own raw, truth and nuclei")
            return self
        if self.raw is None:
            raise ValueError("expected raw with truth or nuclei, or phantom")
        if self.truth is None and self.nuclei is None:
            raise ValueError("found no labels, expected truth or nuclei beside raw")
        return self

    @property
    def brings(self) -> set[str]:
        """The labels there are."""
        if self.phantom is not None:
            return {"truth", "nuclei"}
        return {name for name in ("truth", "nuclei") if getattr(self, name) is not None}


class Params(Learning):
    """Which volumes a network learns from, what it learns, and how."""

    train: Annotated[tuple[Volumes, ...], Field(min_length=1)]
    """Volumes to learn from."""
    check: Annotated[tuple[Volumes, ...], Field(min_length=1)]
    """Volumes that it does not learn from, to see how good it is after each epoch."""

    @model_validator(mode="after")
    def _labels_for_targets(self) -> Self:
        needed = {"nuclei" if isinstance(target, NucleiTarget) else "truth" for target in self.targets}
        for name in ("train", "check"):
            for volumes in getattr(self, name):
                if missing := needed - volumes.brings:
                    raise ValueError(f"{name}: found no {missing.pop()}, which the targets need; add it")
        return self
