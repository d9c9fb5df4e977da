"""What a network predicts: one head for each meaning, with its channels and its activation."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cellflow.core.affinities import checked as checked_offsets
from cellflow.core.grid import Triple
from cellflow.core.schema import Schema

Activation = Literal["sigmoid", "softmax", "none"]
Channels = Annotated[int, Field(ge=1, le=4096)]
Step = Annotated[int, Field(ge=-1024, le=1024)]


def _no_zero(offsets: tuple[Triple, ...]) -> tuple[Triple, ...]:
    checked_offsets(offsets)
    return offsets


class _Map(Schema):
    channels: Channels = 1
    """Maps that the head makes."""
    activation: Activation = "sigmoid"
    """What the last convolution goes through in use (training sees it bare): `sigmoid` for probabilities
    channel by channel, `softmax` for classes that share one probability, `none` for plain numbers."""


class Boundary(_Map):
    """Boundaries between cells."""

    name: Literal["boundary"] = "boundary"


class Foreground(_Map):
    """Where there are cells at all."""

    name: Literal["foreground"] = "foreground"


class Nuclei(_Map):
    """Nuclei; a second channel, if there is one, is their boundary."""

    name: Literal["nuclei"] = "nuclei"


class Output(_Map):
    """Something that the file does not name."""

    name: Literal["output"] = "output"


class Affinities(Schema):
    """Whether a voxel and another one lie in one cell; probabilities, a channel for each offset."""

    name: Literal["affinities"] = "affinities"
    offsets: Annotated[
        tuple[tuple[Step, Step, Step], ...], Field(min_length=1, max_length=256), AfterValidator(_no_zero)
    ]
    """For each channel the step z, y, x, in voxels, from a voxel to the other one of its pair."""

    @property
    def channels(self) -> int:
        """One for each offset."""
        return len(self.offsets)

    @property
    def activation(self) -> Activation:
        """Each pair has a probability of its own."""
        return "sigmoid"


class Embeddings(Schema):
    """A point in space for each voxel: near each other in one cell, far apart in two."""

    name: Literal["embeddings"] = "embeddings"
    channels: Channels = 16
    """Dimensions of the space. More keep more neighbours apart and cost memory."""

    @property
    def activation(self) -> Activation:
        """Distances mean something, so nothing is squeezed."""
        return "none"


Head = Annotated[
    Boundary | Foreground | Nuclei | Affinities | Embeddings | Output, Field(discriminator="name")
]
