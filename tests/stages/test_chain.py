from dataclasses import asdict

import numpy as np
import pytest
from conftest import CUT, MODULES, SHAPE, cut, tissue
from graph_tables import load_edges, load_nodes

from cellflow.core.errors import BadInput
from cellflow.engine.stage import read_receipt
from cellflow.solvers import Gasp, Multicut, MutexWatershed
from cellflow.stages import clean, graph, normalise, partition, supervoxels


def _tables(made):
    result = read_receipt(made.folder, "graph")["result"]
    table = made.folder / "graph" / "table"
    return asdict(load_edges(table, result["ranges"])), asdict(load_nodes(table, result["ranges"]))


def _tree(folder):
    """Every file that the stages leave, but for what tells seconds."""
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
        and not {"usage", "journal", ".locks"} & set(f.relative_to(folder).parts)
        and f.suffix != ".html"
    }


@pytest.fixture(scope="module")
def supervoxel_labels(tmp_path_factory):
    from conftest import Sample

    made = Sample(tmp_path_factory.mktemp("given") / "root", tissue(), cut(64, 8))
    made.run("ingest-raw", "ingest-boundaries", "supervoxels")
    return made.read("supervoxels")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, supervoxel_labels):
    """The later stages on one block that is the volume."""
    from conftest import Sample

    made = Sample(tmp_path_factory.mktemp("whole") / "root", tissue(), cut(64, 8))
    return _later(made, supervoxel_labels)


def _unseamed(receipt):
    """The result without what is measured at the faces of blocks, which other blocks have elsewhere."""
    return {name: value for name, value in receipt["result"].items() if not name.startswith("seam")}


def _later(made, labels):
    made.run("ingest-raw", "ingest-boundaries", "ingest-truth")
    made.give_supervoxels(labels)
    return made, made.run("graph", "partition", "clean", "segment", "scores")


@pytest.mark.parametrize("block", [16, (8, 24, 16), (24, 40, 8)])
def test_graph_sizes_cells_and_scores_do_not_depend_on_the_blocking(sample, whole, supervoxel_labels, block):
    expected, expected_receipts = whole
    made, receipts = _later(sample(storage=cut(block)), supervoxel_labels)
    for found, wanted in zip(_tables(made), _tables(expected), strict=True):
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    np.testing.assert_array_equal(made.read("cells"), expected.read("cells"))
    for stage in ("graph", "partition", "clean", "scores"):
        assert _unseamed(receipts[stage]) == _unseamed(expected_receipts[stage])
    assert receipts["scores"]["result"]["cells_found"] > 5  # there is something to compare


def test_a_range_of_nodes_reads_only_its_blocks_and_changes_no_table(
    sample, whole, supervoxel_labels, monkeypatch
):
    monkeypatch.setattr(graph, "NODES_PER_RANGE", 7)
    made, receipts = _later(sample(), supervoxel_labels)
    assert receipts["graph"]["result"]["ranges"] > 5
    for found, wanted in zip(_tables(made), _tables(whole[0]), strict=True):
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    np.testing.assert_array_equal(made.read("cells"), whole[0].read("cells"))


@pytest.mark.parametrize("where", ["threads", "dask"])
def test_serial_threads_and_dask_leave_the_same_receipts_and_bytes(sample, where, request):
    volumes = {name: tissue()[name] for name in ("raw", "truth")}  # with normalise and predict
    serial = sample("serial/root", volumes)
    serial.run()
    if where == "dask":
        request.getfixturevalue("on_dask")
    pair = sample("pair/root", volumes, workers=2)
    pair.run()
    found, expected = _tree(pair.folder), _tree(serial.folder)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


@pytest.mark.parametrize(
    "shape", [(5, 6, 7), (1, 40, 48), (17, 33, 16), (16, 17, 32)], ids=["tiny", "one slice", "thin ends", "1"]
)
def test_any_shape_runs_to_its_report(sample, shape):
    volumes = {name: values[tuple(slice(0, n) for n in shape)] for name, values in tissue().items()}
    made = sample(volumes=volumes)
    receipts = made.run()
    cells = made.read("cells")
    assert cells.shape == shape
    assert cells.max() == receipts["clean"]["result"]["cells"]
    assert receipts["segment"]["result"]["foreground"] == np.count_nonzero(cells)
    assert (made.folder / "report.html").stat().st_size > 1000


def test_a_mask_restricts_cells_and_may_exclude_whole_blocks(sample):
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 5:24, 3:30] = 255
    made = sample(
        volumes={**tissue(), "mask": mask}, params={"supervoxels": CUT, "clean": clean.Params(min_size=0)}
    )
    receipts = made.run()
    np.testing.assert_array_equal(made.read("cells") > 0, mask > 0)
    assert receipts["segment"]["result"]["foreground"] == np.count_nonzero(mask)


