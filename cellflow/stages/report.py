"""One self-contained HTML page a sample: pictures, scores, sizes, costs, parameters, versions."""

import json
import platform
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import cellflow
from cellflow.core.grid import Box
from cellflow.core.pictures import grey_png, overlay_png
from cellflow.core.report_page import (
    InputFacts,
    Page,
    Picture,
    StageCost,
    StageSettings,
    render,
    seams,
    size_histogram,
)
from cellflow.core.schema import Schema
from cellflow.core.segments import segment_sizes
from cellflow.engine.atomic import write
from cellflow.engine.stage import Context, Voxel, is_current, read_receipt
from cellflow.engine.store import Array, Demand
from cellflow.engine.tables import load_columns

PLANES = {"xy": 0, "xz": 1, "yz": 2}
LIBRARIES = ("numpy", "numba", "scipy", "torch", "zarr", "dask", "snakemake")
ORDER = (
    *("phantom", "ingest-raw", "ingest-boundaries", "ingest-truth", "ingest-mask", "ingest-nuclei"),
    *("ingest-nuclei_probability", "ingest-nuclei_raw", "normalise", "predict", "affinities"),
    *("normalise-nuclei_raw", "predict-nuclei_raw", "supervoxels", "nuclei", "graph", "partition"),
    *("reconcile", "clean", "segment", "scores"),
)


class Params(Schema):
    """What the page shows."""

    window: int = Field(512, ge=64, le=4096)
    """Pictures show at most this many voxels a side, around the middle of the volume."""
    position: float = Field(0.5, ge=0, le=1)
    """Where along each axis the slices lie: 0.5 is the middle."""


def demand(nodes: int) -> Demand:
    """A few slices, and the sizes of the cells."""
    return Demand(tasks=0, main_bytes=(200 << 20) + nodes * 40)


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `report.html`; the result says how many cells it speaks of."""
    done = [stage for stage in ORDER if is_current(context.job.folder, stage)]
    receipts = {stage: read_receipt(context.job.folder, stage) for stage in done}
    sizes = _cell_sizes(context)
    scores = receipts["scores"]["result"]
    voxel = context.voxel_um()
    known = receipts["ingest-raw"]["result"]["voxel_size_known"]
    unit, per_voxel = ("µm³", float(np.prod(voxel))) if known else ("voxels", 1.0)
    page = Page(
        sample=context.job.folder.name,
        cells_found=len(sizes),
        input=_input(receipts["ingest-raw"]["result"], voxel if known else None),
        scores=scores if "cells_true" in scores else None,
        seams=seams(scores["seam_excess"], scores["seam_noise"]),
        sizes=size_histogram(sizes * per_voxel, unit),
        pictures=tuple(_pictures(context, p, voxel)),
        stages=tuple(_cost(context.job.folder, stage) for stage in done),
        settings=tuple(_settings(stage, receipts[stage]["params"]) for stage in done if "-" not in stage),
        versions=_versions(),
        warnings=tuple(_warnings(receipts, known=known, cells=len(sizes))),
    )
    html = render(page).encode()
    write(context.job.folder / "report.html", lambda file: file.write(html))
    return {"cells": len(sizes)}


def _cell_sizes(context: Context) -> NDArray[np.int64]:
    table, ranges = context.file("graph", "table"), context.result("graph")["ranges"]
    size = load_columns(table, "nodes", ["size"], range(ranges))["size"]
    cells = np.load(context.file("clean", "cells.npy"), allow_pickle=False)[1:].astype(np.int64)
    return segment_sizes(cells, size)[1:]


def _input(raw: dict[str, Any], voxel: Voxel | None) -> InputFacts:
    z, y, x = raw["shape"]
    return InputFacts(source=raw["role"], shape=(z, y, x), voxel_size_um=voxel, dtype=raw["dtype"])


def _pictures(context: Context, p: Params, voxel: Voxel) -> list[Picture]:
    shape = context.volume("raw").shape
    found = []
    for plane, axis in PLANES.items():
        if shape[axis] == 1 or min(n for a, n in enumerate(shape) if a != axis) > 1:
            found += _row(context, voxel, plane, _window(shape, axis, p))
    return found


def _row(context: Context, voxel: Voxel, plane: str, box: Box) -> list[Picture]:
    axis = PLANES[plane]
    pixel = (voxel[0 if axis else 1], voxel[1 if axis == 2 else 2])
    raw = _grey(_slice(context.volume("raw"), box, axis))
    boundaries = _slice(context.volume("boundaries"), box, axis).astype(np.uint8)
    labels = {name: _slice(context.volume(name), box, axis) for name in ("supervoxels", "cells")}
    shown = [
        ("raw", grey_png(raw, pixel)),
        ("boundaries", grey_png(boundaries, pixel)),
        ("supervoxels", overlay_png(raw, labels["supervoxels"], pixel, alpha=0.0)),
        ("cells", overlay_png(raw, labels["cells"], pixel)),
    ]
    if "ingest-truth" in read_receipt(context.job.folder, "scores")["inputs"]:
        shown.append(("truth", overlay_png(raw, _slice(context.volume("truth"), box, axis), pixel)))
    if "reconcile" in read_receipt(context.job.folder, "clean")["inputs"]:
        shown.append(("nuclei", overlay_png(raw, _slice(context.volume("nuclei"), box, axis), pixel)))
    at = f"{'zyx'[axis]} = {box[axis].start} of {context.volume('raw').shape[axis]}"
    return [Picture(plane=plane, title=title, png=png, caption=at) for title, png in shown]


def _window(shape: tuple[int, ...], axis: int, p: Params) -> Box:
    """One slice across `axis`, and as much of the other axes as fits the window."""
    slices = []
    for a, n in enumerate(shape):
        side = 1 if a == axis else min(p.window, n)
        middle = int(p.position * (n - 1)) if a == axis else n // 2
        start = min(max(middle - side // 2, 0), n - side)
        slices.append(slice(start, start + side))
    z, y, x = slices
    return z, y, x


def _slice(volume: Array, box: Box, axis: int) -> NDArray[Any]:
    return np.asarray(volume[box]).squeeze(axis)


def _grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretched between the 1st and 99.8th percentile of the slice, for the eye only."""
    low, high = np.percentile(image, [1, 99.8])
    stretched = (image.astype(np.float64) - low) / max(high - low, 1e-12)
    grey: NDArray[np.uint8] = np.rint(np.clip(stretched, 0, 1) * 255).astype(np.uint8)
    return grey


