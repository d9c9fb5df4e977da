"""How a model is named in a config, and what is written beside weights of our own."""

from os.path import expanduser
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from cellflow.core.schema import Schema, Voxel3
from cellflow.networks.architecture import Architecture
from cellflow.networks.heads import Head
from cellflow.networks.normalisation import Normalisation

URL = ("http://", "https://")


class ModelSpec(Schema):
    """A trained network: where its weights are, and what they do not say themselves."""

    model: Annotated[str, Field(min_length=1), AfterValidator(expanduser)]
    """A checkpoint of cellflow, pytorch-3dunet or PlantSeg, or the folder that holds it; a BioImage.IO
    package (folder or zip); a name of `cellflow models list`; or an address, with its `sha256`."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(None, validate_default=True)
    """Digest that the file must have, as `sha256sum` prints it; needed for an address."""
    architecture: Architecture | None = None
    """What the network looks like. Default: what the YAML file beside the weights, or the package, says."""
    head: Head | None = None
    """What its only head predicts, in place of what the file says of it."""
    normalisation: Normalisation | None = None
    """What the network expects of intensities. Default: what the file says, else mean 0 and deviation 1."""
    voxel_size_um: Voxel3 | None = None
    """Voxel size z, y, x that it was trained on. Default: what the file says."""

    @field_validator("sha256")
    @classmethod
    def _an_address_has_a_digest(cls, sha256: str | None, info: ValidationInfo) -> str | None:
        if sha256 is None and info.data.get("model", "").startswith(URL):
            raise ValueError("expected the digest of the file at the address; run sha256sum on it")
        return sha256


class Trained(Schema):
    """What is written beside weights: `model.yaml` beside `model.pytorch`."""

    architecture: Architecture
    """What the network looks like."""
    normalisation: Normalisation | None = None
    """What it expects of intensities."""
    voxel_size_um: Voxel3 | None = None
    """Voxel size z, y, x that it was trained on."""
    description: str = ""
    """A line for people."""
