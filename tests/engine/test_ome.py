import json

import numpy as np
import pytest
import zarr
from conftest import SHAPE, VOXEL_UM, Sample, cut, tissue
from ome_zarr_models.v05 import Image, ImageLabel, Labels

from cellflow.core.downsample import mean, mode
from cellflow.engine import ome, pyramid
from cellflow.engine.stage import root_path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole sample with pyramids of several levels."""
    patch = pytest.MonkeyPatch()
    patch.setattr(pyramid, "SMALLEST_LEVEL", 16)
    mask = np.ones(SHAPE, np.uint8)
    made = Sample(tmp_path_factory.mktemp("ome") / "root", {**tissue(), "mask": mask}, cut())
    made.run()
    patch.undo()
    return made


IMAGES = ("", "raw", "boundaries")
LABELS = ("cells", "supervoxels", "truth", "mask")


def _group(made, path):
    return zarr.open_group(str(root_path(made.folder) / path), mode="r")


@pytest.mark.parametrize("path", IMAGES)
def test_images_are_valid_ome_zarr(made, path):
    group = _group(made, path)
    image = Image.from_zarr(group)
    entry = image.ome_attributes.multiscales[0]
    assert [axis.name for axis in entry.axes] == ["z", "y", "x"]
    assert all(axis.unit == "micrometer" for axis in entry.axes)
    for dataset in entry.datasets:
        assert group[dataset.path].ndim == 3  # nested paths such as raw/0 lead to arrays


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_valid_ome_zarr(made, name):
    label = ImageLabel.from_zarr(_group(made, f"labels/{name}"))
    source = label.ome_attributes.image_label.source.image
    assert (root_path(made.folder) / "labels" / name / source).resolve() == root_path(made.folder).resolve()


def test_the_labels_group_lists_every_label_image(made):
    labels = Labels.from_zarr(_group(made, "labels"))
    assert sorted(labels.ome_attributes.labels) == sorted(LABELS)


def test_a_broken_group_is_not_valid(made, tmp_path):
    """The validator sees what we rely on."""
    broken = json.loads((root_path(made.folder) / "zarr.json").read_text())
    broken["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = "raw/9"
    (tmp_path / "zarr.json").write_text(json.dumps(broken))
    with pytest.raises(Exception, match="raw/9"):
        Image.from_zarr(zarr.open_group(str(tmp_path), mode="r"))


@pytest.mark.parametrize("path", [*IMAGES, *(f"labels/{name}" for name in LABELS)])
def test_a_level_lies_where_its_voxels_say(made, path):
    group = _group(made, path)
    entry = group.attrs["ome"]["multiscales"][0]
    assert len(entry["datasets"]) == 3
    for dataset in entry["datasets"]:
        scale, shift = (t[t["type"]] for t in dataset["coordinateTransformations"])
        shape = group[dataset["path"]].shape
        factor = np.round(np.array(scale) / VOXEL_UM).astype(int)
        assert shape == tuple(-(-n // f) for n, f in zip(SHAPE, factor, strict=True))
        np.testing.assert_allclose(shift, (factor - 1) / 2 * VOXEL_UM)


def test_intensities_are_means_and_labels_are_commonest(made):
    raw, truth = tissue()["raw"], tissue()["truth"]
    np.testing.assert_array_equal(made.read("raw", 1), mean(raw, (1, 2, 2)))
    np.testing.assert_array_equal(made.read("truth", 1), mode(truth, (1, 2, 2)))
    np.testing.assert_array_equal(made.read("truth", 2), mode(mode(truth, (1, 2, 2)), (2, 2, 2)))
    assert np.isin(made.read("cells", 2), made.read("cells")).all()


def test_the_root_is_the_raw_image_whatever_the_order_of_the_stages(sample):
    truth = sample(volumes={"truth": tissue()["truth"]})
    truth.run("ingest-truth")
    made = sample()
    assert "multiscales" not in _group(made, "").attrs["ome"]
    made.run("ingest-raw")
    datasets = _group(made, "").attrs["ome"]["multiscales"][0]["datasets"]
    assert [d["path"] for d in datasets] == ["raw/0"]
    before = (root_path(made.folder) / "zarr.json").read_bytes()
    ome.write_root(root_path(made.folder))
    assert (root_path(made.folder) / "zarr.json").read_bytes() == before
