"""What several rooms of the tests share: a Dask cluster, a small tissue, a sample to run stages on."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import h5py
import numpy as np
import pytest
from hypothesis import settings

from cellflow.core.phantom import Phantom, phantom_block
from cellflow.core.schema import Schema
from cellflow.engine import stage as stage_engine
from cellflow.engine import store
from cellflow.engine.cluster import Crew, executor
from cellflow.engine.formats import Source
from cellflow.engine.stage import Job, execute, volume_path
from cellflow.engine.store import Storage
from cellflow.stages import (
    clean,
    graph,
    ingest,
    normalise,
    partition,
    predict,
    report,
    scores,
    segment,
    supervoxels,
)

# No deadline: kernels compile at their first call.
settings.register_profile(
    "cellflow", deadline=None, max_examples=60, derandomize=True
)  # kernels compile at first
settings.load_profile("cellflow")


def pytest_collection_modifyitems(items):
    """What runs whole workflows comes first: it takes longest, and at the end one core would wait."""
    items.sort(key=lambda item: item.path.name != "test_workflow.py")


MODULES: dict[str, ModuleType] = {
    m.__name__.rsplit(".", 1)[1]: m
    for m in (normalise, predict, supervoxels, graph, partition, clean, segment, scores, report)
}
AFTER = {
    "normalise": ("ingest-raw",),
    "predict": ("normalise",),
    "supervoxels": ("ingest-boundaries",),
    "graph": ("supervoxels",),
    "partition": ("graph",),
    "clean": ("partition",),
    "segment": ("clean",),
    "scores": ("segment", "ingest-truth"),
    "report": ("segment",),
}
VOXEL_UM = (0.5, 0.25, 0.25)
SHAPE = (20, 40, 48)
CUT = supervoxels.Params(sigma_seeds=1, min_size=8, max_distance=6)


@dataclass
class Sample:
    """One specimen in a folder of its own, and how its stages are run."""

    folder: Path
    volumes: dict[str, np.ndarray]
    storage: Storage
    params: dict[str, Schema] = field(default_factory=lambda: {"supervoxels": CUT})
    workers: int = 1

    def job(self, name: str) -> Job:
        if name.startswith("ingest-"):
            return self._ingest(name)
        after = AFTER[name]
        if name == "supervoxels" and "mask" in self.volumes:
            after = (*after, "ingest-mask")
        if name == "supervoxels" and "boundaries" not in self.volumes:
            after = ("predict",)
        p, private = self.params.get(name) or MODULES[name].Params(), getattr(MODULES[name], "PRIVATE", ())
        return Job(name, self.folder, p, self.storage, after, private=private)

    def run(self, *names: str) -> dict[str, dict]:
        """The receipts of these stages."""
        return {
            name: execute(MODULES.get(name, ingest), self.job(name), self.workers)
            for name in names or self.chain()
        }

    def chain(self) -> list[str]:
        found = [f"ingest-{role}" for role in self.volumes]
        found += [] if "boundaries" in self.volumes else ["normalise", "predict"]
        found += ["supervoxels", "graph", "partition", "clean", "segment"]
        return [*found, *(["scores"] if "truth" in self.volumes else []), "report"]

    def read(self, name: str, level: int = 0) -> np.ndarray:
        return np.asarray(store.open_read(volume_path(self.folder, name) / str(level))[:])

    def give_supervoxels(self, labels: np.ndarray) -> None:
        """Stand in for the stage of this name, so that later ones see these labels whatever the blocks."""

        def run(context, p):
            target = context.create("supervoxels", context.fitted(), np.uint64, "labels")
            for block in context.fitted().grid():
                target.write(block.core, labels[block.core])
            context.pyramid("supervoxels")
            return {"supervoxels": int(labels.max())}

        job = Job("supervoxels", self.folder, Schema(), self.storage, ("ingest-raw",))
        execute(SimpleNamespace(run=run), job, 1)

    def _ingest(self, name: str) -> Job:
        role = name.removeprefix("ingest-")
        path = self.folder.parent / f"{self.folder.name}-{role}.h5"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file["data"] = self.volumes[role]
        source = Source(path=str(path), dataset="data", voxel_size_um=VOXEL_UM)
        after = ("ingest-raw",) if role != "raw" and "raw" in self.volumes else ()
        p = ingest.Params(role=role, source=source)
        return Job(name, self.folder, p, self.storage, after, private=ingest.PRIVATE, stamp=ingest.stamp(p))


def cut(block: int | tuple[int, int, int] = 16, chunk: int = 8) -> Storage:
    """Storage for small volumes."""
    return Storage(block=(block,) * 3 if isinstance(block, int) else block, chunk=(chunk,) * 3)


@cache
def tissue(shape: tuple[int, int, int] = SHAPE) -> dict[str, np.ndarray]:
    """Raw, boundaries and truth of a small synthetic tissue."""
    p = Phantom(shape=shape, voxel_size_um=VOXEL_UM, cell_um=4.0, tissue=1.0, seed=1)
    z, y, x = (slice(0, n) for n in shape)
    made = phantom_block(p, (z, y, x))
    return {"raw": made.raw, "boundaries": made.boundaries, "truth": made.labels}


@pytest.fixture
def sample(tmp_path):
    """Makes samples: `sample("name", volumes, storage)`."""

    def make(name="root", volumes=None, storage=None, **more) -> Sample:
        return Sample(tmp_path / name, volumes or tissue(), storage or cut(), **more)

    return make


@pytest.fixture(scope="session")
def dask_pool():
    """Two Dask workers for the whole session: a start takes seconds."""
    with executor(Crew(2)) as pool:
        yield pool


@pytest.fixture
def on_dask(dask_pool, monkeypatch):
    """Stages run their blocks on the shared cluster."""

    @contextmanager
    def shared(crew, module):
        yield dask_pool

    monkeypatch.setattr(stage_engine, "executor", shared)


@pytest.fixture
def rng():
    return np.random.default_rng(7)
