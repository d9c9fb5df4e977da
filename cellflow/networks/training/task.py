"""What a training is given: samples to learn from, places to look at, a network to begin with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cellflow.core.grid import Box
from cellflow.networks.architecture import Architecture
from cellflow.networks.training.patches import Labelled, Samples
from cellflow.networks.training.spec import Learning

if TYPE_CHECKING:
    from cellflow.networks.checkpoint import Weights


@dataclass(frozen=True)
class Check:
    """A part of a volume that is looked at after each epoch."""

    volume: Labelled
    box: Box


@dataclass(frozen=True)
class Task:
    """What to learn."""

    learning: Learning
    architecture: Architecture
    samples: Samples
    checks: tuple[Check, ...]
    first: "Weights | None" = None
    """Weights to begin with; None: random ones."""

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        patches = self.learning.patches
        return max(1, patches.per_epoch // patches.batch)
