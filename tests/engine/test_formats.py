"""Every format hands out the same voxels, lazily, and says in one line what is wrong with a file."""

import json
import os
import pickle
import re
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from cellflow.core.errors import BadInput
from cellflow.engine.formats import Source, open_volume
from cellflow.engine.formats.units import micrometres

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


def tiff_folder(path, stack, names=None):
    path.mkdir()
    for k, slice_ in enumerate(stack):
        tifffile.imwrite(path / (names[k] if names else f"img{k}.tif"), slice_)
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


@pytest.mark.parametrize("how", TIFFS)
def test_every_kind_of_tiff_gives_the_voxels_of_the_box(tmp_path, how):
    if how == "lzw":
        pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, **TIFFS[how])
    volume = opened(tmp_path / "a.tif")
    assert (volume.shape, volume.dtype) == (SHAPE, np.dtype("u2"))
    found = volume.read(BOX)
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, VOLUME[BOX])
    np.testing.assert_array_equal(volume.read(WHOLE), VOLUME)


def _write_hdf5(path):
    return h5(path / "a.h5", raw=VOLUME)


def _write_zarr2(path):
    return zarr_array(path / "a.zarr", VOLUME, 2)


def _write_zarr3(path):
    return zarr_array(path / "a.zarr", VOLUME, 3)


def _write_sharded(path):
    return zarr_array(path / "a.zarr", VOLUME, 3, shards=(16, 16, 16))


def _write_group(path):
    zarr.open_group(path / "a.zarr", mode="w")
    zarr_array(path / "a.zarr" / "only", VOLUME)
    return path / "a.zarr"


def _write_slices(path):
    return tiff_folder(path / "slices", VOLUME)


def _write_compressed(path):
    tifffile.imwrite(path / "z.tif", VOLUME, compression="zlib")
    return path / "z.tif"


FORMATS = [
    _write_hdf5,
    _write_zarr2,
    _write_zarr3,
    _write_sharded,
    _write_group,
    _write_slices,
    _write_compressed,
]


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_gives_the_voxels_of_the_box(tmp_path, write):
    volume = opened(write(tmp_path))
    assert (volume.shape, volume.dtype, volume.voxel_size_um) == (SHAPE, np.dtype("u2"), None)
    np.testing.assert_array_equal(volume.read(BOX), VOLUME[BOX])
    np.testing.assert_array_equal(volume.read((slice(None), slice(3), slice(4, None))), VOLUME[:, :3, 4:])
    assert volume.read((slice(2, 2), slice(0, 5), slice(0, 5))).shape == (0, 5, 5)


def test_a_volume_travels_small_and_opens_the_file_where_it_reads(tmp_path):
    volumes = []
    for write in FORMATS:
        (tmp_path / write.__name__).mkdir()
        volumes.append(opened(write(tmp_path / write.__name__)))
        volumes[-1].read(BOX)
        assert len(pickle.dumps(volumes[-1])) < 1500
    code = (
        "import pickle, sys\n"
        "for volume in pickle.loads(sys.stdin.buffer.read()):\n"
        "    print(volume.read((slice(2, 6), slice(5, 23), slice(11, 40))).sum(dtype='u8'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(volumes), capture_output=True, check=True, cwd="/"
    )
    assert [int(line) for line in run.stdout.split()] == [VOLUME[BOX].sum(dtype="u8")] * len(FORMATS)


@pytest.mark.parametrize("write", FORMATS)
def test_threads_may_share_a_volume(tmp_path, write):
    volume = opened(write(tmp_path))
    start = threading.Barrier(4)

    def read(_):
        start.wait()
        return all((volume.read(BOX) == VOLUME[BOX]).all() for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(4)))


