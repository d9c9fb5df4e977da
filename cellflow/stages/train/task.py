"""What the loop of a training is given, put together from the config and the prepared volumes."""

from dataclasses import dataclass
from pathlib import Path

from cellflow.core.errors import BadInput
from cellflow.networks.field import pooling
from cellflow.networks.training.begin import Beginning
from cellflow.networks.training.patches import Samples, check
from cellflow.networks.training.spec import fit
from cellflow.networks.training.task import Check, Task
from cellflow.networks.training.validation import window
from cellflow.stages.train.params import Params
from cellflow.stages.train.volumes import labelled, voxel_size_um

Voxel = tuple[float, float, float]


@dataclass(frozen=True)
class Prepared:
    """A task, and the voxel size that its network will be for."""

    task: Task
    voxel_um: Voxel | None


def task_of(p: Params, start: Beginning, scratch: Path) -> Prepared:
    """The same in every process. Raises `BadInput` where patches, volumes and network do not fit."""
    joined = pooling(start.architecture)
    samples = Samples(
        labelled(p, "train", scratch),
        p.patches,
        p.targets,
        fit(start.architecture, p.targets),
        p.augmentation,
        p.seed,
    )
    check(samples, joined)
    task = Task(p, start.architecture, samples, tuple(_checks(p, joined, scratch)), start.weights)
    return Prepared(task, voxel_size_um(p, scratch))


def _checks(p: Params, joined: tuple[int, int, int], scratch: Path) -> list[Check]:
    z, y, x = p.validation.window
    largest = (1 if p.patches.shape[0] == 1 else z, y, x)
    found = []
    for volume in labelled(p, "check", scratch):
        box = window(volume.raw.shape, largest, joined)
        if any(s.stop == s.start for s in box):
            raise BadInput(
                f"training.validation.window: found {largest} in a volume of {volume.raw.shape}, expected at "
                f"least {joined}, which the network's poolings join; enlarge it or use another volume"
            )
        found.append(Check(volume, box))
    return found
