"""OME-Zarr 0.5 metadata of a sample.

One group per sample::

    <sample>.ome.zarr/            image: raw (its datasets are raw/0, raw/1, ...)
        raw/        0 1 2 ...     image
        boundaries/ 0 1 2 ...     image, uint8 probability * 255
        labels/
            cells/  0 1 2 ...     label image, 0 = background
            supervoxels/ truth/   label images
"""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import zarr

from cellflow.engine import store
from cellflow.engine.atomic import write_json
from cellflow.engine.pyramid import Level


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
