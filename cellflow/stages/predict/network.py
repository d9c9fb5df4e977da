"""The parameters of a trained network, and what they come to with what is known of it."""

from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cellflow.core.affinities import checked as checked_offsets
from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple
from cellflow.core.schema import Schema, Shape3, Voxel3
from cellflow.core.tiles import Lattice, Profile, round_up
from cellflow.networks.architecture import Architecture
from cellflow.networks.budget import smallest
from cellflow.networks.field import pooling, reach
from cellflow.networks.normalisation import MeanStd, Normalisation
from cellflow.networks.outputs import Outputs, nuclei_of, outputs_of
from cellflow.networks.sources import Found, find
from cellflow.networks.spec import ModelSpec

Step = Annotated[int, Field(ge=-128, le=128)]
Halo = Annotated[int, Field(ge=0, le=1024)]


def _no_zero(offsets: tuple[Triple, ...]) -> tuple[Triple, ...]:
    checked_offsets(offsets)
    return offsets


class Crop(Schema):
    """Each voxel from the one tile that owns it: nothing is computed twice but the halo."""

    name: Literal["crop"] = "crop"


class _Overlapping(Schema):
    overlap: int = Field(16, ge=2, le=512, multiple_of=2)
    """Voxels that two neighbouring tiles share along each axis (in 2D y and x). More: softer, and slower."""


class Average(_Overlapping):
    """The mean of all tiles that share a voxel."""

    name: Literal["average"] = "average"


class Gaussian(_Overlapping):
    """The mean of all tiles that share a voxel, weighed by how near their middles are."""

    name: Literal["gaussian"] = "gaussian"


Blending = Annotated[Crop | Average | Gaussian, Field(discriminator="name")]


class Network(ModelSpec):
    """A trained network (`cellflow models list`), tile by tile, on a GPU if there is one.

    Boundaries come from its boundary head, or from its affinities, which then give the graph's edges as well.
    Maps of foreground and nuclei are written beside. With a halo of its reach, a network with BatchNorm
    predicts the same whatever the tiles; of others, the seams are measured and reported.
    """

    name: Literal["network"] = "network"
    channel: int = Field(0, ge=0)
    """Channel of the boundary head that holds boundaries, counted from 0."""
    offsets: Annotated[
        tuple[tuple[Step, Step, Step], ...], Field(min_length=1, max_length=64), AfterValidator(_no_zero)
    ] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    """Of embeddings: the steps z, y, x for which two points are compared; as in `affinities`. Longer ones
    make the halo thicker. A network that predicts affinities brings its own."""
    push: float = Field(2.0, gt=0)
    """Of embeddings: half the distance from which on two points surely lie in two cells (in training, the
    hinge of the push). Higher: cells merge."""
    tile: Shape3 | None = None
    """Voxels z, y, x that one tile answers for, multiples of the network's pooling; its halo comes on top.
    Default: what wastes least within `memory_gb`. Larger: faster, as less of it is halo."""
    halo: tuple[Halo, Halo, Halo] | None = None
    """Voxels around a tile that the network sees as well. Default: as far as it can see. Less: faster, with
    seams, which are measured."""
    blending: Blending = Crop()
    """What counts where tiles overlap."""
    flips: Literal["none", "x", "yx", "zyx"] = "none"
    """Axes along which the image is also predicted mirrored, the mean counts: steadier, and 2, 4 or 8 times
    the time. Not for affinities and embeddings, which have directions."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the numbers between layers: 16 bits need half the memory, and half the time on many processors, but
    many times as much on those that have no such numbers, with a warning; a probability is then right to
    about 1/100."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`cpu`, `cuda`, `cuda:1`; `auto` takes all GPUs that the job sees, one a worker, or else the CPU."""
    batch: int | None = Field(None, ge=1, le=256)
    """Tiles at once. Default: on a GPU so many small ones that they keep it busy and fit into its memory; on
    a CPU, which wins nothing by more, 1."""
    compile: bool = False
    """Compile the network at first (with `g++`): worth its minute on some GPUs only."""
    memory_gb: float | None = Field(None, gt=0)
    """Memory for the largest tile, in GiB. Default: 8 on a CPU, three quarters of what a GPU has free; for a
    network whose tiles leave seams always 8, so that they are the same everywhere."""

    @property
    def overlap(self) -> int:
        """Voxels that two tiles share."""
        return 0 if isinstance(self.blending, Crop) else self.blending.overlap

    @property
    def profile(self) -> Profile:
        """What a voxel weighs within its tile."""
        return "gaussian" if isinstance(self.blending, Gaussian) else "average"

    @property
    def spec(self) -> ModelSpec:
        """The model alone."""
        return ModelSpec(**{name: getattr(self, name) for name in ModelSpec.model_fields})


