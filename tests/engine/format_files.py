"""Small real files of every format that the reader knows."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from cellflow.core.errors import BadInput
from cellflow.engine.formats import Source, open_volume

SHAPE = (7, 30, 41)
WHOLE = (slice(0, 7), slice(0, 30), slice(0, 41))
BOX = (slice(2, 6), slice(5, 23), slice(11, 40))
VOLUME = np.random.default_rng(0).integers(0, 60000, SHAPE).astype("u2")


def opened(path, **more):
    return open_volume(Source(path=str(path), **more))


def bad_input(path, **more):
    """The message of the BadInput that opening raises; it is one line and names the file."""
    with pytest.raises(BadInput) as caught:
        opened(path, **more)
    message = str(caught.value)
    assert "\n" not in message
    assert Path(path).name in message
    return message


def h5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name] = data
    return path


def zarr_array(path, data, version=3, **more):
    chunks = (8,) * data.ndim
    array = zarr.create_array(
        path, shape=data.shape, chunks=chunks, dtype=data.dtype, zarr_format=version, **more
    )
    array[...] = data
    return path


def ome_zarr(path, data, axes, scale, *, unit, version, level="0", overall=None):
    """An OME-Zarr image of two levels, the second one decoyed with zeros."""
    described = [{"name": a, "type": {"c": "channel", "t": "time"}.get(a, "space")} for a in axes]
    for axis in described:
        if unit and axis["type"] == "space":
            axis["unit"] = unit
    datasets = [
        {"path": p, "coordinateTransformations": [{"type": "scale", "scale": [s * f for s in scale]}]}
        for p, f in ((level, 1), ("small", 2))
    ]
    multiscale = {"axes": described, "datasets": datasets}
    if overall:
        multiscale["coordinateTransformations"] = [{"type": "scale", "scale": overall}]
    old = version == "0.4"
    body = {"multiscales": [multiscale | ({"version": "0.4"} if old else {})]}
    zarr.open_group(path, mode="w", zarr_format=2 if old else 3, attributes=body if old else {"ome": body})
    zarr_array(path / level, data, 2 if old else 3)
    zarr_array(path / "small", np.zeros_like(data), 2 if old else 3)
    return path


def tiff_folder(path, stack, names=None, **how):
    path.mkdir()
    for k, slice_ in enumerate(stack):
        tifffile.imwrite(path / (names[k] if names else f"img{k}.tif"), slice_, **how)
    return path


TIFFS = {
    "contiguous": {},
    "big endian": {"byteorder": ">"},
    "plain pages": {"metadata": None},
    "BigTIFF": {"bigtiff": True},
    "ImageJ": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "OME": {"ome": True, "metadata": {"axes": "ZYX"}},
    "zlib": {"compression": "zlib"},
    "zlib, big endian": {"compression": "zlib", "byteorder": ">"},
    "zlib plain pages": {"compression": "zlib", "metadata": None},
    "zlib OME": {"compression": "zlib", "ome": True, "metadata": {"axes": "ZYX"}},
    "strips": {"compression": "zlib", "rowsperstrip": 4, "predictor": True},
    "tiles": {"tile": (16, 16)},
    "compressed tiles": {"tile": (16, 32), "compression": "zlib"},
    "lzw": {"compression": "lzw"},
}


def write_hdf5(path):
    return h5(path / "a.h5", raw=VOLUME)


def write_zarr2(path):
    return zarr_array(path / "a.zarr", VOLUME, 2)


def write_zarr3(path):
    return zarr_array(path / "a.zarr", VOLUME, 3)


def write_sharded(path):
    return zarr_array(path / "a.zarr", VOLUME, 3, shards=(16, 16, 16))


def write_group(path):
    zarr.open_group(path / "a.zarr", mode="w")
    zarr_array(path / "a.zarr" / "only", VOLUME)
    return path / "a.zarr"


def write_slices(path):
    return tiff_folder(path / "slices", VOLUME)


def write_compressed(path):
    tifffile.imwrite(path / "z.tif", VOLUME, compression="zlib")
    return path / "z.tif"


FORMATS = [
    write_hdf5,
    write_zarr2,
    write_zarr3,
    write_sharded,
    write_group,
    write_slices,
    write_compressed,
]
