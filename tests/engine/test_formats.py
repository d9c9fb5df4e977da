"""Every format hands out the same voxels, box by box."""

import json
import pickle
import resource
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import h5py
import numpy as np
import pytest
import tifffile
from format_files import (
    BOX,
    FORMATS,
    SHAPE,
    TIFFS,
    VOLUME,
    WHOLE,
    h5,
    opened,
    tiff_folder,
    zarr_array,
)


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


def test_pages_between_their_headers_are_read_in_their_byte_order(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=">") as file:
        for page in VOLUME:
            file.write(page, contiguous=False, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.series[0].dataoffset is None  # else this would test the map of the whole
    np.testing.assert_array_equal(opened(tmp_path / "a.tif").read(BOX), VOLUME[BOX])
    folder = tiff_folder(tmp_path / "slices", VOLUME, byteorder=">")
    np.testing.assert_array_equal(opened(folder).read(BOX), VOLUME[BOX])


def test_jpeg_tiles_are_decoded_as_tifffile_does(tmp_path):
    pytest.importorskip("imagecodecs")
    data = (VOLUME[:, :, :40] % 256).astype("u1")
    tifffile.imwrite(tmp_path / "a.tif", data, compression="jpeg", tile=(16, 16))
    found = opened(tmp_path / "a.tif").read((slice(1, 3), slice(3, 30), slice(20, 40)))
    np.testing.assert_array_equal(found, tifffile.imread(tmp_path / "a.tif")[1:3, 3:, 20:])


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
