"""Nuclei that a network finds: in an image of their own, or beside boundaries."""

from dataclasses import dataclass

import numpy as np
import pytest
from conftest import CUT, Sample, cut
from predicting import BOUNDARY
from scipy import ndimage
from small_networks import architecture, network, save

from cellflow.core.errors import BadInput
from cellflow.core.phantom import Phantom, phantom_block
from cellflow.engine.stage import Job, execute
from cellflow.stages import normalise, nuclei, predict

SHAPE = (20, 40, 48)
FOUND = nuclei.Params(threshold=0.5, min_size=20)


def stained():
    """Boundaries and nuclei of a tissue, and what a microscope shows of the nuclei."""
    p = Phantom(shape=SHAPE, cell_um=4.0, tissue=1.0, seed=1)
    made = phantom_block(p, tuple(slice(0, n) for n in SHAPE))
    light = 5 + 60 * ndimage.gaussian_filter((made.nuclei > 0).astype(float), 1)
    image = np.random.default_rng(0).poisson(light).astype(np.uint16)
    return {"raw": made.raw, "boundaries": made.boundaries, "nuclei_raw": image}, made.nuclei


@dataclass
class Stained(Sample):
    """A sample whose nuclei a network finds."""

    network: predict.Network | None = None
    found: nuclei.Params = FOUND

    def job(self, name):
        source = "predict-nuclei_raw" if "nuclei_raw" in self.volumes else "predict"
        made = {
            "normalise-nuclei_raw": (normalise.Params(), ("ingest-nuclei_raw",)),
            "predict-nuclei_raw": (predict.Nuclei(predictor=self.network), ("normalise-nuclei_raw",)),
            "predict": (predict.Params(predictor=self.network), ("normalise",)),
            "nuclei": (self.found, (source, "supervoxels")),
        }
        if name not in made:
            return super().job(name)
        p, after = made[name]
        return Job(name, self.folder, p, self.storage, after, private=predict.PRIVATE)

    def run(self, *names):
        modules = {"nuclei": nuclei, "predict": predict, "normalise": normalise}
        return {
            name: execute(modules[name.split("-", maxsplit=1)[0]], self.job(name), 1)
            if name.split("-", maxsplit=1)[0] in modules
            else super(Stained, self).run(name)[name]
            for name in names
        }


def of(model, **more):
    return predict.Network.model_validate(
        {"model": str(model), "device": "cpu", "tile": [12, 16, 24], **more}
    )


def sample(folder, volumes, block, p):
    return Stained(folder / "root", volumes, cut(block), {"supervoxels": CUT}, network=p)


def test_the_network_that_comes_with_cellflow_finds_stained_nuclei_whatever_the_blocks(tmp_path):
    volumes, truth = stained()
    labels = []
    for block in (16, 64):
        made = sample(tmp_path / str(block), volumes, block, of("nuclei3d"))
        receipts = made.run(
            *("ingest-raw", "ingest-boundaries", "ingest-nuclei_raw", "normalise-nuclei_raw"),
            *("predict-nuclei_raw", "supervoxels", "nuclei"),
        )
        assert receipts["predict-nuclei_raw"]["volumes"] == ["nuclei_probability"]
        assert receipts["nuclei"]["result"]["supervoxels"] > 10
        labels.append(made.read("nuclei"))
    np.testing.assert_array_equal(*labels)
    true = [k for k, size in enumerate(np.bincount(truth.ravel().astype(int))) if k and size > 60]
    hit = [np.bincount(labels[0][truth == k].astype(int)).argmax() for k in true]
    assert len(true) > 20
    assert len(set(hit) - {0}) > 0.9 * len(true)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A network of random weights that predicts boundaries, and nuclei as well."""
    heads = [BOUNDARY, {"name": "nuclei"}]
    made = network(heads=heads)
    for name, values in made.named_parameters():
        values.data *= 5 if name.startswith("heads") else 1
    path = save(tmp_path_factory.mktemp("both"), made.state_dict(), config=False)
    return of(path, architecture=architecture(heads=heads).model_dump())


def test_nuclei_that_are_predicted_beside_boundaries_are_used(tmp_path, both):
    raw = stained()[0]["raw"]
    made = sample(tmp_path, {"raw": raw}, 16, both)
    made.run("ingest-raw", "normalise", "predict")
    level = float(np.quantile(made.read("predicted_nuclei"), 0.98)) / 255
    made.found = nuclei.Params(predicted=True, threshold=level, min_size=5)
    made.run("supervoxels", "nuclei")
    parts, count = ndimage.label(made.read("predicted_nuclei") >= np.ceil(round(255 * level, 6)))
    kept = [k for k, size in enumerate(np.bincount(parts.ravel())) if k and size >= 5]
    found = made.read("nuclei")
    assert 2 <= len(kept) == found.max() <= count
    np.testing.assert_array_equal(found > 0, np.isin(parts, kept))


def test_where_no_nuclei_are_predicted_one_line_says_so(tmp_path):
    volumes, _ = stained()
    made = sample(tmp_path, {"raw": volumes["raw"]}, 64, of("membrane3d"))
    made.run("ingest-raw", "normalise", "predict", "supervoxels")
    with pytest.raises(BadInput, match="the predictor finds no nuclei, expected some for"):
        made.run("nuclei")
    made = sample(tmp_path / "other", volumes, 64, of("membrane3d"))
    made.run("ingest-raw", "ingest-nuclei_raw", "normalise-nuclei_raw")
    with pytest.raises(BadInput, match=r"predicts boundary, expected nuclei; if it does predict nuclei, say"):
        made.run("predict-nuclei_raw")