def _cost(folder: Path, stage: str) -> StageCost:
    usage = json.loads((folder / "usage" / f"{stage}.json").read_text())
    return StageCost(
        name=stage,
        seconds=usage["seconds"],
        blocks=usage["tasks"],
        worker_bytes=max(usage["worker_peak_mb"], usage["main_peak_mb"] if not usage["tasks"] else 0) << 20,
        disk_bytes=usage["disk_bytes"],
    )


def _settings(stage: str, values: dict[str, Any]) -> StageSettings:
    """Of affinities, offsets are required: they have no default, and `model_construct` asks for none."""
    defaults = import_module(f"cellflow.stages.{stage}").Params.model_construct().model_dump(mode="json")
    return StageSettings(name=stage, values=values, defaults=defaults)


def _versions() -> dict[str, str]:
    libraries = {name: metadata.version(name) for name in LIBRARIES}
    return {"cellflow": cellflow.__version__, "python": platform.python_version(), **libraries}


def _warnings(receipts: dict[str, dict[str, Any]], *, known: bool, cells: int) -> list[str]:
    found = []
    if not known:
        found.append("The file does not give a voxel size: voxels were taken for cubes. Add voxel_size_um.")
    if "predict" in receipts:
        found += [f"Prediction: {line}." for line in receipts["predict"]["result"].get("warnings", [])]
    if cells == 0:
        found.append(
            "No cell was found. Look at the boundary map, then at threshold, min_size and background."
        )
    dropped = receipts["partition"]["result"]["segments"] - receipts["clean"]["result"]["cells"]
    if dropped > max(10, 0.9 * receipts["partition"]["result"]["segments"]):
        found.append(f"{dropped} segments were removed or joined after the partition: is min_size too large?")
    return [*found, *_lost_nuclei(receipts)]


def _lost_nuclei(receipts: dict[str, dict[str, Any]]) -> list[str]:
    if "reconcile" not in receipts["clean"]["inputs"]:
        return []
    lost, nuclei = (receipts["nuclei"]["result"][name] for name in ("lost", "nuclei"))
    if lost <= max(2, 0.02 * nuclei):
        return []
    remedy = "Make supervoxels smaller: lower sigma_seeds or threshold."
    return [f"{lost} of {nuclei} nuclei share a supervoxel with another one: they have no cell. {remedy}"]