@pytest.mark.parametrize("write", FORMATS)
def test_inputs_are_not_touched(tmp_path, write):
    path = write(tmp_path)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    before = [(p, p.read_bytes(), p.stat().st_mtime_ns) for p in files]
    opened(path).read(WHOLE)
    assert before == [(p, p.read_bytes(), p.stat().st_mtime_ns) for p in files]
    assert path.is_file() or files == sorted(p for p in path.rglob("*") if p.is_file())


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize(
    "box",
    [
        (slice(0, 8), slice(0, 2), slice(0, 2)),
        (slice(-3, -1), slice(0, 2), slice(0, 2)),
        (slice(0, 6, 2), slice(0, 2), slice(0, 2)),
    ],
)
def test_a_box_that_leaves_the_volume_is_refused(tmp_path, write, box):
    with pytest.raises(ValueError, match="does not lie in a volume of 7"):
        opened(write(tmp_path)).read(box)


@pytest.mark.parametrize("axes", ["".join(p) for p in permutations("zyx")] + ["yxc", "cyx", "xy", "yx"])
@pytest.mark.parametrize("kind", ["hdf5", "zarr", "tiff"])
def test_transposed_axes_equal_a_numpy_transpose(tmp_path, axes, kind):
    data = VOLUME[:, :9, :11] if len(axes) == 3 else VOLUME[0]
    if kind == "hdf5":
        path = h5(tmp_path / "a.h5", raw=data)
    elif kind == "zarr":
        path = zarr_array(tmp_path / "a.zarr", data)
    else:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, data, photometric="minisblack", compression="zlib")
    channel = 2 if "c" in axes else 0
    volume = opened(path, axes=axes, channel=channel)
    expected = data.transpose([axes.index(a) for a in "czyx" if a in axes])
    if "c" in axes:
        expected = expected[channel]
    expected = expected if expected.ndim == 3 else expected[None]
    assert volume.shape == expected.shape
    inner = tuple(slice(n // 3, n) for n in expected.shape)
    np.testing.assert_array_equal(volume.read(inner), expected[inner])


@pytest.mark.parametrize("axes", ["tczyx", "xyzct", "zctxy", "ctzxy"])
def test_channel_and_timepoint_are_taken_from_five_axes(tmp_path, axes):
    data = np.arange(3 * 4 * 5 * 6 * 7, dtype="i4").reshape(
        [dict(zip("tczyx", (3, 4, 5, 6, 7), strict=True))[a] for a in axes]
    )
    volume = opened(h5(tmp_path / "a.h5", raw=data), axes=axes, channel=3, timepoint=1)
    expected = data.transpose([axes.index(a) for a in "tczyx"])[1, 3]
    np.testing.assert_array_equal(volume.read((slice(1, 4), slice(0, 6), slice(2, 7))), expected[1:4, :, 2:7])
    other = opened(tmp_path / "a.h5", axes=axes, channel=2, timepoint=1)
    assert (other.read((slice(1, 4), slice(0, 6), slice(2, 7))) != expected[1:4, :, 2:7]).any()


def test_without_axes_the_number_of_dimensions_decides(tmp_path):
    shapes = {2: (5, 6), 3: (4, 5, 6), 4: (3, 4, 5, 6), 5: (2, 3, 4, 5, 6)}
    path = h5(tmp_path / "a.h5", **{f"d{n}": np.ones(s) for n, s in shapes.items()})
    axes = {n: opened(path, dataset=f"d{n}").axes for n in shapes}
    assert axes == {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}
    assert opened(path, dataset="d2").shape == (1, 5, 6)


def test_ilastik_says_its_axes_and_a_file_may_be_overruled(tmp_path):
    path = h5(tmp_path / "a.h5", raw=np.arange(7 * 5 * 6 * 2, dtype="f4").reshape(7, 5, 6, 2))
    with h5py.File(path, "a") as file:
        tags = {"axes": [{"key": k, "typeFlags": 2} for k in "zyxc"]}
        file["raw"].attrs["axistags"] = json.dumps(tags)
    assert opened(path, channel=1).shape == (7, 5, 6)
    assert opened(path, axes="tzyx").shape == (5, 6, 2)


# Far away chunks: reading a box neither needs nor touches them.


def test_a_box_of_a_huge_sparse_hdf5_costs_only_the_box(tmp_path):
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        array = file.create_dataset("raw", (4096, 4096, 4096), "u1", chunks=(64, 64, 64))
        array[64:128, 64:128, 64:128] = 7
    volume = opened(tmp_path / "huge.h5")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = volume.read((slice(60, 70), slice(100, 110), slice(100, 110)))
    assert (found[4:] == 7).all()
    assert not found[:4].any()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB; the whole is 64 GB


def test_a_damaged_chunk_far_away_does_not_matter_and_a_near_one_is_named(tmp_path):
    stored = zarr_array(tmp_path / "a.zarr", VOLUME)
    (stored / "c" / "0" / "3" / "5").write_bytes(b"junk")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = file.create_dataset("raw", data=VOLUME, chunks=(7, 8, 8), compression="gzip")
        at, size = next(
            (c.byte_offset, c.size)
            for c in (array.id.get_chunk_info(i) for i in range(array.id.get_num_chunks()))
            if c.chunk_offset == (0, 24, 40)
        )
    _overwrite(tmp_path / "a.h5", at, size)
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at, size = file.pages[6].dataoffsets[-1], file.pages[6].databytecounts[-1]
    _overwrite(tmp_path / "a.tif", at, size)
    for name in ("a.zarr", "a.h5", "a.tif"):
        volume = opened(tmp_path / name)
        far = (slice(0, 7), slice(0, 16), slice(0, 32))
        np.testing.assert_array_equal(volume.read(far), VOLUME[far])
        with pytest.raises(OSError, match=f"{name}: cannot read z 0:7, y 0:30, x 0:41") as caught:
            volume.read(WHOLE)
        assert "\n" not in str(caught.value)


def _overwrite(path, at, size):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * size)


def test_slices_outside_the_box_are_not_opened(tmp_path):
    folder = tiff_folder(tmp_path / "slices", VOLUME)
    volume = opened(folder)
    (folder / "img6.tif").write_bytes(b"junk")
    np.testing.assert_array_equal(volume.read(BOX), VOLUME[BOX])
    with pytest.raises(OSError, match="cannot read"):
        volume.read(WHOLE)


def test_a_replaced_file_is_read_anew(tmp_path):
    path = h5(tmp_path / "a.h5", raw=VOLUME)
    opened(path).read(BOX)
    h5(tmp_path / "b.h5", raw=VOLUME + 1).replace(path)
    np.testing.assert_array_equal(opened(path).read(BOX), VOLUME[BOX] + 1)


# What the files say of themselves.


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_gives_level_0_with_its_axes_and_voxel_size(tmp_path, version):
    data = np.stack([VOLUME, VOLUME[::-1]])
    image = ome_zarr(
        tmp_path / "a.zarr", data, "czyx", [1, 2000, 250, 260], unit="nanometer", version=version
    )
    for more in ({}, {"dataset": "0"}):
        volume = opened(image, channel=1, **more)
        assert volume.voxel_size_um == pytest.approx((2.0, 0.25, 0.26))
        np.testing.assert_array_equal(volume.read(BOX), VOLUME[::-1][BOX])
    assert opened(image, dataset="small").voxel_size_um == pytest.approx((4.0, 0.5, 0.52))
    assert opened(image / "0").voxel_size_um == pytest.approx((2.0, 0.25, 0.26))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_inside_an_ome_zarr_are_found(tmp_path, version):
    image = ome_zarr(tmp_path / "a.zarr", VOLUME, "zyx", [2, 1, 1], unit="micrometer", version=version)
    ome_zarr(image / "labels" / "cells", VOLUME + 1, "zyx", [3, 1, 1], unit="micrometer", version=version)
    for volume in (opened(image, dataset="labels/cells"), opened(image / "labels" / "cells")):
        np.testing.assert_array_equal(volume.read(BOX), VOLUME[BOX] + 1)
        assert volume.voxel_size_um == (3, 1, 1)
    np.testing.assert_array_equal(opened(image).read(BOX), VOLUME[BOX])


def test_a_scale_for_the_whole_pyramid_multiplies_and_levels_may_lie_deeper(tmp_path):
    image = ome_zarr(
        tmp_path / "a.zarr",
        VOLUME,
        "zyx",
        [2, 1, 1],
        unit="micrometer",
        version="0.5",
        level="scale0/image",
        overall=[1, 3, 3],
    )
    assert opened(image).voxel_size_um == (2, 3, 3)
    assert opened(image, dataset="scale0/image").voxel_size_um == (2, 3, 3)


def test_a_scale_without_a_unit_is_no_voxel_size(tmp_path):
    image = ome_zarr(tmp_path / "a.zarr", VOLUME, "zyx", [2, 1, 1], unit=None, version="0.5")
    assert opened(image).voxel_size_um is None
    assert opened(image, voxel_size_um=(2, 1, 1)).voxel_size_um == (2, 1, 1)


def test_zarr_dimension_names_are_axes(tmp_path):
    path = zarr_array(tmp_path / "a.zarr", VOLUME, dimension_names=["x", "y", "z"])
    assert opened(path).shape == SHAPE[::-1]


def test_element_size_um_follows_the_spatial_axes(tmp_path):
    path = h5(tmp_path / "a.h5", raw=VOLUME)
    with h5py.File(path, "a") as file:
        file["raw"].attrs["element_size_um"] = np.array([0.4, 0.1, 0.2], "f4")
    assert opened(path).voxel_size_um == (0.4, 0.1, 0.2)
    assert opened(path, axes="xyz").voxel_size_um == (0.2, 0.1, 0.4)
    assert opened(path, axes="cyx").voxel_size_um is None
    assert opened(path, voxel_size_um=(1, 2, 3)).voxel_size_um == (1, 2, 3)
    stored = zarr_array(tmp_path / "a.zarr", VOLUME, attributes={"element_size_um": [1, 0.5, 0.5]})
    assert opened(stored).voxel_size_um == (1, 0.5, 0.5)


def test_imagej_tiffs_give_axes_and_voxel_size(tmp_path):
    data = np.stack([VOLUME, VOLUME[::-1]], axis=1)
    metadata = {"axes": "ZCYX", "spacing": 0.8, "unit": "micron"}
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, resolution=(5, 4), metadata=metadata)
    volume = opened(tmp_path / "a.tif", channel=1)
    assert volume.voxel_size_um == pytest.approx((0.8, 0.25, 0.2))
    np.testing.assert_array_equal(volume.read(BOX), VOLUME[::-1][BOX])
    tifffile.imwrite(tmp_path / "b.tif", VOLUME, imagej=True, resolution=(5, 4), metadata={"axes": "ZYX"})
    assert opened(tmp_path / "b.tif").voxel_size_um is None


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_tiffs_give_axes_and_voxel_size(tmp_path, compression):
    data = np.stack([VOLUME, VOLUME[::-1]])
    metadata = {"axes": "TZYX", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.3}
    metadata |= {"PhysicalSizeZ": 0.002, "PhysicalSizeZUnit": "mm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=metadata, compression=compression)
    volume = opened(tmp_path / "a.ome.tif", timepoint=1)
    assert volume.voxel_size_um == pytest.approx((2.0, 0.3, 0.25))
    np.testing.assert_array_equal(volume.read(BOX), VOLUME[::-1][BOX])


def test_a_printer_resolution_is_no_voxel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, resolution=(72, 72), resolutionunit="INCH")
    assert opened(tmp_path / "a.tif").voxel_size_um is None


