"""Nuclei: which supervoxel holds which, whatever the blocks, and what that does for cells."""

from dataclasses import asdict, dataclass, field
from functools import cache

import numpy as np
import pytest
from conftest import CUT, Sample, cut
from scipy import ndimage

from cellflow.core.contingency import Contingency, contingency_block, sizes_per_row, without
from cellflow.core.errors import BadInput
from cellflow.core.phantom import Phantom, phantom_block
from cellflow.engine.stage import Job, execute, read_receipt
from cellflow.engine.tables import load_nuclei
from cellflow.solvers import LiftedMulticut, Multicut
from cellflow.stages import nuclei, partition, reconcile, supervoxels

MODULES = {"nuclei": nuclei, "reconcile": reconcile, "partition": partition}


SMALLER = {"supervoxels": supervoxels.Params(sigma_seeds=1, min_size=50, max_distance=12)}
SMALL = nuclei.Params(min_size=20)


@dataclass
class Nucleated(Sample):
    """A sample whose nuclei are known, as labels or as a probability map."""

    params: dict = field(default_factory=lambda: {"supervoxels": CUT, "nuclei": SMALL})

    def job(self, name):
        given = [f"ingest-{role}" for role in self.volumes if role.startswith("nuclei")]
        after = {
            "nuclei": (*given, "supervoxels"),
            "partition": ("graph", "nuclei"),
            "reconcile": ("graph", "nuclei", "partition"),
        }
        if name not in after:
            return super().job(name)
        p = self.params.get(name) or MODULES[name].Params()
        return Job(name, self.folder, p, self.storage, after[name])

    def run(self, *names):
        found = {}
        for name in names:
            found |= (
                {name: execute(MODULES[name], self.job(name), 1)} if name in MODULES else super().run(name)
            )
        return found

    def ingested(self):
        return [f"ingest-{role}" for role in self.volumes]

    def held(self):
        ranges = read_receipt(self.folder, "nuclei")["result"]["ranges"]
        return load_nuclei(self.folder / "nuclei" / "table", ranges)


@cache
def tissue(shape=(20, 40, 48), seed=1, **more):
    p = Phantom(shape=shape, seed=seed, **({"cell_um": 4.0, "tissue": 1.0} | more))
    made = phantom_block(p, tuple(slice(0, n) for n in shape))
    return {"raw": made.raw, "boundaries": made.boundaries, "truth": made.labels, "nuclei": made.nuclei}


def with_probability(volumes):
    """A map that is surest in the middle of nuclei, in place of their labels."""
    depth = ndimage.distance_transform_edt(volumes["nuclei"] > 0)
    sure = np.clip(200 + 25 * depth, 0, 255) * (depth > 0)
    kept = {name: values for name, values in volumes.items() if name != "nuclei"}
    return {**kept, "nuclei_probability": sure.astype(np.uint8)}


def as_far_as_reconcile(made):
    return made.run(*made.ingested(), "supervoxels", "nuclei", "graph", "partition", "reconcile")


@pytest.fixture(scope="module", params=["labels", "probability"])
def whole(request, tmp_path_factory):
    """On one block that is the volume."""
    volumes = tissue() if request.param == "labels" else with_probability(tissue())
    made = Nucleated(tmp_path_factory.mktemp("whole") / "root", volumes, cut(64))
    return made, as_far_as_reconcile(made)


