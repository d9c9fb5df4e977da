"""The volumes of one specimen, as a config names them."""

import re
from typing import Literal, Self

from pydantic import model_validator

from cellflow.core.errors import BadInput
from cellflow.core.phantom import Phantom
from cellflow.core.schema import Schema
from cellflow.engine.formats import Source, Volume
from cellflow.stages.affinities import Affinities

ROLES = ("raw", "boundaries", "truth", "mask", "nuclei", "nuclei_probability", "nuclei_raw")
"""What a volume of a sample can be, in the order in which they are checked."""


def plain_name(name: str) -> str:
    """The name, if it can be a folder's. Raises `ValueError`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError("expected letters, digits, _ and -, as it becomes a folder")
    return name


def plain_path(path: str) -> str:
    """The path, if a workflow can use it. Raises `ValueError`."""
    if set("{}*?[]") & set(path):
        raise ValueError("expected a path without { } * ? [ ], which stand for other things in a workflow")
    return path


class Sample(Schema):
    """The volumes of one specimen: `raw`, `boundaries` or `affinities`, or a `phantom`: raw and truth."""

    raw: Source | None = None
    """Intensities. Left out: the boundary map, or the first affinity, is shown in its place."""
    boundaries: Source | None = None
    """Boundary probabilities to start from; no prediction is made."""
    affinities: Affinities | None = None
    """Affinities to start from, with an offset for each channel; boundaries and edges come from them."""
    truth: Source | None = None
    """Labels to compare with; turns scores on."""
    mask: Source | None = None
    """Where it is not 0, cells are looked for; elsewhere there is background."""
    nuclei: Source | None = None
    """Labels of nuclei, one each: a cell has one. The solver `lifted_multicut` and `reconcile` go by them."""
    nuclei_probability: Source | None = None
    """In place of labels: how probably a voxel is in a nucleus, 0 to 1 (float) or 0 to 255 (uint8)."""
    nuclei_raw: Source | None = None
    """In place of both: an image of stained nuclei, in which a network finds them
    (`stages.predict_nuclei`)."""
    phantom: Phantom | None = None
    """A synthetic tissue to make and use."""
    phantom_also: tuple[Literal["boundaries", "nuclei"], ...] = ()
    """What of the phantom is used beside its raw and truth."""

    @model_validator(mode="after")
    def _has_a_start(self) -> Self:
        if not (self.phantom or self.raw or self.boundaries or self.affinities):
            raise ValueError("expected raw, boundaries or phantom, or affinities")
        if self.boundaries and self.affinities:
            raise ValueError(
                "expected boundaries or affinities, not both: affinities bring their own boundaries"
            )
        if sum(map(bool, (self.nuclei, self.nuclei_probability, self.nuclei_raw))) > 1:
            raise ValueError("expected one of nuclei (labels), nuclei_probability, nuclei_raw (an image)")
        if self.phantom is not None and (self.affinities or any(getattr(self, role) for role in ROLES)):
            raise ValueError("expected phantom alone: it brings its own volumes, see phantom_also")
        if self.phantom_also and self.phantom is None:
            raise ValueError("expected a phantom beside phantom_also: it says what of it is used")
        return self

    @property
    def nuclei_from(self) -> str | None:
        """The stage that says where nuclei are, of a sample that is given some."""
        if self.nuclei or "nuclei" in self.phantom_also:
            return "ingest-nuclei"
        if self.nuclei_probability:
            return "ingest-nuclei_probability"
        return "predict-nuclei_raw" if self.nuclei_raw else None


def same_shape(volumes: dict[str, Volume], where: str) -> None:
    """Raises `BadInput` where a volume is not as large as `raw`."""
    for role, volume in volumes.items():
        expected = volumes["raw"].shape
        if volume.shape != expected:
            raise BadInput(
                f"{where}.{role}: found shape {volume.shape} (z, y, x), expected {expected} as raw; "
                "crop or resample it, or check its axes"
            )