@pytest.mark.parametrize("stack", [(), (4,)])
@pytest.mark.parametrize("how", ["pixels", "planes", "compressed pixels", "compressed planes"])
def test_colours_are_channels(tmp_path, stack, how):
    colours = np.random.default_rng(1).integers(0, 255, (*stack, 20, 33, 3)).astype("u1")
    data = np.moveaxis(colours, -1, -3) if how.endswith("planes") else colours
    tifffile.imwrite(
        tmp_path / "a.tif",
        data,
        photometric="rgb",
        planarconfig="separate" if how.endswith("planes") else "contig",
        compression="zlib" if how.startswith("compressed") else None,
        rowsperstrip=6,
    )
    volume = opened(tmp_path / "a.tif", channel=2)
    expected = (colours if stack else colours[None])[..., 2]
    assert volume.shape == expected.shape
    box = tuple(slice(n // 3, n) for n in expected.shape)
    np.testing.assert_array_equal(volume.read(box), expected[box])


def test_colour_slices_in_a_folder_are_channels(tmp_path):
    colours = np.random.default_rng(1).integers(0, 255, (4, 20, 33, 3)).astype("u1")
    volume = opened(tiff_folder(tmp_path / "slices", colours), channel=1)
    assert volume.shape == (4, 20, 33)
    np.testing.assert_array_equal(
        volume.read((slice(1, 3), slice(4, 9), slice(0, 33))), colours[1:3, 4:9, :, 1]
    )


def test_an_ome_tiff_may_span_several_files(tmp_path):
    images = [np.full((2, 8, 9), k, "u2") for k in range(2)]
    names = ["a.ome.tif", "b.ome.tif"]
    tifffile.imwrite(tmp_path / names[0], images[0], compression="zlib", metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / names[1], images[1], compression="zlib", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / names[0]) as file:
        xml = file.ome_metadata
    uuid = re.search(r'UUID="(urn:uuid:[^"]+)"', xml).group(1)
    with tifffile.TiffFile(tmp_path / names[1]) as file:
        other = re.search(r'UUID="(urn:uuid:[^"]+)"', file.ome_metadata).group(1)
    data = "".join(
        f'<TiffData FirstZ="{z}" IFD="{z % 2}" PlaneCount="1">'
        f'<UUID FileName="{names[z // 2]}">{who}</UUID></TiffData>'
        for z, who in enumerate([uuid, uuid, other, other])
    )
    xml = re.sub(r"<TiffData.*?(</TiffData>|/>)", data, xml, count=1, flags=re.DOTALL).replace(
        'SizeZ="2"', 'SizeZ="4"'
    )
    tifffile.tiffcomment(tmp_path / names[0], xml.encode())
    volume = opened(tmp_path / names[0])
    assert volume.shape == (4, 8, 9)
    assert volume.read((slice(0, 4), slice(0, 1), slice(0, 1))).ravel().tolist() == [0, 0, 1, 1]


def test_slices_are_sorted_as_people_count(tmp_path):
    stack = np.stack([np.full((4, 5), k, "u1") for k in (10, 2, 1, 9)])
    folder = tiff_folder(tmp_path / "slices", stack, ["img10.tif", "img2.tif", "img1.TIF", "img09.tiff"])
    (folder / "notes.txt").write_text("not a slice")
    (folder / "._img1.tif").write_bytes(b"left by a Mac")
    assert opened(folder).read((slice(0, 4), slice(0, 1), slice(0, 1))).ravel().tolist() == [1, 2, 9, 10]


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", ">i2", "u4", ">u8", "i8", "f2", ">f4", "f8"])
@pytest.mark.parametrize("kind", ["hdf5", "zarr", "tiff"])
def test_any_number_is_read_in_native_order(tmp_path, dtype, kind):
    data = (VOLUME % 100).astype(dtype)
    data = (VOLUME % 2).astype(dtype) if dtype == "?" else data
    if kind == "hdf5":
        path = h5(tmp_path / "a.h5", raw=data)
    elif kind == "zarr":
        path = zarr_array(tmp_path / "a.zarr", data, 2)
    else:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, data, byteorder=">" if dtype[0] == ">" else "<")
    found = opened(path).read(BOX)
    assert found.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(found, data[BOX])


@pytest.mark.parametrize(
    ("value", "unit", "um"),
    [
        (2, "micrometer", 2),
        (2, "µm", 2),
        (2, "μm", 2),
        (2, "\\u00B5m", 2),
        (2, "microns", 2),
        (500, "nm", 0.5),
        ("1e-3", "millimetre", 1),
        (10, "Å", 1e-3),
        (2, "pixel", None),
        (2, None, None),
        (0, "um", None),
        (float("nan"), "um", None),
        ("wide", "um", None),
    ],
)
def test_lengths_become_micrometres(value, unit, um):
    assert micrometres(value, unit) == (um if um is None else pytest.approx(um))


# Bad input.


def test_a_missing_or_unknown_file_is_bad_input(tmp_path):
    (tmp_path / "a.czi").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    assert "does not exist" in bad_input(tmp_path / "no.h5")
    assert "does not exist" in bad_input(tmp_path / "a.czi" / "inside.h5")
    assert "unknown format .czi" in bad_input(tmp_path / "a.czi")
    assert "without Zarr metadata and without .tif" in bad_input(tmp_path / "empty")


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.tif", "a.tiff"])
@pytest.mark.parametrize(
    "content", [b"", b"junk", b"II*\x00\xff\xff\xff\x7f", b"\x89HDF\r\n\x1a\n" + b"\0" * 90]
)
def test_a_file_that_is_not_what_its_name_says_is_bad_input(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert re.search("cannot be read as|is cut off", bad_input(tmp_path / name))


@pytest.mark.parametrize("how", [k for k in TIFFS if k != "lzw"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
def test_a_tiff_that_was_cut_off_is_bad_input_not_a_shorter_stack(tmp_path, how, kept):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, VOLUME, **TIFFS[how])
    os.truncate(path, int(path.stat().st_size * kept))
    bad_input(path)


def test_a_cut_off_hdf5_is_bad_input(tmp_path):
    path = h5(tmp_path / "a.h5", raw=VOLUME)
    os.truncate(path, path.stat().st_size * 2 // 3)
    assert "cannot be read as HDF5" in bad_input(path)


@pytest.mark.parametrize("version", [2, 3])
def test_damaged_zarr_metadata_is_bad_input(tmp_path, version):
    path = zarr_array(tmp_path / "a.zarr", VOLUME, version)
    meta = path / ("zarr.json" if version == 3 else ".zarray")
    whole = meta.read_text()
    meta.write_text(whole[:40])
    assert "cannot be read as Zarr" in bad_input(path)
    meta.write_text(whole.replace("zstd", "nonesuch"))
    assert "cannot be read as Zarr" in bad_input(path)
    meta.unlink()
    assert "no Zarr array or group" in bad_input(path)


def test_ome_metadata_that_names_no_array_is_bad_input(tmp_path):
    image = ome_zarr(tmp_path / "a.zarr", VOLUME, "zyx", [1, 1, 1], unit="micrometer", version="0.5")
    shutil.rmtree(image / "0")
    assert "names level 0 '0', which does not exist" in bad_input(image)


def test_a_missing_dataset_lists_what_is_there(tmp_path):
    path = h5(tmp_path / "a.h5", raw=VOLUME, label=VOLUME, times=np.arange(3))
    assert "no dataset 'rwa'; it holds label, raw." in bad_input(path, dataset="rwa")
    assert "holds 2 arrays: label, raw. Name one" in bad_input(path)
    group = tmp_path / "a.zarr"
    zarr.open_group(group, mode="w")
    assert "holds no array" in bad_input(group)
    zarr_array(group / "raw", VOLUME)
    assert opened(group).shape == SHAPE
    zarr_array(group / "deep" / "label", VOLUME)
    zarr.open_group(group / "deep", mode="a")
    assert "no dataset 'rwa'; it holds deep/label, raw." in bad_input(group, dataset="rwa")
    assert "holds 2 arrays: deep/label, raw. Name one" in bad_input(group)
    assert opened(group, dataset="/deep/").shape == SHAPE
    assert "itself an array" in bad_input(group / "raw", dataset="raw")


def test_a_group_of_an_hdf5_with_one_array_will_do(tmp_path):
    path = h5(tmp_path / "a.h5", **{"s00/cells": VOLUME, "s01/cells": VOLUME, "s00/steps": np.arange(3)})
    assert opened(path, dataset="s00").shape == SHAPE
    assert opened(path, dataset="/s01/cells").shape == SHAPE


@pytest.mark.parametrize("make", [lambda p: tiff_folder(p / "a", VOLUME), _write_compressed])
def test_a_dataset_in_a_tiff_is_bad_input(tmp_path, make):
    assert "TIFF files have none" in bad_input(make(tmp_path), dataset="raw")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"axes": "yx"}, "are 2, but shape (7, 30, 41) has 3"),
        ({"axes": "czyx"}, "are 4, but shape (7, 30, 41) has 3"),
        ({"axes": "zyy"}, "repeat y"),
        ({"axes": "czx"}, "lack y or x"),
        ({"axes": "zyq"}, "contain q"),
        ({"axes": "ZYX"}, "contain X, Y, Z"),
        (
            {"axes": "cyx", "channel": 7},
            "channel 7 is out of range; axes cyx of shape (7, 30, 41) have channels 0 to 6",
        ),
        ({"axes": "cyx", "channel": -1}, "channel -1 is out of range"),
        ({"channel": 1}, "channels 0 to 0"),
        ({"axes": "tyx", "timepoint": 9}, "timepoint 9 is out of range"),
        ({"timepoint": 1}, "timepoints 0 to 0"),
    ],
)
def test_axes_channels_and_timepoints_that_do_not_fit_are_bad_input(tmp_path, more, said):
    for path in (_write_hdf5(tmp_path), _write_zarr3(tmp_path), _write_compressed(tmp_path)):
        assert said in bad_input(path, **more)


