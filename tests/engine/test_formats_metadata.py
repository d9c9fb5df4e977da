"""What files say of their axes, channels and voxel size is believed where it can be."""

import re

import h5py
import numpy as np
import pytest
import tifffile
from format_files import (
    BOX,
    SHAPE,
    VOLUME,
    h5,
    ome_zarr,
    opened,
    tiff_folder,
    zarr_array,
)

from cellflow.engine.formats.units import micrometres


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
