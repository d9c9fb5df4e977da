"""What a run will need, before it runs: blocks, tasks, memory, disk."""

import shutil
from dataclasses import dataclass
from math import prod
from pathlib import Path

import psutil

from cellflow.config import Config, Stages
from cellflow.core.errors import BadInput
from cellflow.engine.formats import open_volume
from cellflow.engine.store import Demand, Fitted
from cellflow.stages import (
    affinities,
    clean,
    graph,
    ingest,
    normalise,
    nuclei,
    partition,
    phantom,
    predict,
    reconcile,
    report,
    scores,
    segment,
    supervoxels,
)

WORKER_BASE = 230 << 20
"""A worker with its libraries, doing nothing."""
MAIN_BASE = 260 << 20
"""A stage's own process: libraries, and the Dask scheduler."""
VOXELS_PER_NODE = 250
"""Supervoxels are taken to hold at least this many voxels on average; the graph's size follows."""
EDGES_PER_NODE = 8


@dataclass(frozen=True)
class Row:
    """One stage of one sample."""

    sample: str
    stage: str
    blocks: int
    demand: Demand

    @property
    def worker_bytes(self) -> int:
        """Peak of one worker in a process of its own."""
        return WORKER_BASE + self.demand.worker_bytes if self.demand.tasks else 0

    def bytes_with(self, workers: int) -> int:
        """Peak of the stage, several workers taken to be a process each; a single one is the stage's own."""
        count = min(workers, self.demand.tasks, self.demand.most_workers or workers)
        main = MAIN_BASE + self.demand.main_bytes
        return main + self.demand.worker_bytes if count <= 1 else main + count * self.worker_bytes


def planned(config: Config) -> list[Row]:
    """Every stage of every sample, in the order of the pipeline."""
    return [
        Row(sample, stage, config.blocks(sample), demand)
        for sample in config.samples
        for stage, demand in _demands(config, sample).items()
    ]


def lines(rows: list[Row], workers: int) -> list[str]:
    """The plan as a table."""
    head = (
        f"{'sample':<16}{'stage':<18}{'blocks':>8}{'tasks':>8}"
        f"{'MB/worker':>11}{'MB in all':>11}{'disk MB':>10}"
    )
    body = [
        f"{r.sample:<16}{r.stage:<18}{r.blocks:>8}{r.demand.tasks:>8}{_mb(r.worker_bytes):>11}"
        f"{_mb(r.bytes_with(workers)):>11}{_mb(r.demand.disk_bytes):>10}"
        for r in rows
    ]
    peak, disk = at_once(rows, workers), sum(r.demand.disk_bytes for r in rows)
    tail = (
        f"{workers} workers: at most {_mb(peak)} MB of memory at once, {_mb(disk)} MB of disk before "
        f"compression; the graph is taken to have a supervoxel for every {VOXELS_PER_NODE} voxels"
    )
    return [head, *body, tail]


def at_once(rows: list[Row], workers: int) -> int:
    """Peak of what may run side by side: one stage with all workers, or a stage each of several samples."""
    alone = {r.sample: 0 for r in rows}
    for r in rows:
        alone[r.sample] = max(alone[r.sample], r.bytes_with(1))
    beside = sorted(alone.values(), reverse=True)[: max(1, workers)]
    return max(*(r.bytes_with(workers) for r in rows), sum(beside))


def check(rows: list[Row], config: Config, workers: int) -> None:
    """Raises `BadInput` for what this machine cannot hold."""
    worst = max(rows, key=lambda r: r.bytes_with(workers))
    need, have = at_once(rows, workers), psutil.virtual_memory().available
    if need > have:
        raise BadInput(
            f"{len(config.samples)} sample(s) need {_mb(need)} MB with {workers} workers (most in stage "
            f"{worst.stage} of {worst.sample}), found "
            f"{_mb(have)} MB of free memory; use fewer workers (--cores) or a smaller storage.block than "
            f"{config.storage.block}"
        )
    results = Path(config.results)
    place = next(p for p in (results, *results.absolute().parents) if p.exists())
    need, have = sum(r.demand.disk_bytes for r in rows) // 4, shutil.disk_usage(place).free
    if need > have:
        raise BadInput(
            f"results {results}: needs about {_mb(need)} MB of disk after compression, found {_mb(have)} MB "
            "free; free some space or put results elsewhere"
        )


def check_devices(config: Config) -> None:
    """Raises `BadInput` if a network is still to predict on a GPU that this machine has not."""
    for sample in config.samples:
        for stage, p in (
            ("predict", config.stages.predict),
            ("predict-nuclei_raw", config.stages.predict_nuclei),
        ):
            if stage in config.chain(sample) and not (config.folder(sample) / f"{stage}.json").exists():
                predict.check_device(p)


def _demands(config: Config, sample: str) -> dict[str, Demand]:
    like = config.storage.fitted(config.shape(sample))
    voxel = _voxel_um(config, sample)
    nodes = prod(like.shape) // VOXELS_PER_NODE + 1
    edges = nodes * EDGES_PER_NODE
    stages, roles = config.stages, config.sources(sample)
    found = {"phantom": phantom.demand(like)} if config.samples[sample].phantom else {}
    found |= {f"ingest-{role}": ingest.demand(like, _dtype(config, sample, role)) for role in roles}
    given = config.samples[sample].affinities
    offsets = config.offsets(sample)
    if given:
        found["affinities"] = affinities.demand(like, open_volume(given).dtype, offsets)
    elif "boundaries" not in roles:
        raw = _dtype(config, sample, "raw")
        found["normalise"] = normalise.demand(like, raw)
        found["predict"] = predict.demand(like, raw, stages.predict, voxel)
    if "nuclei_raw" in roles:
        stained = _dtype(config, sample, "nuclei_raw")
        found["normalise-nuclei_raw"] = normalise.demand(like, stained)
        found["predict-nuclei_raw"] = predict.demand(like, stained, stages.predict_nuclei, voxel)
    found["supervoxels"] = supervoxels.demand(like, stages.supervoxels, voxel)
    source = config.nuclei_from(sample)
    if source:
        found["nuclei"] = nuclei.demand(like, probability=source != "ingest-nuclei")
    found["graph"] = graph.demand(like, offsets)
    return found | _later(like, nodes, edges, stages, nucleated=source is not None)


def _later(like: Fitted, nodes: int, edges: int, stages: Stages, *, nucleated: bool) -> dict[str, Demand]:
    return {
        "partition": partition.demand(nodes, edges, stages.partition, nucleated=nucleated),
        **({"reconcile": reconcile.demand(nodes, edges)} if nucleated else {}),
        "clean": clean.demand(nodes, edges),
        "segment": segment.demand(like, nodes),
        "scores": scores.demand(like, nodes),
        "report": report.demand(nodes),
    }


def _dtype(config: Config, sample: str, role: str) -> str:
    if config.samples[sample].phantom:
        return phantom.VOLUMES[role][0]
    return str(open_volume(config.sources(sample)[role]).dtype)


def _voxel_um(config: Config, sample: str) -> tuple[float, float, float]:
    chosen = config.samples[sample].phantom
    size = chosen.voxel_size_um if chosen else open_volume(config.sources(sample)["raw"]).voxel_size_um
    return size or (1.0, 1.0, 1.0)


def _mb(count: int) -> int:
    return round(count / (1 << 20))