def test_arrays_of_one_or_six_dimensions_and_empty_ones_are_bad_input(tmp_path):
    path = h5(tmp_path / "a.h5", one=np.ones(3), six=np.ones((1,) * 6), none=np.ones((3, 0, 4)))
    assert "expected 2 to 5" in bad_input(path, dataset="one")
    assert "expected 2 to 5" in bad_input(path, dataset="six")
    assert "shape (3, 0, 4) is empty" in bad_input(path, dataset="none")
    zarr.create_array(tmp_path / "a.zarr", shape=(0, 4, 4), chunks=(1, 4, 4), dtype="u1")
    assert "shape (0, 4, 4) is empty" in bad_input(tmp_path / "a.zarr")


def test_values_that_are_no_numbers_are_bad_input(tmp_path):
    path = h5(tmp_path / "a.h5", complex=VOLUME.astype("c8"), text=np.full((3, 3), b"text"))
    assert "values are complex64" in bad_input(path, dataset="complex")
    assert "values are |S4" in bad_input(path, dataset="text")
    assert "values are complex64" in bad_input(zarr_array(tmp_path / "a.zarr", VOLUME.astype("c8")))
    tifffile.imwrite(tmp_path / "a.tif", VOLUME.astype("c8"))
    assert "values are complex64" in bad_input(tmp_path / "a.tif")


