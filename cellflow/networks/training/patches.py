"""Patches for training, cut out of volumes of any size: only what a patch needs is ever read.

Sample `(epoch, index)` is a function of the seed and of these two numbers: where it lies, how it is
augmented. So it is the same whoever makes it, in whatever order, before or after a restart.

    |----------- volume ----------|
         |mm|ppppppp|mm|            m: margin, read for the targets and lost to augmentation's edges
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellflow.core.errors import BadInput
from cellflow.core.grid import Box, Triple
from cellflow.core.schema import Schema, Shape3, Voxel3
from cellflow.networks.heads import Head
from cellflow.networks.training.augmentation import Augmentation
from cellflow.networks.training.labels import Labels, patch_labels
from cellflow.networks.training.targets import Target, margin

TRIES = 1000
"""Places looked at for one sample before the last one is taken as it is."""


class Patches(Schema):
    """What a network is shown at once, and which places of the volumes it sees."""

    shape: Shape3 = (80, 100, 100)
    """Voxels along z, y, x, multiples of what the network's poolings join. Larger: more context, memory."""
    batch: int = Field(4, ge=1)
    """Patches in one step. With BatchNorm several; more need more memory."""
    per_epoch: int = Field(1000, ge=1)
    """Patches from one validation to the next."""
    least_labelled: float = Field(0.6, ge=0, le=1)
    """A place counts if this share of it has a label: neither background nor ignored."""
    accept_other: float = Field(0.01, ge=0, le=1)
    """Chance to take a place that does not count all the same."""


class Readable(Protocol):
    """A volume (z, y, x) that is read box by box."""

    @property
    def shape(self) -> Triple: ...
    def read(self, box: Box) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Labelled:
    """One volume to learn from, and all that a patch of it needs."""

    raw: Readable
    labels: Mapping[str, Readable]
    """`truth`, and `nuclei` where there are some."""
    ignore: int | None
    """Label of voxels of which nothing is known."""
    offset: float
    scale: float
    """A network sees (raw - offset) / scale: statistics of the whole volume."""
    pitch: Voxel3
    """Voxel size along z, y, x in units of the finest."""
    other: int | None = None
    """Label of all cells of which only the border is known."""

    def image(self, box: Box) -> NDArray[np.float32]:
        """The normalised intensities of a box, mirrored where it leaves the volume."""
        values = self._around(self.raw, box).astype(np.float32)
        return (values - np.float32(self.offset)) / np.float32(self.scale)

    def labelled(self, box: Box) -> dict[str, Labels]:
        """The labels of a box by name, mirrored where it leaves the volume."""
        return {
            name: patch_labels(self._around(volume, box), self.ignore, self.other)
            for name, volume in self.labels.items()
        }

    def _around(self, volume: Readable, box: Box) -> NDArray[Any]:
        z, y, x = (slice(max(0, s.start), min(n, s.stop)) for s, n in zip(box, volume.shape, strict=True))
        beyond = [(i.start - s.start, s.stop - i.stop) for s, i in zip(box, (z, y, x), strict=True)]
        found = volume.read((z, y, x))
        return np.pad(found, beyond, mode="symmetric") if np.any(beyond) else found


class Sample(NamedTuple):
    """What goes into a step; all float32, masks as 0 and 1."""

    image: NDArray[np.float32]
    """(1, z, y, x)."""
    maps: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    """Values and masks (c, z, y, x) of each target, in their order."""


@dataclass(frozen=True)
class Samples:
    """All samples of a training, by (epoch, index). Pickles small: processes may share the work."""

    volumes: Sequence[Labelled]
    patches: Patches
    targets: tuple[Target, ...]
    heads: tuple[Head, ...]
    """The head of each target."""
    augmentation: Augmentation
    seed: int

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Place, read, augment, make targets, crop."""
        rng = np.random.default_rng([self.seed, *key])
        chosen, outer, around = self._place(rng)
        volume = self.volumes[chosen]
        labels = volume.labelled(outer)
        image, labels = self.augmentation.move(volume.image(outer), labels, volume.pitch, rng)
        inner = _inside(image.shape, around)
        image = self.augmentation.shade(image[inner], volume.pitch, rng)
        return Sample(image[None], made(self.targets, self.heads, labels, volume.pitch, around))

    def _place(self, rng: np.random.Generator) -> tuple[int, Box, Triple]:
        """A volume, drawn by its size, and a box in it with its margin."""
        shape = self.patches.shape
        sizes = np.array([np.prod(v.raw.shape, dtype=float) for v in self.volumes])
        for _ in range(TRIES):
            chosen = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
            volume = self.volumes[chosen]
            corner = [int(rng.integers(0, n - m + 1)) for n, m in zip(volume.raw.shape, shape, strict=True)]
            if self._counts(volume, _box(corner, shape)) or rng.random() < self.patches.accept_other:
                break
        around = margin(self.targets, volume.pitch, flat=shape[0] == 1)
        z, y, x = (slice(c - m, c + n + m) for c, n, m in zip(corner, shape, around, strict=True))
        return chosen, (z, y, x), around

    def _counts(self, volume: Labelled, box: Box) -> bool:
        least = self.patches.least_labelled
        if not least:
            return True
        name = "truth" if "truth" in volume.labels else "nuclei"
        found = volume.labels[name].read(box)
        unknown = [label for label in (0, volume.ignore, volume.other) if label is not None]
        return bool(np.isin(found, unknown, invert=True).mean() >= least)


def made(
    targets: tuple[Target, ...],
    heads: tuple[Head, ...],
    labels: Mapping[str, Labels],
    pitch: Voxel3,
    around: Triple,
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]:
    """Values and masks of every target; `labels` reach `around` beyond the patch."""
    found = []
    flat = around[0] == 0
    for target, head in zip(targets, heads, strict=True):
        own = margin((target,), pitch, flat=flat)
        cut = (around[0] - own[0], around[1] - own[1], around[2] - own[2])
        near = {name: np.ascontiguousarray(v[_inside(v.shape, cut)]) for name, v in labels.items()}
        values, known = target.maps(near, pitch, head)
        inner = (slice(None), *_inside(values.shape[1:], own))
        found.append((np.ascontiguousarray(values[inner]), known[inner].astype(np.float32)))
    return tuple(found)


def check(samples: Samples, pooling: Triple) -> None:
    """Raise `BadInput` for patches that the network or a volume cannot hold."""
    shape = samples.patches.shape
    for axis, n, pool in zip("zyx", shape, pooling, strict=True):
        if n % pool:
            raise BadInput(
                f"training.patches.shape along {axis}: found {n}, expected a multiple of {pool}, which the "
                f"network's poolings join; use {-(-n // pool) * pool}"
            )
    for volume in samples.volumes:
        if any(n > m for n, m in zip(shape, volume.raw.shape, strict=True)):
            raise BadInput(
                f"training.patches.shape: found {shape}, expected at most {volume.raw.shape}, the shape of a "
                "volume; use smaller patches, or leave the volume out"
            )


def _box(corner: Sequence[int], shape: Triple) -> Box:
    z, y, x = (slice(c, c + n) for c, n in zip(corner, shape, strict=True))
    return z, y, x


def _inside(shape: tuple[int, ...], around: Triple) -> Box:
    """What is left of a box without its margin."""
    z, y, x = (slice(m, n - m) for n, m in zip(shape, around, strict=True))
    return z, y, x
