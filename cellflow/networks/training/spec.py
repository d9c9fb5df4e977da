"""All that decides what a network learns, besides the volumes."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cellflow.core.schema import Schema
from cellflow.networks.architecture import Architecture
from cellflow.networks.heads import Embeddings, Head
from cellflow.networks.normalisation import Normalisation
from cellflow.networks.training.augmentation import Augmentation
from cellflow.networks.training.patches import Patches
from cellflow.networks.training.schedule import Optimiser
from cellflow.networks.training.targets import AffinityTarget, BoundaryTarget, NucleiTarget, Target
from cellflow.networks.training.validation import Validation


class Learning(Schema):
    """How a network learns."""

    architecture: Architecture | None = None
    """What it looks like. Default: that of `start`, else a 3D U-Net for boundaries."""
    start: str | None = None
    """A model to begin with, as `model` in a prediction: fine-tuning. Default: random weights."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1)] = (BoundaryTarget(),)
    """What each head learns: one target a head."""
    normalisation: Normalisation | None = None
    """What is made of intensities, by statistics of each whole volume. Default: that of `start`, else
    mean 0 and deviation 1."""
    patches: Patches = Patches()
    """What the network is shown at once, and from where."""
    augmentation: Augmentation = Augmentation()
    """What is done to it before."""
    optimiser: Optimiser = Optimiser()
    """How weights follow the loss: Adam."""
    validation: Validation = Validation()
    """How networks are compared while they learn."""
    epochs: int = Field(150, ge=1)
    """How long at the most."""
    stop_after: int | None = Field(None, ge=1)
    """End when so many epochs brought no better network. Default: never."""
    save_every: int = Field(500, ge=1)
    """Steps between saves, besides one at the end of each epoch: what a kill can cost. With several processes
    there are only those at the end."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Numbers that convolutions calculate with. `bfloat16` and `float16` (for GPUs) take less memory, round,
    and are faster where the processor has them; where it has not, many times slower, with a warning."""
    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:1`."""
    loaders: int = Field(0, ge=0)
    """Processes that prepare patches beside the training; 0: the training itself. The result is the same."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Another seed: other first weights, patches and augmentation."""

    @model_validator(mode="after")
    def _heads_have_targets(self) -> Self:
        if self.architecture is not None:
            fit(self.architecture, self.targets)
        return self


def fit(architecture: Architecture, targets: tuple[Target, ...]) -> tuple[Head, ...]:
    """The head of each target. Raises `ValueError` unless each head has one, of its channels and its kind."""
    heads: dict[str, Head] = {head.name: head for head in architecture.heads}
    named = [target.head for target in targets]
    if sorted(named) != sorted(heads):
        raise ValueError(f"targets for the heads {sorted(named)}, expected one for each of {sorted(heads)}")
    for target in targets:
        _fit_one(heads[target.head], target)
    if architecture.in_channels != 1:
        raise ValueError(f"in_channels is {architecture.in_channels}, expected 1: raw is one channel")
    return tuple(heads[name] for name in named)


def _fit_one(head: Head, target: Target) -> None:
    if isinstance(head, Embeddings):
        raise ValueError("head embeddings, expected another: there is no loss for embeddings here")  # noqa: TRY004
    if isinstance(target, AffinityTarget) != hasattr(head, "offsets"):
        raise ValueError(f"target {target.name} for the head {head.name}: offsets go with affinities")
    if isinstance(target, NucleiTarget):
        if head.channels > 2:
            raise ValueError(f"head {head.name} has {head.channels} channels, expected 1 or 2 (boundaries)")
    elif not isinstance(target, AffinityTarget) and head.channels != 1:
        raise ValueError(f"head {head.name} has {head.channels} channels, expected 1 for {target.name}")
    if head.activation == "softmax":
        raise ValueError(f"head {head.name} has the activation softmax, expected sigmoid or none")
    if (head.activation == "none") != (target.loss.name == "mse"):
        raise ValueError(
            f"loss {target.loss.name} with the activation {head.activation}, expected mse with none, and "
            "the others with sigmoid"
        )
