"""OME-Zarr 0.5 metadata and the pyramids below it.

One group per sample::

    <sample>.ome.zarr/            image: raw (its datasets are raw/0, raw/1, ...)
        raw/        0 1 2 ...     image
        boundaries/ 0 1 2 ...     image, uint8 probability * 255
        labels/
            cells/  0 1 2 ...     label image, 0 = background
            supervoxels/ truth/   label images
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from cellflow.core.downsample import mean, mode
from cellflow.core.grid import Block, Box, Triple
from cellflow.engine import store
from cellflow.engine.atomic import write_json

SMALLEST_LEVEL = 128
"""A pyramid ends when a level fits a cube of this edge."""


@dataclass(frozen=True)
class Level:
    """One level of a pyramid: its shape, and how many voxels of level 0 lie along z, y, x of one voxel."""

    shape: Triple
    factor: Triple


def levels(shape: Triple, voxel_um: tuple[float, float, float]) -> list[Level]:
    """The levels of a pyramid, full size first: halve the axes that are finest, until it is small.

    An axis joins the halving once its voxels are no coarser than the finest axis' next ones, so that
    voxels become cubes and stay so.
    """
    found = [Level(shape, (1, 1, 1))]
    while max(found[-1].shape) > SMALLEST_LEVEL:
        size = [v * f for v, f in zip(voxel_um, found[-1].factor, strict=True)]
        halve = [s < 1.5 * min(size) and n > 1 for s, n in zip(size, found[-1].shape, strict=True)]
        if not any(halve):
            halve = [n > 1 for n in found[-1].shape]
        step = [2 if h else 1 for h in halve]
        z, y, x = (-(-n // k) for n, k in zip(found[-1].shape, step, strict=True))
        fz, fy, fx = (f * k for f, k in zip(found[-1].factor, step, strict=True))
        found.append(Level((z, y, x), (fz, fy, fx)))
    return found


def downsample_task(
    block: Block, finer: store.Array, coarser: store.Array, step: Triple, kind: store.Kind
) -> dict[str, Any]:
    """Write one block of a coarser level, a chunk at a time: memory follows the chunk."""
    out = np.zeros([s.stop - s.start for s in block.core], coarser.dtype)
    for piece in store.Fitted(out.shape, coarser.chunks, coarser.chunks, coarser.chunks).grid():
        source = _box(
            slice((c.start + p.start) * k, min((c.start + p.stop) * k, n))
            for c, p, k, n in zip(block.core, piece.core, step, finer.shape, strict=True)
        )
        values = np.asarray(finer[source])
        out[piece.core] = mode(values, step) if kind == "labels" else mean(values, step)
    return {"crc": store.write_block(coarser, block.core, out)}


def _box(slices: Any) -> Box:  # noqa: ANN401 - any iterable of three slices
    z, y, x = slices
    return z, y, x


def multiscales(name: str, voxel_um: tuple[float, float, float], pyramid: Sequence[Level]) -> dict[str, Any]:
    """The `multiscales` entry of an image whose datasets are `name`/0, 1, … (or 0, 1, … for "")."""
    prefix = f"{name}/" if name else ""
    return {
        "name": name or "image",
        "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"],
        "datasets": [
            {
                "path": f"{prefix}{i}",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [v * f for v, f in zip(voxel_um, level.factor, strict=True)]},
                    # The centre of the first voxel of a coarser level lies inside the finer grid.
                    {
                        "type": "translation",
                        "translation": [v * (f - 1) / 2 for v, f in zip(voxel_um, level.factor, strict=True)],
                    },
                ],
            }
            for i, level in enumerate(pyramid)
        ],
        "type": "mean" if prod(pyramid[-1].factor) > 1 else "none",
    }


def write_group(path: Path, ome: dict[str, Any]) -> None:
    """A Zarr v3 group whose attributes are the OME metadata."""
    content = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **ome}}}
    write_json(path / "zarr.json", content)


def write_image(
    path: Path, kind: store.Kind, voxel_um: tuple[float, float, float], pyramid: Sequence[Level]
) -> None:
    """The metadata of an image, or of a label image, at `path`."""
    entry = multiscales("", voxel_um, pyramid)
    if kind == "labels":
        entry["type"] = "mode" if len(pyramid) > 1 else "none"
    entry["name"] = path.name
    ome: dict[str, Any] = {"multiscales": [entry]}
    if kind == "labels":
        ome["image-label"] = {"source": {"image": "../../"}}
    write_group(path, ome)


def write_root(root: Path) -> None:
    """Bring the metadata of the sample's group up to what lies inside it: idempotent, for any stage."""
    entry: dict[str, Any] = {}
    if (root / "raw" / "zarr.json").exists():
        raw: Any = zarr.open_group(str(root / "raw"), mode="r").attrs["ome"]
        image = raw["multiscales"][0]
        datasets = [dict(d, path=f"raw/{d['path']}") for d in image["datasets"]]
        entry = {"multiscales": [dict(image, datasets=datasets)]}
    write_group(root, entry)
    found = sorted(p.parent.name for p in (root / "labels").glob("*/zarr.json"))
    if found:
        write_group(root / "labels", {"labels": found})
