"""The base of every record that a user may write in YAML."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Length = Annotated[int, Field(ge=1)]
Shape3 = tuple[Length, Length, Length]
"""Voxels along z, y, x."""
Voxel3 = tuple[
    Annotated[float, Field(gt=0)],
    Annotated[float, Field(gt=0)],
    Annotated[float, Field(gt=0)],
]
"""Voxel size along z, y, x in micrometres."""


class Schema(BaseModel):
    """Frozen, without unknown keys; the string under a field is its documentation."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
