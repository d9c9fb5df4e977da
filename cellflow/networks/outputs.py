"""What is kept of a network's predictions, maps of one channel each and affinities, and how they are made."""

from dataclasses import dataclass
from typing import Literal

from cellflow.core.affinities import reach
from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple
from cellflow.networks.heads import Affinities, Embeddings, Head

Precision = Literal["float32", "bfloat16", "float16"]
Flips = Literal["none", "x", "yx", "zyx"]
Volume = Literal["boundaries", "foreground", "predicted_nuclei", "nuclei_probability"]

MAPS: dict[str, Volume] = {
    "boundary": "boundaries",
    "foreground": "foreground",
    "nuclei": "predicted_nuclei",
}
"""Volumes by the head that makes them."""


@dataclass(frozen=True)
class Outputs:
    """What a tile becomes: first the maps, then a channel for each offset."""

    maps: tuple[tuple[Volume, str, int], ...]
    """Volume, head, and the channel of the head that becomes the volume."""
    offsets: tuple[Triple, ...] = ()
    """Of the affinities; empty without."""
    embedded: bool = False
    """Affinities are those of points in space: how near the two of a pair are."""
    push: float = 2.0
    """Half the distance from which on two points surely lie in two cells."""

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """The volumes of one channel."""
        return tuple(volume for volume, _, _ in self.maps)

    @property
    def channels(self) -> int:
        """Bytes a voxel."""
        return len(self.maps) + len(self.offsets)

    @property
    def halo(self) -> Triple:
        """Voxels around a tile that must be right as well: the other ends of its pairs."""
        return reach(self.offsets) if self.embedded else (0, 0, 0)


@dataclass(frozen=True)
class Setting:
    """How a network is used."""

    outputs: Outputs
    device: str = "cpu"
    precision: Precision = "float32"
    flips: Flips = "none"
    compile: bool = False


def nuclei_of(heads: tuple[Head, ...], where: str) -> Outputs:
    """The map of nuclei alone, as `nuclei_probability`. Raises `BadInput` if there is none."""
    names = [head.name for head in heads]
    if "nuclei" not in names:
        said = ", ".join(names).replace("output", "something unnamed")
        raise BadInput(
            f"{where}: predicts {said}, expected nuclei; if it does predict nuclei, say so: "
            "predictor.head: {name: nuclei}"
        )
    return Outputs((("nuclei_probability", "nuclei", 0),))


def outputs_of(
    heads: tuple[Head, ...], channel: int, offsets: tuple[Triple, ...], push: float, where: str
) -> Outputs:
    """What these heads become: `channel` is that of boundaries, offsets and push are for embeddings.

    Affinities win over embeddings. Raises `BadInput` if neither boundaries nor pairs are predicted.
    """
    by_name = {head.name: head for head in heads}
    if "boundary" in by_name and channel >= by_name["boundary"].channels:
        raise BadInput(
            f"predictor.channel: found {channel}, expected less than {by_name['boundary'].channels}, the "
            f"channels of boundaries of {where}, counted from 0; lower it"
        )
    maps = tuple(
        (volume, name, channel if name == "boundary" else 0)
        for name, volume in MAPS.items()
        if name in by_name
    )
    pairs, points = by_name.get("affinities"), by_name.get("embeddings")
    if isinstance(pairs, Affinities):
        return Outputs(maps, pairs.offsets)
    if isinstance(points, Embeddings):
        return Outputs(maps, offsets, embedded=True, push=push)
    if "boundary" not in by_name:
        said = ", ".join(by_name).replace("output", "something unnamed")
        raise BadInput(
            f"{where}: predicts {said}, expected boundary, affinities or embeddings; if it does predict "
            "boundaries, say so: predictor.head: {name: boundary}"
        )
    return Outputs(maps)
