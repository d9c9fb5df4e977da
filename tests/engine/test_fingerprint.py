"""Inputs that changed are seen without reading them."""

import os

import numpy as np
import pytest
import tifffile
import zarr

from cellflow.engine.formats import fingerprint


@pytest.fixture
def slices(tmp_path):
    folder = tmp_path / "slices"
    folder.mkdir()
    for i in range(3):
        tifffile.imwrite(folder / f"{i}.tif", np.zeros((4, 5), np.uint8))
    return folder


def test_nothing_changed_nothing_seen(slices):
    assert fingerprint(slices) == fingerprint(slices)


def test_a_slice_more_or_another_one_is_seen(slices):
    before = fingerprint(slices)
    tifffile.imwrite(slices / "3.tif", np.zeros((4, 5), np.uint8))
    more = fingerprint(slices)
    os.utime(slices / "0.tif", ns=(1, 1))
    assert len({before, more, fingerprint(slices)}) == 3


def test_a_chunk_written_again_is_seen(tmp_path):
    array = zarr.create_array(str(tmp_path / "v.zarr" / "raw"), shape=(8, 8, 8), chunks=(4, 4, 4), dtype="u1")
    array[:] = 1
    before = fingerprint(tmp_path / "v.zarr")
    array[:4, :4, :4] = 2
    assert fingerprint(tmp_path / "v.zarr") != before
