"""A run may start from affinities: their pairs give the edges, and the weakest of them the boundaries."""

from dataclasses import asdict, dataclass
from functools import cache

import h5py
import numpy as np
import pytest
from conftest import VOXEL_UM, Sample, cut, tissue
from graph_tables import load_edges, load_long_range, load_nodes

from cellflow.core.affinities import affinities as affinities_of
from cellflow.core.affinities import is_direct
from cellflow.core.errors import BadInput
from cellflow.core.grid import Grid
from cellflow.core.phantom import Phantom, phantom_block
from cellflow.engine.stage import Job, execute, read_receipt
from cellflow.engine.store import open_read
from cellflow.solvers import Multicut
from cellflow.stages import affinities, graph, supervoxels

DIRECT = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
OFFSETS = (*DIRECT, (-3, 0, 0), (0, 9, 0), (0, -5, 7), (0, 0, 1))
CHAIN = ("supervoxels", "graph", "partition", "clean", "segment", "scores")
AFTER = {"supervoxels": ("affinities",), "graph": ("affinities", "supervoxels")}


@cache
def given(offsets=OFFSETS):
    return affinities_of(tissue()["truth"], offsets)


def write(path, values, name="affinities"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[name] = values


@dataclass
class Started(Sample):
    """A sample whose boundaries and edges come from affinities."""

    values: np.ndarray | None = None
    offsets: tuple = OFFSETS

    def job(self, name):
        if name == "affinities":
            p = self.source()
            return Job(
                *(name, self.folder, p, self.storage, ("ingest-raw",)),
                private=affinities.PRIVATE,
                stamp=affinities.stamp(p),
            )
        if name in AFTER:
            module = {"supervoxels": supervoxels, "graph": graph}[name]
            p = self.params.get(name) or module.Params()
            masked = ("ingest-mask",) * (name == "supervoxels" and "mask" in self.volumes)
            return Job(name, self.folder, p, self.storage, (*AFTER[name], *masked))
        return super().job(name)

    def source(self):
        path = self.folder.parent / f"{self.folder.name}-affinities.h5"
        if not path.exists():
            write(path, given(self.offsets) if self.values is None else self.values)
        return affinities.Params(path=str(path), offsets=self.offsets)

    def start(self):
        self.run("ingest-raw", "ingest-truth")
        return execute(affinities, self.job("affinities"), 1)

    def finish(self):
        return {"affinities": self.start(), **self.run(*CHAIN)}

    def tables(self):
        ranges = read_receipt(self.folder, "graph")["result"]["ranges"]
        table = self.folder / "graph" / "table"
        return [asdict(load(table, ranges)) for load in (load_edges, load_long_range, load_nodes)]


def started(folder, block=64, **more):
    volumes = {name: tissue()[name] for name in ("raw", "truth")}
    return Started(folder / "root", volumes, cut(block), **more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """On one block that is the volume."""
    made = started(tmp_path_factory.mktemp("whole"))
    return made, made.finish()


def results(receipts):
    """The results without checksums, which are those of blocks, and without what is measured at faces."""
    return {
        stage: {
            k: v for k, v in receipt["result"].items() if "checksum" not in k and not k.startswith("seam")
        }
        for stage, receipt in receipts.items()
    }


@pytest.mark.parametrize(("turned", "low", "high"), [(False, 0, 0.05), (True, 0.3, 1)])
def test_perfect_affinities_lead_to_the_cells_and_turned_ones_do_not(tmp_path, turned, low, high):
    shape = (24, 48, 48)  # of cells 32 voxels wide: boundaries of two voxels leave little of smaller ones
    p = Phantom(shape=shape, voxel_size_um=VOXEL_UM, cell_um=8.0, tissue=1.0, seed=1)
    made = phantom_block(p, tuple(slice(0, n) for n in shape))
    perfect = affinities_of(made.labels, OFFSETS)
    sample = started(tmp_path, 24, values=~perfect if turned else perfect)
    sample.volumes = {"raw": made.raw, "truth": made.labels}
    found = sample.finish()["scores"]["result"]
    assert found["cells_true"] > 20
    assert low <= found["adapted_rand_error"] < high


@pytest.mark.parametrize("block", [16, (8, 24, 16), (24, 40, 8)])
def test_receipts_tables_and_cells_do_not_depend_on_the_blocking(tmp_path, whole, block):
    expected, receipts = whole
    made = started(tmp_path, block)
    assert results(made.finish()) == results(receipts)
    for found, wanted in zip(made.tables(), expected.tables(), strict=True):
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    for name in ("boundaries", "cells"):
        np.testing.assert_array_equal(made.read(name), expected.read(name))


def test_ranges_of_nodes_change_no_table(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(graph, "NODES_PER_RANGE", 7)
    made = started(tmp_path, 16)
    found = made.finish()["graph"]["result"]
    assert found["ranges"] > 3
    for table, wanted in zip(made.tables(), whole[0].tables(), strict=True):
        for name, values in wanted.items():
            np.testing.assert_array_equal(table[name], values, err_msg=name)


def test_edges_are_the_pairs_of_the_channels_counted_one_by_one(whole):
    made, receipts = whole
    labels = made.read("supervoxels").astype(np.int64)
    local, long_range, _ = made.tables()
    for table, direct in ((local, True), (long_range, False)):
        expected = pairs(labels, direct=direct)
        assert [tuple(e) for e in table["edges"].tolist()] == sorted(expected)
        seen = [expected[tuple(e)] for e in table["edges"].tolist()]
        np.testing.assert_array_equal(table["size"], [len(s) for s in seen])
        np.testing.assert_allclose(table["mean"], [np.mean(s) for s in seen], rtol=0, atol=1e-12)
    counts = receipts["graph"]["result"]
    assert counts["edges"] == len(local["edges"])
    assert counts["contacts"] == local["size"].sum()
    assert counts["long_range_edges"] == len(long_range["edges"]) > 0


def pairs(labels, *, direct):
    """Boundary probabilities of every edge, voxel by voxel."""
    found = {}
    chosen = [k for k, one in enumerate(is_direct(OFFSETS)) if one == direct]
    for k in chosen:
        for i in np.ndindex(labels.shape):
            j = tuple(a + d for a, d in zip(i, OFFSETS[k], strict=True))
            if all(0 <= a < n for a, n in zip(j, labels.shape, strict=True)) and labels[i] != labels[j]:
                edge = tuple(sorted((int(labels[i]), int(labels[j]))))
                found.setdefault(edge, []).append(1 - given()[k][i] / 255)
    return found


def test_the_solver_is_given_the_long_range_edges(whole, monkeypatch):
    made, receipts = whole
    solve, given = Multicut.__call__, []
    monkeypatch.setattr(Multicut, "__call__", lambda self, graph: given.append(graph) or solve(self, graph))
    assert made.run("partition")["partition"] == receipts["partition"]  # this solver does not look at them
    _, long_range, _ = made.tables()
    found = given[0].long_range
    np.testing.assert_array_equal(found.edges + 1, long_range["edges"])
    np.testing.assert_array_equal(found.boundary, long_range["mean"])
    np.testing.assert_array_equal(found.sizes, long_range["size"])
    assert given[0].lifted is None


def test_a_voxel_is_as_much_boundary_as_its_weakest_pair(rng):
    shape, offsets = (3, 4, 5), (*DIRECT, (0, 0, 1))
    values = rng.integers(0, 256, (len(offsets), *shape), dtype=np.uint8)
    found = affinities.boundaries_block(values, offsets, tuple(slice(0, n) for n in shape))
    for i in np.ndindex(shape):
        ends = []
        for k, step in enumerate(offsets):
            there, before = np.add(i, step), np.subtract(i, step)
            if ((there >= 0) & (there < shape)).all():
                ends.append(values[(k, *i)])
            if ((before >= 0) & (before < shape)).all():
                ends.append(values[(k, *before)])
        assert found[i] == 255 - min(ends)


def test_boundaries_need_a_halo_of_one_voxel_and_no_more(rng):
    shape = (6, 7, 8)
    values = rng.integers(0, 256, (3, *shape), dtype=np.uint8)
    expected = affinities.boundaries_block(values, DIRECT, tuple(slice(0, n) for n in shape))

    def blockwise(halo):
        out = np.zeros(shape, np.uint8)
        for b in Grid(shape, (3, 3, 4), halo):
            out[b.core] = affinities.boundaries_block([v[b.outer] for v in values], DIRECT, b.crop)
        return out

    np.testing.assert_array_equal(blockwise(affinities.HALO), expected)
    assert (blockwise((0, 0, 0)) != expected).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_channels_are_kept_as_bytes_of_one_meaning(tmp_path, rng, dtype):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    values = (rng.random((3, *tissue()["truth"].shape)) * top).astype(dtype)
    made = started(tmp_path, 16, values=values, offsets=DIRECT)
    made.start()
    for k in range(3):
        stored = np.asarray(open_read(made.folder / "affinities" / str(k))[:])
        np.testing.assert_array_equal(stored, np.rint(values[k].astype(np.float64) * (255 / top)))


def test_other_offsets_change_the_result_and_nothing_private_is_told(tmp_path, whole):
    made = started(tmp_path, offsets=OFFSETS[:4])
    found, before = made.finish(), whole[1]
    assert found["graph"]["result"]["long_range_edges"] != before["graph"]["result"]["long_range_edges"]
    assert found["graph"]["inputs"]["affinities"] != before["graph"]["inputs"]["affinities"]
    assert made.job("affinities").key() != whole[0].job("affinities").key()
    assert "root-affinities" not in (made.folder / "affinities.json").read_text()
    assert found["affinities"]["params"] == {"offsets": [list(step) for step in OFFSETS[:4]]}


def test_swapped_offsets_are_another_result(tmp_path, whole):
    swapped = (OFFSETS[2], OFFSETS[1], OFFSETS[0], *OFFSETS[3:])
    made = started(tmp_path, values=given(), offsets=swapped)
    made.start()
    assert (made.read("boundaries") != whole[0].read("boundaries")).any()


def test_the_page_is_made_of_affinities_too(whole):
    made = whole[0]
    made.run("report")
    assert "offsets" in (made.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (np.nan, np.float32, r"offset 1 \[0, -1, 0\], box at .* found nan at z, y, x = \(17, 3, 5\)"),
        (2.5, np.float32, "expected probabilities 0 to 1"),
        (-1, np.int16, "expected probabilities 0 to 1"),
    ],
)
def test_what_is_no_affinity_is_refused_with_its_place(tmp_path, value, dtype, expected):
    values = given(DIRECT).astype(dtype) / (255 if dtype == np.float32 else 1)
    values = values.astype(dtype)
    values[1, 17, 3, 5] = value
    with pytest.raises(BadInput, match=expected) as caught:
        started(tmp_path, 16, values=values, offsets=DIRECT).start()
    assert "\n" not in str(caught.value)


def test_binary_affinities_of_zeros_and_ones_are_refused(tmp_path):
    made = started(tmp_path, values=given(DIRECT) // 255, offsets=DIRECT)
    with pytest.raises(BadInput, match="multiply binary ones by 255"):
        made.start()


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        (OFFSETS, "found 3 channels .* expected at least 7: one for each of 7 offsets from channel 0"),
        (DIRECT[:2], "no direct neighbour along x .* add \\[0, 0, -1\\]"),
        (((-1, 0, 0), (0, -2, 0), (0, 0, 1)), "no direct neighbour along y"),
    ],
)
def test_offsets_that_do_not_fit_the_file_are_refused_in_one_line(tmp_path, offsets, expected):
    made = started(tmp_path, values=given(DIRECT), offsets=offsets)
    with pytest.raises(BadInput, match=expected) as caught:
        made.start()
    assert "\n" not in str(caught.value)


def test_a_single_slice_needs_no_neighbour_along_z(tmp_path):
    write(tmp_path / "slice.h5", np.full((2, 1, 6, 7), 255, np.uint8))
    p = affinities.Params(path=str(tmp_path / "slice.h5"), offsets=DIRECT[1:])
    assert [volume.channel for volume in affinities.open_channels(p)] == [0, 1]


def test_channels_are_counted_from_the_first_one(tmp_path):
    write(tmp_path / "more.h5", np.zeros((6, 2, 6, 7), np.uint8))
    p = affinities.Params(path=str(tmp_path / "more.h5"), channel=2, offsets=DIRECT)
    assert [volume.channel for volume in affinities.open_channels(p)] == [2, 3, 4]
    with pytest.raises(BadInput, match=r"found 6 channels .* expected at least 7"):
        affinities.open_channels(p.model_copy(update={"channel": 4}))