def test_an_empty_mask_is_refused(sample):
    made = sample(volumes={**tissue(), "mask": np.zeros(SHAPE, np.uint8)})
    with pytest.raises(BadInput, match="every voxel is 0"):
        made.run("ingest-raw", "ingest-mask")


def test_blocks_of_one_value_are_supervoxels_too(sample):
    boundaries = tissue()["boundaries"].copy()
    boundaries[:, :16, :16] = 0
    boundaries[:, 16:32, 16:32] = 255
    made = sample(volumes={**tissue(), "boundaries": boundaries})
    made.run()
    assert (made.read("supervoxels") > 0).all()


def test_no_cell_at_all_is_a_result(sample):
    made = sample(params={"supervoxels": CUT, "clean": clean.Params(min_size=10**6)})
    receipts = made.run()
    assert receipts["clean"]["result"]["cells"] == 0
    assert receipts["segment"]["result"]["foreground"] == 0
    assert receipts["scores"]["result"]["cells_found"] == 0
    assert not made.read("cells").any()
    assert "No cell was found" in (made.folder / "report.html").read_text()


@pytest.mark.parametrize("block", [16, 64])
def test_one_cell_fills_the_volume(sample, block):
    boundaries = np.zeros((16, 24, 24), np.uint8)
    boundaries[0, 0, 0] = 40  # far below the threshold
    raw, truth = np.arange(boundaries.size).reshape(boundaries.shape), np.ones(boundaries.shape, np.uint64)
    made = sample(
        volumes={"raw": raw.astype(np.uint16), "boundaries": boundaries, "truth": truth}, storage=cut(block)
    )
    receipts = made.run()
    assert receipts["scores"]["result"]["cells_found"] == 1
    assert (made.read("cells") == 1).all()


def test_a_binary_map_of_zeros_and_ones_is_no_boundary_map(sample):
    made = sample(volumes={"boundaries": (tissue()["boundaries"] > 100).astype(np.uint8)})
    with pytest.raises(BadInput, match="multiply a binary map by 255"):
        made.run("ingest-boundaries")


NORMALISE = {"method": "mean_std", "low": 20.0, "high": 70.0, "per_z": 3}
SUPERVOXELS = {
    "threshold": 0.1,
    "sigma_seeds": 3.0,
    "sigma_heights": 1.0,
    "min_size": 200,
    "max_distance": 2.0,
    "anisotropic": False,
    "per_slice": True,
    "blocks": supervoxels.Independent(),
}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    from conftest import Sample

    made = Sample(tmp_path_factory.mktemp("started") / "root", tissue(), cut(24, 8))
    made.run("ingest-raw", "ingest-boundaries")
    return made


def _result(made, stage, p):
    made.params[stage] = p
    return made.run(stage)[stage]["result"]


@pytest.mark.parametrize(("name", "value"), NORMALISE.items())
def test_every_parameter_of_normalise_changes_the_statistics(started, name, value):
    assert _result(started, "normalise", normalise.Params(**{name: value})) != _result(
        started, "normalise", normalise.Params()
    )


@pytest.mark.parametrize(("name", "value"), SUPERVOXELS.items())
def test_every_parameter_of_supervoxels_changes_the_volume(started, name, value):
    changed = CUT.model_copy(update={name: value})
    assert _result(started, "supervoxels", changed) != _result(started, "supervoxels", CUT)


def test_the_lists_above_name_every_parameter():
    assert NORMALISE.keys() == normalise.Params.model_fields.keys()
    # `mutex` is for affinities: tests/stages/test_supervoxels_mutex.py
    assert SUPERVOXELS.keys() | {"mutex"} == supervoxels.Params.model_fields.keys()
    assert MODULES["graph"].Params.model_fields.keys() == {"quantiles"}
    # `solve_at_once` shows in the levels: tests/stages/test_partition_levels.py
    assert partition.Params.model_fields.keys() == {"evidence", "solver", "solve_at_once"}


def test_low_must_lie_below_high():
    with pytest.raises(ValueError, match="expected low below high"):
        normalise.Params(low=60, high=50)


def test_quantiles_of_the_graph_are_evidence_for_the_partition(sample, whole):
    made = whole[0]
    base = made.run("partition")["partition"]["result"]
    made.params["partition"] = partition.Params(evidence=0.9)
    try:
        assert made.run("partition")["partition"]["result"]["energy"] != base["energy"]
        made.params["partition"] = partition.Params(evidence=0.33)
        with pytest.raises(BadInput, match=r"found 0\.33, expected 'mean' or one of the quantiles"):
            made.run("partition")
    finally:
        del made.params["partition"]
        made.run("partition")


@pytest.mark.parametrize("solver", [Multicut, Gasp, MutexWatershed])
def test_a_solver_of_a_higher_beta_cuts_more(whole, solver):
    made = whole[0]
    try:
        few, many = (
            _result(made, "partition", partition.Params(solver=solver(beta=beta)))["segments"]
            for beta in (0.2, 0.95)
        )
    finally:
        del made.params["partition"]
        made.run("partition")
    assert few < many
