"""Small volumes in memory, and trainings of a second."""

from functools import cache
from pathlib import Path

from cellflow.core.phantom import Phantom, phantom_block
from cellflow.engine import atomic
from cellflow.networks.architecture import Architecture
from cellflow.networks.field import pooling
from cellflow.networks.training.augmentation import Augmentation
from cellflow.networks.training.fit import Desk
from cellflow.networks.training.patches import Labelled, Patches, Samples
from cellflow.networks.training.schedule import Cosine, Optimiser
from cellflow.networks.training.spec import Learning, fit
from cellflow.networks.training.task import Check, Task
from cellflow.networks.training.validation import window

SHAPE = (16, 40, 40)
PITCH = (2.0, 1.0, 1.0)


class Held:
    """A volume in memory that remembers which boxes were read."""

    def __init__(self, values):
        self.values, self.shape, self.boxes = values, values.shape, []

    def read(self, box):
        self.boxes.append(box)
        assert all(0 <= s.start < s.stop <= n for s, n in zip(box, self.shape, strict=True))
        return self.values[box]


@cache
def tissue(seed=0, shape=SHAPE):
    p = Phantom(shape=shape, cell_um=4, tissue=1.0, seed=seed)
    z, y, x = (slice(0, n) for n in shape)
    made = phantom_block(p, (z, y, x))
    return {"raw": made.raw, "truth": made.labels, "nuclei": made.nuclei}


def volume(seed=0, *, ignore=None, **other):
    """A labelled phantom; `other` replaces its arrays."""
    arrays = {**tissue(seed), **other}
    raw = arrays.pop("raw")
    labels = {name: Held(values) for name, values in arrays.items()}
    return Labelled(Held(raw), labels, ignore, float(raw.mean()), float(raw.std()), PITCH)


def learning(**more):
    given = {
        "architecture": Architecture(f_maps=4, num_levels=2),
        "patches": Patches(shape=(8, 16, 16), batch=2, per_epoch=12),
        "optimiser": Optimiser(learning_rate=0.01, schedule=Cosine()),
        "epochs": 6,
        "device": "cpu",
    }
    return Learning(**{**given, **more})


def task(p, volumes=None, check=None):
    a = p.architecture
    checked = check or volume(9)
    shape = window(checked.raw.shape, p.validation.window, pooling(a))
    samples = Samples(
        volumes or (volume(1),), p.patches, p.targets, fit(a, p.targets), p.augmentation, p.seed
    )
    return Task(p, a, samples, (Check(checked, shape),))


def desk(folder: Path, on_step=lambda _: None, epochs=None):
    def on_epoch(rows, verdict):
        if epochs is not None:
            epochs[:] = rows

    return Desk(folder, folder / "state.pytorch", atomic.write, on_step, on_epoch)


PLAIN = Augmentation(
    flips=0, turns=0, rotation={"probability": 0}, elastic={"probability": 0}, intensity={"probability": 0},
    blur={"probability": 0}, gaussian_noise={"probability": 0}, poisson_noise={"probability": 0},
)  # fmt: skip
"""Nothing is done to patches."""