def test_what_supervoxels_hold_does_not_depend_on_blocks_or_ranges(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(nuclei, "NODES_PER_RANGE", 7)
    expected, receipts = whole
    made = Nucleated(tmp_path / "root", expected.volumes, cut((8, 24, 16)))
    found = as_far_as_reconcile(made)
    for name, values in asdict(expected.held()).items():
        np.testing.assert_array_equal(asdict(made.held())[name], values, err_msg=name)
    np.testing.assert_array_equal(made.read("nuclei"), expected.read("nuclei"))
    for stage in ("nuclei", "partition", "reconcile"):
        ours, theirs = (
            {**r[stage]["result"], "ranges": 0, "nodes_per_range": 0, "checksum": 0}
            for r in (found, receipts)
        )
        assert ours == theirs
    assert found["nuclei"]["result"]["nuclei"] > 10
    assert found["nuclei"]["result"]["ranges"] > 3
    assert found["partition"]["result"]["lifted_pairs"] > 10


def test_a_nucleus_is_what_lies_above_the_threshold_and_connects(whole):
    made, receipts = whole
    if "nuclei_probability" not in made.volumes:
        pytest.skip("labels are taken as they are")
    labels, count = ndimage.label(made.volumes["nuclei_probability"] >= 230)  # 0.9 of 255
    size = np.bincount(labels.ravel(), minlength=count + 1)
    kept = (size >= 20) & (np.arange(count + 1) > 0)
    np.testing.assert_array_equal(made.read("nuclei"), np.where(kept, np.cumsum(kept), 0)[labels])
    assert receipts["nuclei"]["result"]["nuclei"] == kept.sum() > 10


@pytest.mark.parametrize(
    "changed", [{"threshold": 0.95}, {"min_size": 60}, {"overlap": 0.9}, {"depth": 1}], ids=str
)
def test_every_parameter_changes_the_result(tmp_path, changed):
    made = Nucleated(tmp_path / "root", with_probability(tissue()), cut(64))
    before = as_far_as_reconcile(made)
    made.params = {**made.params, "nuclei": SMALL.model_copy(update=changed)}
    after = made.run("nuclei", "partition")
    assert [before[s]["result"] for s in after] != [r["result"] for r in after.values()]


@pytest.mark.parametrize(
    ("beta", "changed"), [(0.5, {"split": False}), (0.9, {"join": 0.0}), (0.9, {"join": 5.0})], ids=str
)
def test_every_parameter_of_reconcile_changes_the_result(tmp_path, beta, changed):
    pieces = {"partition": partition.Params(solver=Multicut(beta=beta))}
    made = Nucleated(tmp_path / "root", tissue((32, 64, 64), holes=0.3), cut(64, 16), {**SMALLER, **pieces})
    before = as_far_as_reconcile(made)
    made.params = {**made.params, "reconcile": reconcile.Params(**changed)}
    assert made.run("reconcile")["reconcile"]["result"] != before["reconcile"]["result"]


@pytest.mark.parametrize(
    ("role", "change", "expected"),
    [
        ("nuclei", lambda v: (v > 0).astype(np.uint8), "found 1 nucleus .* as nuclei_probability"),
        ("nuclei", np.zeros_like, "found 0 nucleus"),
        ("nuclei", lambda v: (v > 0) * 0.5, "found fractions, expected whole numbers"),
        ("nuclei_probability", lambda v: (v > 0).astype(np.uint8), "multiply a binary map by 255"),
        ("nuclei_probability", lambda v: (v > 0) * np.uint8(100), r"no nucleus of 20 voxels above 0\.9"),
        ("nuclei_probability", lambda v: (v > 0) * 2.0, "expected probabilities 0 to 1"),
    ],
)  # fmt: skip
def test_what_are_no_nuclei_is_refused_in_one_line(tmp_path, role, change, expected):
    volumes = {name: values for name, values in tissue().items() if name != "nuclei"}
    made = Nucleated(tmp_path / "root", {**volumes, role: change(tissue()["nuclei"])}, cut(64))
    with pytest.raises(BadInput, match=expected) as caught:
        made.run(*made.ingested(), "supervoxels", "nuclei")
    assert "\n" not in str(caught.value)


def merges_and_splits(truth, cells, judged):
    """Excess true cells of a segment that has the larger part of several; excess segments of a true cell that
    have two fifths of it each. (A border that runs askew through a hole is neither.)"""
    table = without(contingency_block(truth, cells))
    kept = np.isin(table.truth, judged) & (table.segment > 0)
    share = (table.count / sizes_per_row(table.truth, table.count))[kept]
    table = Contingency(table.truth[kept], table.segment[kept], table.count[kept])
    merged = np.unique(table.segment[share > 0.5], return_counts=True)[1]
    cut_up = np.unique(table.truth[share >= 0.4], return_counts=True)[1]
    return int((merged - 1).sum()), int((cut_up - 1).sum())


def cells_by(made, route):
    """Cells of a route, from supervoxels and nuclei that are there: their volume."""
    if route == "lifted":
        made.params = {**made.params, "partition": partition.Params(solver=LiftedMulticut())}
    made.run("graph", "partition", "reconcile")
    stage = "reconcile" if route == "reconcile" else "partition"
    segments = np.load(made.folder / stage / "segments.npy")
    return segments[made.read("supervoxels")]


@pytest.mark.parametrize("route", ["reconcile", "lifted"])
@pytest.mark.parametrize("seed", [1, 2])
def test_nuclei_undo_the_merges_that_holes_make_and_those_of_another_tissue_do_not(tmp_path, route, seed):
    volumes = tissue((64, 96, 96), seed, holes=0.3, cell_um=8.0, tissue=0.85)
    truth, judged = volumes["truth"], np.unique(volumes["nuclei"])[1:]
    found = {}
    for name, given in (
        ("own", volumes["nuclei"]),
        ("other", tissue((64, 96, 96), 7, cell_um=8.0, tissue=0.85)["nuclei"]),
    ):
        made = Nucleated(tmp_path / name, {**volumes, "nuclei": given}, cut(96, 16), SMALLER)
        made.run(*made.ingested(), "supervoxels", "nuclei")
        if name == "own":
            found["none"] = merges_and_splits(truth, cells_by(made, "none"), judged)
        found[name] = merges_and_splits(truth, cells_by(made, route), judged)
    (merges, splits), (left, new), (still, _) = found["none"], found["own"], found["other"]
    assert merges > 20
    assert left <= 0.2 * merges, found
    assert new <= splits + 0.02 * judged.size, found
    assert still > 0.25 * merges, found


def test_only_small_segments_inside_the_volume_are_orphans():
    size, border = np.array([100, 100, 40, 60, 40, 40]), np.array([1, 0, 0, 0, 1, 0], np.bool_)
    nucleus = np.array([5, 6, 0, 0, 0, 7], np.uint64)
    segments = np.arange(1, 7)
    flags = reconcile.orphans(segments, nucleus, size, border, 0.5)
    assert flags.tolist() == [False, False, False, True, False, False, False]
    none = reconcile.orphans(segments, np.zeros(6, np.uint64), size, border, 0.5)
    assert not none.any()  # nothing is known: nothing is done


def test_nuclei_outside_the_mask_do_not_count(tmp_path):
    mask = np.zeros(tissue()["raw"].shape, np.uint8)
    mask[:, :20] = 1
    made = Nucleated(tmp_path / "root", {**tissue(), "mask": mask}, cut(64))
    result = made.run(*made.ingested(), "supervoxels", "nuclei")["nuclei"]["result"]
    inside = np.unique(tissue()["nuclei"][:, :20])
    assert result["nuclei"] == inside.size - 1 < np.unique(tissue()["nuclei"]).size - 1
