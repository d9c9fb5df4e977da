"""What a network expects of intensities: the record that goes with its weights."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from cellflow.core.errors import BadInput
from cellflow.core.schema import Schema


class MeanStd(Schema):
    """Mean 0 and standard deviation 1 over the whole volume (z-score), as pytorch-3dunet and PlantSeg do."""

    name: Literal["mean_std"] = "mean_std"


class Percentile(Schema):
    """A low percentile of the whole volume becomes 0 and a high one 1; what lies beyond is kept."""

    name: Literal["percentile"] = "percentile"
    low: float = Field(1.0, ge=0, lt=100)
    """Percentile that becomes 0."""
    high: float = Field(99.8, gt=0, le=100)
    """Percentile that becomes 1."""

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"expected low below high, found {self.low} and {self.high}")
        return self


class Fixed(Schema):
    """The same for every volume: (raw - offset) / scale."""

    name: Literal["fixed"] = "fixed"
    offset: float = 0.0
    """Intensity that becomes 0."""
    scale: float = Field(1.0, gt=0)
    """Intensities that become 1 apart. 255 brings uint8 to 0 to 1."""


Normalisation = Annotated[MeanStd | Percentile | Fixed, Field(discriminator="name")]


def understood(record: dict[str, Any], said: str, where: str) -> Normalisation:
    """The record that stands for what a file said. Raises `BadInput` if none does."""
    try:
        found: Normalisation = TypeAdapter(Normalisation).validate_python(record)
    except ValidationError as error:
        raise BadInput(
            f"{where}: found the normalisation {said:.160}, expected one by mean and deviation, percentiles "
            "or fixed numbers; give the model's normalisation in the config"
        ) from error
    return found
