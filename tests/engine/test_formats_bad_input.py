"""A file that cannot be read as a volume is refused in one line that says why."""

import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from format_files import (
    FORMATS,
    SHAPE,
    TIFFS,
    VOLUME,
    bad_input,
    h5,
    ome_zarr,
    opened,
    tiff_folder,
    write_compressed,
    write_hdf5,
    write_zarr3,
    zarr_array,
)

from cellflow.core.errors import BadInput


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


@pytest.mark.parametrize("make", [lambda p: tiff_folder(p / "a", VOLUME), write_compressed])
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
    for path in (write_hdf5(tmp_path), write_zarr3(tmp_path), write_compressed(tmp_path)):
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