@dataclass(frozen=True)
class Facts:
    """What is known of a network without reading its weights."""

    architecture: Architecture
    outputs: Outputs
    normalisation: Normalisation
    voxel_um: Voxel3 | None
    reach: Triple
    """Voxels per side that a prediction can depend on."""
    period: Triple
    """A tile starts at a multiple of it and is as long as a multiple."""
    weights_bytes: int

    def lattice(self, shape: Triple, p: Network, core: Triple | None = None) -> Lattice:
        """The tiles of a volume, with this core, or the one that the parameters give, or the smallest."""
        overlap = (0 if self.architecture.dims == 2 else p.overlap, p.overlap, p.overlap)
        z, y, x = (a + b for a, b in zip(p.halo or self.reach, self.outputs.halo, strict=True))
        bare = Lattice(shape, self.period, self.period, (z, y, x), overlap)
        return Lattice(shape, core or p.tile or smallest(bare), self.period, bare.halo, overlap)


def facts_of(p: Network, image: str = "raw") -> Facts:
    """What the parameters and the model's files say; downloads a model that is not here yet.

    Of `nuclei_raw` only nuclei are wanted, of `raw` boundaries and all that is predicted beside.

    Raises `BadInput`, one line, for a model that is not there or cannot be used like this.
    """
    found = find(p.spec)
    a = found.architecture
    if a.in_channels != 1:
        raise BadInput(
            f"{found.where}: found a network of {a.in_channels} channels, expected one that sees a single one"
        )
    outputs = (
        nuclei_of(a.heads, found.where)
        if image == "nuclei_raw"
        else outputs_of(a.heads, p.channel, p.offsets, p.push, found.where)
    )
    if outputs.offsets and p.flips != "none":
        raise BadInput(
            f"predictor.flips: found {p.flips}, expected none for {found.where}: flips would turn the "
            "directions of its pairs"
        )
    period = pooling(a)
    _check_tile(p, a.dims, period, found)
    return Facts(
        architecture=a,
        outputs=outputs,
        normalisation=found.normalisation or MeanStd(),
        voxel_um=found.voxel_size_um,
        reach=reach(a),
        period=period,
        weights_bytes=found.weights.stat().st_size,
    )


def tile_note(lattice: Lattice) -> str:
    """A line on tiles and how much of what is computed is kept."""
    core = (min(c, n) for c, n in zip(lattice.core, lattice.shape, strict=True))
    sides, halo = (" x ".join(map(str, sizes)) for sizes in (core, lattice.margin))
    share = prod(lattice.shape) / lattice.computed
    return (
        f"{len(lattice)} tiles of {sides} voxels and {halo} around: {share:.1%} of what is computed is kept"
    )


def _check_tile(p: Network, dims: int, period: Triple, found: Found) -> None:
    if p.tile is None:
        return
    if any(t % n for t, n in zip(p.tile, period, strict=True)):
        near = [round_up(t, n) for t, n in zip(p.tile, period, strict=True)]
        raise BadInput(
            f"predictor.tile: found {list(p.tile)}, expected multiples of {list(period)}, the pooling of "
            f"{found.where}; use {near}"
        )
    if min(p.tile[3 - dims :]) < p.overlap:
        raise BadInput(
            f"predictor.tile: found {list(p.tile)}, expected at least {p.overlap}, the overlap of "
            "blending; use a larger tile or a smaller overlap"
        )
