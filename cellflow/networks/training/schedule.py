"""How long and how fast to learn, worked out from what has been seen: nothing here remembers anything.

Learning rate and end of a training are functions of its history, so a run that was stopped goes on as if it
had not been.
"""

from collections.abc import Sequence
from math import cos, pi
from typing import Annotated, Literal

from pydantic import Field

from cellflow.core.schema import Schema

Share = Annotated[float, Field(ge=0, lt=1)]


class Plateau(Schema):
    """A lower rate whenever validation has not improved for a while."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(0.5, gt=0, lt=1)
    """What the rate is multiplied by."""
    patience: int = Field(30, ge=0)
    """Epochs without a better one that are waited for."""

    def rate(self, scores: Sequence[float], _share: float) -> float:
        """What the learning rate is multiplied by, after these scores (lower is better)."""
        best, waited, rate = float("inf"), 0, 1.0
        for score in scores:
            waited = 0 if score < best else waited + 1
            best = min(best, score)
            if waited > self.patience:
                rate, waited = rate * self.factor, 0
        return rate


class Cosine(Schema):
    """Up in a straight line, then down along half a cosine until the last epoch."""

    name: Literal["cosine"] = "cosine"
    warm_up: Share = 0.05
    """Share of the training in which the rate rises."""
    last: Share = 0.01
    """Where it ends, as a share of the highest rate."""

    def rate(self, _scores: Sequence[float], share: float) -> float:
        """What the learning rate is multiplied by, after this share of the training."""
        if share < self.warm_up:
            return max(self.last, share / self.warm_up)
        down = (share - self.warm_up) / (1 - self.warm_up)
        return self.last + (1 - self.last) * (1 + cos(pi * down)) / 2


class Constant(Schema):
    """The same rate throughout."""

    name: Literal["constant"] = "constant"

    def rate(self, _scores: Sequence[float], _share: float) -> float:
        """1."""
        return 1.0


Schedule = Annotated[Plateau | Cosine | Constant, Field(discriminator="name")]


class Optimiser(Schema):
    """Adam."""

    learning_rate: float = Field(2e-4, gt=0)
    """The highest step size. Too high: the loss jumps or stays; too low: it falls slowly."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """How much of the mean of earlier gradients, and of their squares, is kept in each step."""
    weight_decay: float = Field(1e-5, ge=0)
    """Pull of all weights towards 0 (L2)."""
    clip_norm: float | None = Field(None, gt=0)
    """Longest gradient that is followed; longer ones are cut to it. Tames single bad steps."""
    schedule: Schedule = Plateau()
    """`plateau`, `cosine` or `constant`."""


def waited(scores: Sequence[float]) -> int:
    """Epochs since the best one."""
    return len(scores) - 1 - scores.index(min(scores)) if scores else 0