def test_slices_that_differ_are_bad_input_and_the_slice_is_named(tmp_path):
    folder = tiff_folder(tmp_path / "slices", VOLUME)
    for odd in (VOLUME[5][:-1], VOLUME[5].astype("u1")):
        tifffile.imwrite(folder / "img5.tif", odd)
        with pytest.raises(BadInput, match=r"img5\.tif: slice is .*but img0\.tif is 30 x 41 uint16"):
            opened(folder)
    tifffile.imwrite(folder / "img5.tif", VOLUME)
    with pytest.raises(BadInput, match=r"img5\.tif: holds 7 pages"):
        opened(folder)
    (folder / "img5.tif").write_bytes(b"junk")
    with pytest.raises(BadInput, match=r"img5\.tif: cannot be read as TIFF"):
        opened(folder)


def test_a_tiff_of_several_images_is_bad_input(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(VOLUME)
        file.write(VOLUME[0, :9])
    assert "holds 2 images" in bad_input(tmp_path / "a.tif")


def test_hdf5_of_an_unknown_compression_is_bad_input(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4, 4, 4))
        plist.set_filter(32123, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((8, 8, 8))
        h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT16, space, plist)
    assert "compressed with HDF5 filter 32123" in bad_input(tmp_path / "a.h5")


@pytest.fixture
def nobody():
    """A folder where this process has no special rights, even if root runs the tests."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder, root
    if root:
        os.seteuid(0)
    for path in folder.rglob("*"):
        path.chmod(stat.S_IRWXU)
    shutil.rmtree(folder)


@pytest.mark.parametrize("write", FORMATS)
def test_a_file_without_read_permission_is_bad_input(nobody, write):
    folder, root = nobody
    if root:
        os.seteuid(0)
    path = write(folder)
    path.chmod(0)
    if root:
        os.seteuid(65534)
    assert "no permission to read" in bad_input(path)
