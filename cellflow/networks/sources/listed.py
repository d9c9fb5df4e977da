"""Models that go by a name: those of PlantSeg's public list, shipped as data."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field

from cellflow.core.schema import Schema, Voxel3, checked
from cellflow.networks.sources.download import place


class Listed(Schema):
    """A model of the list."""

    url: Annotated[str, Field(pattern="^https?://")]
    """Its weights; `config_train.yml` lies beside."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Digest of the weights, where one is known."""
    dims: Literal[2, 3]
    """Axes that it sees."""
    predicts: Literal["boundary", "nuclei"]
    """What its head is."""
    modality: str
    """Microscope."""
    voxel_size_um: Voxel3
    """Voxel size z, y, x that it was trained on."""
    description: str
    """A line for people."""

    @property
    def config_url(self) -> str:
        """The configuration that it was trained with."""
        return f"{self.url.rpartition('/')[0]}/config_train.yml"

    @property
    def here(self) -> Path | None:
        """The weights, if they are on this machine."""
        found = place(self.url)
        return found if found.exists() else None


@cache
def listed() -> dict[str, Listed]:
    """The list, by name, in its order."""
    text = files("cellflow.networks.sources").joinpath("models.yaml").read_text()
    return {name: checked(Listed, entry, name) for name, entry in yaml.safe_load(text).items()}
