"""How wrong a prediction is: a loss is its parameters, called on what the network says before activation.

All take (n, c, ...) predictions, targets and masks and return one number for each sample, (n,): nothing at a
masked voxel reaches it, and a sample without any known voxel has 0. Samples count alike, whatever else is in
their batch, so a batch may be cut up among GPUs.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cellflow.core.schema import Schema

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-6
"""Keeps a quotient finite where there is neither a target nor a prediction."""


class Bce(Schema):
    """Binary cross-entropy, the mean over known voxels."""

    name: Literal["bce"] = "bce"

    def __call__(self, said: "Tensor", target: "Tensor", known: "Tensor") -> "Tensor":
        """From 0 (sure and right)."""
        each = said.clamp(min=0) - said * target + said.abs().neg().exp().log1p()
        return _mean(each, known)


class Dice(Schema):
    """1 - 2 sum(p q) / (sum p^2 + sum q^2) of probabilities and target, the mean over channels."""

    name: Literal["dice"] = "dice"

    def __call__(self, said: "Tensor", target: "Tensor", known: "Tensor") -> "Tensor":
        """0 (the same) to 1 (nothing in common)."""
        p, q = said.sigmoid() * known, target * known
        both = _sums(p * q)
        return (1 - (2 * both + TINY) / (_sums(p * p) + _sums(q * q) + TINY)).mean(dim=1)


class BceDice(Schema):
    """Cross-entropy plus a multiple of Dice, as PlantSeg's networks were trained (Wolny et al. 2020)."""

    name: Literal["bce_dice"] = "bce_dice"
    dice: float = Field(1.0, ge=0)
    """What Dice counts for. Higher: thin and rare structures weigh more."""

    def __call__(self, said: "Tensor", target: "Tensor", known: "Tensor") -> "Tensor":
        """The sum."""
        return Bce()(said, target, known) + self.dice * Dice()(said, target, known)


class GeneralisedDice(Schema):
    """Dice of both classes of each channel, each weighed by one over its squared size (Sudre et al. 2017)."""

    name: Literal["generalised_dice"] = "generalised_dice"

    def __call__(self, said: "Tensor", target: "Tensor", known: "Tensor") -> "Tensor":
        """0 (the same) to 1; the mean over channels."""
        p = said.sigmoid()
        both, all_ = 0.0 * _sums(p * known), 0.0 * _sums(p * known)
        for one, other in ((p, target), (1 - p, 1 - target)):
            weight = _sums(other * known).clamp(min=1) ** -2
            both = both + weight * _sums(one * other * known)
            all_ = all_ + weight * _sums((one + other) * known)
        return (1 - (2 * both + TINY**2) / (all_ + TINY**2)).mean(dim=1)


class Mse(Schema):
    """Squared difference, the mean over known voxels; for numbers that are no probabilities."""

    name: Literal["mse"] = "mse"

    def __call__(self, said: "Tensor", target: "Tensor", known: "Tensor") -> "Tensor":
        """From 0."""
        return _mean((said - target) ** 2, known)


Loss = Annotated[Bce | Dice | BceDice | GeneralisedDice | Mse, Field(discriminator="name")]


def _sums(x: "Tensor") -> "Tensor":
    """(n, c)."""
    return x.flatten(2).sum(dim=2)


def _mean(each: "Tensor", known: "Tensor") -> "Tensor":
    return (each * known).flatten(1).sum(dim=1) / known.flatten(1).sum(dim=1).clamp(min=1)
