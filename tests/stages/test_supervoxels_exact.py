"""The stage as a whole: the same bits whatever the blocks, up to the final cells."""

import numpy as np
import pytest
from conftest import CUT, SHAPE, Sample, cut, tissue

from cellflow.stages import clean, supervoxels

STAGES = ("ingest-raw", "ingest-boundaries", "supervoxels", "graph", "partition", "clean", "segment")
BLOCKS = [(8, 16, 8), (24, 8, 24), (8, 40, 16), (16, 24, 48)]


def _made(folder, storage, volumes=None, params=None, stages=STAGES):
    given = {"supervoxels": CUT, "clean": clean.Params(min_size=20), **(params or {})}
    made = Sample(folder / "root", volumes or tissue(), storage, given)
    made.run(*stages)
    return made


@pytest.fixture(scope="module")
def as_one_block(tmp_path_factory):
    return _made(tmp_path_factory.mktemp("one"), cut(64, 8))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_supervoxels_and_cells_are_the_same_bits_for_any_blocks(tmp_path, as_one_block, block):
    made = _made(tmp_path, cut(block, 8))
    assert as_one_block.read("supervoxels").max() > 20  # there is something to compare
    np.testing.assert_array_equal(made.read("supervoxels"), as_one_block.read("supervoxels"))
    np.testing.assert_array_equal(made.read("cells"), as_one_block.read("cells"))


def test_independent_blocks_fail_where_exact_ones_agree(tmp_path, as_one_block):
    """The negative control: the comparison above can fail."""
    params = {"supervoxels": CUT.model_copy(update={"blocks": supervoxels.Independent()})}
    made = _made(tmp_path, cut(8, 8), params=params)
    assert made.read("supervoxels").max() > as_one_block.read("supervoxels").max()


@pytest.mark.parametrize(
    ("change", "volumes"),
    [
        ({"per_slice": True}, {}),
        ({"sigma_heights": 1.0}, {}),
        ({"min_size": 300}, {}),
        ({"min_size": 0, "sigma_seeds": 0.0}, {}),
        ({}, {"mask": np.indices(SHAPE).sum(0) % 17 > 2}),
        ({}, {"boundaries": np.zeros(SHAPE, np.uint8) + 7}),
        ({}, {"boundaries": np.full(SHAPE, 255, np.uint8)}),
    ],
    ids=["per slice", "smoothed heights", "large min size", "every maximum", "mask", "flat", "all boundary"],
)
def test_so_they_are_with_other_settings_and_maps(tmp_path, change, volumes):
    params = {"supervoxels": CUT.model_copy(update=change)}
    given = {**tissue(), **{name: values.astype(np.uint8) for name, values in volumes.items()}}
    stages = (
        "ingest-raw",
        "ingest-boundaries",
        *(["ingest-mask"] if "mask" in volumes else []),
        "supervoxels",
    )
    one, many = (
        _made(tmp_path / name, storage, given, params, stages)
        for name, storage in (("one", cut(64, 8)), ("many", cut(16, 8)))
    )
    np.testing.assert_array_equal(many.read("supervoxels"), one.read("supervoxels"))


def test_seams_are_seen_without_halo_and_not_in_exact_mode(tmp_path):
    stages = ("ingest-raw", "ingest-truth", *STAGES[1:], "scores")
    found = {}
    for name, blocks in (("exact", supervoxels.Exact()), ("blind", supervoxels.Independent(halo=False))):
        params = {"supervoxels": CUT.model_copy(update={"blocks": blocks})}
        made = Sample(tmp_path / name, tissue(), cut(8, 8), {**params, "clean": clean.Params(min_size=20)})
        found[name] = made.run(*stages)["scores"]["result"]
    assert abs(found["exact"]["seam_excess"]) < 3 * found["exact"]["seam_noise"]
    assert found["blind"]["seam_excess"] > 3 * found["blind"]["seam_noise"]
