"""A trained network, ready to predict, and what a stage must know to use it without seams."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple
from cellflow.core.schema import Voxel3
from cellflow.networks.architecture import Architecture
from cellflow.networks.checkpoint import put_weights, read_weights
from cellflow.networks.device import device_of
from cellflow.networks.field import pooling, reach
from cellflow.networks.heads import Head
from cellflow.networks.normalisation import MeanStd, Normalisation
from cellflow.networks.sources import Found, find
from cellflow.networks.spec import ModelSpec
from cellflow.networks.unet import UNet, tile_dependence


@dataclass(frozen=True)
class Description:
    """All that is known of a network besides its weights."""

    architecture: Architecture
    normalisation: Normalisation
    """What it expects of intensities."""
    voxel_size_um: Voxel3 | None
    """Along z, y, x, of the images that it was trained on; None where nobody says."""
    reach: Triple
    """Voxels along z, y, x, per side, that a prediction can depend on: the halo of a tile."""
    pooling: Triple
    """A tile starts at a multiple of it and is as long as a multiple, along z, y, x."""
    tile_dependent: tuple[str, ...]
    """Why predictions differ from tile to tile whatever the halo; empty: they do not."""
    about: str = ""

    @property
    def dims(self) -> int:
        """3, or 2 for a network that sees one z slice at a time."""
        return self.architecture.dims

    @property
    def in_channels(self) -> int:
        """Channels of the image."""
        return self.architecture.in_channels

    @property
    def out_channels(self) -> int:
        """Maps of all heads together."""
        return sum(head.channels for head in self.heads)

    @property
    def heads(self) -> Sequence[Head]:
        """What is predicted, by the names under which `Model` hands it out."""
        return self.architecture.heads


@dataclass(frozen=True)
class Model:
    """A network with its weights on its device, in eval mode."""

    network: UNet
    description: Description
    device: torch.device
    sha256: str
    """Digest of the checkpoint: with the version of the package, it stands for what is predicted."""

    def __call__(self, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The predictions (n, c, z, y, x) of each head, by name, for normalised images (n, c, z, y, x).

        A network in 2D sees each z slice by itself. What comes out covers all of what went in; within `reach`
        of a side that is not the volume's it is not what the whole volume gives.
        """
        expected = self.description.in_channels
        if image.ndim != 5 or image.shape[1] != expected:
            raise BadInput(f"image: found shape {image.shape}, expected n, {expected} channels, z, y, x")
        n, _, z = image.shape[:3]
        tensor = torch.from_numpy(np.ascontiguousarray(image, np.float32))
        if self.description.dims == 2:
            tensor = tensor.movedim(2, 1).flatten(0, 1)
        with torch.inference_mode():
            made = self.network(tensor.to(self.device))
        if self.description.dims == 2:
            made = {name: maps.unflatten(0, (n, z)).movedim(1, 2) for name, maps in made.items()}
        return {name: maps.float().cpu().numpy() for name, maps in made.items()}


def load_model(spec: ModelSpec, device: str = "auto") -> Model:
    """The model of a config on a device, weights checked key by key and by digest where one is known.

    Raises `BadInput`, one line, for a device that is not there, a model that cannot be found, and weights
    that do not fit. Costs the memory of the weights twice while they are read.
    """
    target = device_of(device)
    found = find(spec)
    network = UNet(found.architecture)
    with found.opened() as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if found.sha256 not in (None, sha256):
            raise BadInput(
                f"{found.where}: found sha256 {sha256}, expected {found.sha256} as its description says; "
                "get it again"
            )
        file.seek(0)
        put_weights(network, read_weights(file, found.where), found.where)
    network.eval().requires_grad_(requires_grad=False)
    return Model(network.to(target), describe(found), target, sha256)


def describe(found: Found) -> Description:
    """What a model is like; its weights are not read."""
    a = found.architecture
    with torch.device("meta"):
        network = UNet(a)
    return Description(
        architecture=a,
        normalisation=found.normalisation or MeanStd(),
        voxel_size_um=found.voxel_size_um,
        reach=reach(a),
        pooling=pooling(a),
        tile_dependent=tile_dependence(network),
        about=found.about,
    )
