"""A network predicts a volume tile by tile, and nothing tells where tiles and blocks were."""

import hashlib
import json
import logging
import resource
from dataclasses import replace
from itertools import product
from math import inf
from threading import Event

import numpy as np
import psutil
import pytest
import torch
from conftest import cut, tissue
from hypothesis import given, settings
from hypothesis import strategies as st
from predicting import Predicted, image_of, lively, predictor, tiled, untiled

from cellflow.core.errors import BadInput, BlocksFailed
from cellflow.core.tiles import Lattice
from cellflow.engine.cluster import Crew
from cellflow.engine.stage import Context
from cellflow.networks import device
from cellflow.networks import session as sessions
from cellflow.networks.normalisation import Fixed, MeanStd, Percentile
from cellflow.networks.session import Session
from cellflow.stages import normalise
from cellflow.stages import predict as module
from cellflow.stages.predict import image as images
from cellflow.stages.predict import probe as probes
from cellflow.stages.predict import tiled as stage
from cellflow.stages.predict import tiles
from cellflow.stages.predict.need import network_crew
from cellflow.stages.predict.network import facts_of
from cellflow.stages.predict.tiles import shown

RAW = tissue()["raw"]
PAIRS = {"name": "affinities", "offsets": [[0, 0, -1]]}
GROUPS = {"layer_order": "gcr", "num_groups": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Saved networks of random weights, by what is particular to them."""
    folder = tmp_path_factory.mktemp("models")
    blocks = {"two": {}, "three": {"num_levels": 3}, "groups": GROUPS, "flat": {"name": "UNet2D"}}
    return {name: lively(folder / name, **block) for name, block in blocks.items()}


@pytest.fixture
def sample(tmp_path, models):
    def make(name="root", block=24, model="two", volumes=None, workers=1, **more) -> Predicted:
        p = predictor(models.get(model, model), **more)
        given = volumes or {"raw": RAW}
        return Predicted(tmp_path / name / "root", given, cut(block), workers=workers, network=p)

    return make


@pytest.mark.parametrize(("model", "core"), [("two", 1), ("three", 2)])
@settings(max_examples=6)
@given(data=st.data())
def test_tiled_is_untiled(models, model, core, data):
    p = predictor(
        models[model],
        blending=data.draw(st.sampled_from([{"name": "crop"}, {"name": "gaussian", "overlap": 4}])),
    )
    shape = tuple(data.draw(st.integers(1, 24)) for _ in range(3))
    raw = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 4000, shape, dtype=np.uint16)
    raw.flat[0] = 9
    period = facts_of(p).period
    sides = tuple(data.draw(st.integers(core, 4)) * 2 * n for n in period)
    image = image_of(raw, scale=raw.std() + 1)
    found = tiled(Session(p.spec, stage.Setting(facts_of(p).outputs)), image, p, sides)
    assert found.shape == (1, *shape)
    assert np.abs(found - untiled(p, image)).max() < 1e-4


def seam(models, p, image=None, core=(12, 20, 24)):
    image = image or image_of(RAW)
    running = Session(p.spec, stage.Setting(facts_of(p).outputs))
    return np.abs(tiled(running, image, p, core) - untiled(p, image)).max()


def test_it_would_not_be_with_a_smaller_halo(models):
    reach = facts_of(predictor(models["three"])).reach
    assert seam(models, predictor(models["three"])) < 1e-4
    assert seam(models, predictor(models["three"], halo=[n // 4 for n in reach])) > 1e-3


def test_it_would_not_be_if_tiles_were_mirrored_at_their_own_ends(models, monkeypatch):
    def mirrored_at_the_tile(values, corner, outer, shape):
        margin = [(16 + 2 * 24 - 16) // 2] * 3
        inside = [
            range(max(0, o.start + m), min(n, o.stop - m))
            for o, m, n in zip(outer, margin, shape, strict=True)
        ]
        own = values[tuple(slice(r.start - c, r.stop - c) for r, c in zip(inside, corner, strict=True))]
        pad = [(r.start - o.start, o.stop - r.stop) for r, o in zip(inside, outer, strict=True)]
        return np.pad(own, pad, mode="reflect")

    p = predictor(models["three"])
    assert facts_of(p).lattice(RAW.shape, p).margin == (24, 24, 24)
    assert seam(models, p) < 1e-4
    monkeypatch.setattr(images, "filled", mirrored_at_the_tile)
    assert seam(models, p) > 1e-3


def test_it_would_not_be_if_tiles_started_between_the_periods(models, monkeypatch):
    p = predictor(models["three"])
    moved = Lattice._tile

    def uneven(lattice, at):
        tile = moved(lattice, at)
        outer = tuple(range(o.start - 1, o.stop - 1) for o in tile.outer)
        inner = tuple(slice(i.start + 1, i.stop + 1) for i in tile.inner)
        return replace(tile, outer=outer, inner=inner)

    assert seam(models, p) < 1e-4
    monkeypatch.setattr(Lattice, "_tile", uneven)
    assert seam(models, p) > 1e-3


def test_nor_is_it_with_a_network_that_looks_at_its_tile(models):
    assert seam(models, predictor(models["groups"])) > 1e-3


@pytest.fixture(scope="module")
def expected(tmp_path_factory, models):
    """Boundaries and result on one block that is the volume."""
    p = predictor(models["two"], tile=[8, 16, 16])
    made = Predicted(tmp_path_factory.mktemp("one") / "root", {"raw": RAW}, cut(64), network=p)
    return made.predict(), made.read("boundaries")


def unblocked(result):
    return {name: value for name, value in result.items() if name != "checksum"}


@pytest.mark.parametrize("block", [16, 24, (8, 16, 48), (8, 24, 40)])
def test_blocks_cannot_be_seen_to_the_bit(sample, expected, block):
    made = sample(block=block, tile=[8, 16, 16])
    assert unblocked(made.predict()) == unblocked(expected[0])
    np.testing.assert_array_equal(made.read("boundaries"), expected[1])


def test_blocks_may_compute_their_own_tiles_or_put_saved_ones_together(sample, expected, monkeypatch):
    lattice = facts_of(sample().network).lattice(RAW.shape, sample().network, (8, 16, 16))
    grid = cut(16).fitted(RAW.shape).grid()
    assert len(stage.lots_of(lattice, grid, 1)) == len(lattice) > len(grid)
    assert len(stage.lots_of(lattice, grid, 4)) == -(-len(lattice) // 4)
    monkeypatch.setattr(stage, "FEW", 4)
    assert stage.lots_of(lattice, grid, 1) is None
    made = sample(block=16, tile=[8, 16, 16])
    made.predict()
    np.testing.assert_array_equal(made.read("boundaries"), expected[1])
    across = cut((8, 24, 40)).fitted(RAW.shape).grid()
    lots = stage.lots_of(lattice, across, 1)
    assert [lot.id for lot in lots] == [block.id for block in across]
    assert sorted(number for lot in lots for number in lot.tiles) == list(range(len(lattice)))
    made = sample("across", block=(8, 24, 40), tile=[8, 16, 16])
    made.predict()
    np.testing.assert_array_equal(made.read("boundaries"), expected[1])


def test_workers_leave_the_same_receipt_and_bytes(sample, on_dask, monkeypatch):
    pair = [sample(name, block=24, tile=[8, 16, 16], workers=n) for name, n in (("dask", 2), ("serial", 1))]
    pair[0].predict()
    monkeypatch.undo()
    pair[1].predict()
    found, wanted = ((made.folder / "predict.json").read_bytes() for made in pair)
    assert found == wanted
    np.testing.assert_array_equal(*(made.read("boundaries") for made in pair))


def test_other_tiles_and_batches_are_other_bits_at_most(sample, expected):
    for number, more in enumerate([{}, {"tile": [8, 10, 24], "batch": 3}]):
        made = sample(str(number), **more)
        made.predict()
        assert np.abs(made.read("boundaries").astype(int) - expected[1]).max() <= 1


def test_the_receipt_tells_the_model_and_the_tiles_and_nothing_private(sample, expected, models):
    made = sample(tile=[8, 16, 16], batch=2)
    result = made.predict()
    text = (made.folder / "predict.json").read_text()
    told = json.loads(text)["params"]["predictor"]
    assert str(models["two"]) not in text
    assert not {"model", "device", "batch", "compile", "memory_gb"} & set(told)
    assert told["blending"] == {"name": "crop"}
    assert result["model"] == hashlib.sha256(models["two"].read_bytes()).hexdigest()
    assert (result["tile"], result["halo"], result["tiles"]) == ([8, 16, 16], [10, 10, 10], 27)
    assert result["warnings"] == []
    assert unblocked(result) == unblocked(expected[0])


@pytest.mark.parametrize(
    "change",
    [
        {"model": "three"}, {"flips": "x"}, {"precision": "bfloat16"}, {"halo": [2, 2, 2], "tile": [8, 8, 8]},
        {"normalisation": {"name": "percentile"}}, {"normalisation": {"name": "percentile", "high": 90}},
        {"normalisation": {"name": "fixed", "scale": 9000}},
    ],
)  # fmt: skip
def test_what_changes_the_prediction_changes_it(sample, expected, change):
    made = sample(**change)
    made.predict()
    assert np.abs(made.read("boundaries").astype(int) - expected[1]).max() > 1


def test_blending_hides_seams_where_tiles_leave_some(sample):
    hard, soft = (
        sample("hard", model="groups", tile=[8, 16, 16]),
        sample("soft", model="groups", tile=[8, 16, 16], blending={"name": "gaussian", "overlap": 8}),
    )
    for made in (hard, soft):
        made.predict()
    jumps = [
        np.abs(np.diff(made.read("boundaries").astype(int), axis=2))[:, :, 15::16].mean()
        for made in (hard, soft)
    ]
    assert jumps[1] < jumps[0]


def test_a_flat_network_sees_one_slice_at_a_time(sample, models):
    made = sample(model="flat")
    made.predict()
    found = made.read("boundaries")
    image = image_of(RAW)
    np.testing.assert_allclose(found / 255, untiled(made.network, image)[0], atol=0.003)
    same = {"name": "fixed", "offset": float(RAW.mean()), "scale": float(RAW.std())}
    alone = sample("slice", model="flat", volumes={"raw": RAW[7:8]}, normalisation=same)
    alone.predict()
    assert np.abs(alone.read("boundaries")[0].astype(int) - found[7]).max() <= 1


@pytest.mark.parametrize("per_z", [0, 1])
def test_statistics_are_those_of_the_whole_volume_or_of_each_slice(sample, per_z):
    made = sample()
    made.params["normalise"] = normalise.Params(per_z=per_z)
    made.run("ingest-raw", "normalise")
    context = Context(made.job("predict"), pool=None, key="")
    parts = list(RAW) if per_z else [RAW]
    for expected_, by_hand in [
        (MeanStd(), [(part.mean(), part.std()) for part in parts]),
        (Percentile(low=5, high=95), [(low, high - low) for low, high in (percentiles(p) for p in parts)]),
        (Fixed(offset=3, scale=9), [(3, 9)] * len(parts)),
    ]:
        image = images.image_of(context, expected_)
        np.testing.assert_allclose(np.stack([image.offset, image.scale], 1), by_hand, rtol=1e-3)
    lattice = Lattice(RAW.shape, (8, 16, 16), (2, 2, 2), (4, 4, 4))
    whole = np.pad((RAW - np.float32(3)) / 9, 40, mode="reflect")
    tile, found = next(shown(image, [lattice[0]]))
    np.testing.assert_allclose(found, whole[tuple(slice(o.start + 40, o.stop + 40) for o in tile.outer)])


def percentiles(part):
    return np.percentile(part, [5, 95], method="inverted_cdf")


def test_where_the_mask_is_empty_nothing_is_computed_and_inside_nothing_changes(
    sample, expected, monkeypatch
):
    mask = np.zeros(RAW.shape, np.uint8)
    mask[2:7, 3:14, 5:30] = 1
    made = sample(volumes={"raw": RAW, "mask": mask}, tile=[8, 16, 16])
    computed = []
    submit = Session.submit
    monkeypatch.setattr(Session, "submit", lambda *a, **k: computed.append(1) or submit(*a, **k))
    made.predict()
    assert len(computed) <= 3  # two tiles with some of the mask, and the one that is tried first
    found = made.read("boundaries")
    np.testing.assert_array_equal(found[mask > 0], expected[1][mask > 0])
    assert not found[mask == 0].any()


def test_tiles_of_nothing_but_background_are_left_out():
    raw = np.full((8, 8, 64), 3, np.uint16)
    raw[:, :, 40:] = 9
    image = replace(image_of(raw), background=3.0)
    lattice = Lattice(raw.shape, (8, 8, 8), halo=(4, 4, 4))
    assert [tile.at[2] for tile, _ in shown(image, list(lattice))] == [5 - 1, 5, 6, 7]


def test_a_precision_that_this_cpu_does_not_have_is_warned_of_but_not_in_the_receipt(
    sample, caplog, monkeypatch
):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with caplog.at_level(logging.WARNING, "cellflow"):
        assert sample(precision="bfloat16").predict()["warnings"] == []
    assert "precision bfloat16 is many times slower than float32 on this CPU" in caplog.text


def test_a_network_with_group_norm_is_warned_of_with_a_number(sample, caplog):
    made = sample(model="groups", tile=[8, 16, 16], volumes={n: tissue()[n] for n in ("raw", "truth")})
    with caplog.at_level(logging.WARNING, "cellflow"):
        result = made.predict()
    assert 0 < result["seams"]["mean"] < result["seams"]["largest"] < 1
    (line,) = result["warnings"]
    assert "because of GroupNorm: from tile to tile the same voxels differ by up to" in line
    assert f"up to {result['seams']['largest']:.2g} (mean {result['seams']['mean']:.2g})" in line
    assert line in caplog.text
    made.run("supervoxels", "graph", "partition", "clean", "segment", "scores", "report")
    assert "because of GroupNorm" in (made.folder / "report.html").read_text()


def test_a_halo_of_less_than_the_reach_is_warned_of_too(sample):
    result = sample(model="three", halo=[4, 4, 4], tile=[8, 16, 16]).predict()
    assert "because of a halo of less than its reach" in result["warnings"][0]
    assert sample("one", model="groups").predict()["warnings"] == []  # one tile leaves no seam


def test_voxels_of_another_size_are_warned_of(sample):
    near, far = ([n * f for n in (0.5, 0.25, 0.25)] for f in (1.2, 1.4))
    assert sample("near", voxel_size_um=near).predict()["warnings"] == []
    (line,) = sample("far", voxel_size_um=far).predict()["warnings"]
    assert line.startswith("voxels are 0.5 x 0.25 x 0.25 um, the network was trained on 0.7 x 0.35 x 0.35 um")


def limited(monkeypatch, voxels):
    """A device that has no room for more voxels than these, which is found out by trying."""
    monkeypatch.setattr(probes, "PLENTY", inf)
    compute = Session._compute

    def small(self, batch, region):
        if batch[0].numel() > voxels:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return compute(self, batch, region)

    monkeypatch.setattr(Session, "_compute", small)


def test_a_tile_shrinks_until_it_fits_and_a_continued_run_keeps_it(sample, expected, monkeypatch):
    limited(monkeypatch, 40 * 60 * 40)
    made, write = sample(), stage.store.write_block
    monkeypatch.setattr(stage.store, "write_block", lambda *_: 1 / 0)
    with pytest.raises(BlocksFailed):
        made.predict()
    monkeypatch.setattr(stage.store, "write_block", write)
    limited(monkeypatch, 10**9)
    result = made.predict()
    assert result["tile"] == [18, 36, 18]
    assert np.abs(made.read("boundaries").astype(int) - expected[1]).max() <= 1


def test_where_memory_is_plenty_no_tile_is_computed_before_the_rest(sample, monkeypatch):
    computed, compute = [], Session._compute
    monkeypatch.setattr(Session, "_compute", lambda *a: computed.append(1) or compute(*a))
    for plenty, before in ((1, 0), (inf, 1)):
        monkeypatch.setattr(probes, "PLENTY", plenty)
        made, told = sample(str(plenty)), []
        monkeypatch.setattr(stage, "tile_note", lambda _, told=told: told.append(len(computed)) or "")
        computed.clear()
        result = made.predict()
        assert told == [before]
        assert len(computed) == result["tiles"]


def test_a_tile_shrinks_where_the_process_may_have_less_than_is_free(sample, monkeypatch):
    made, need = sample(), probes.tile_bytes
    tried = []
    monkeypatch.setattr(probes, "PLENTY", 1)
    monkeypatch.setattr(
        probes, "tile_bytes", lambda *a: tried.append(1) or (need(*a), 2**30)[len(tried) == 1]
    )
    made.run("ingest-raw", "normalise")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**29, hard))
    try:
        result = made.predict()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert len(tried) == 2
    assert result["tile"] == [18, 36, 18]


def test_on_a_gpu_small_tiles_are_computed_together_and_fewer_where_they_do_not_fit(sample, monkeypatch):
    """Told of a GPU's memory, as there is none here; what it does not hold is refused in earnest."""
    sizes, compute, room = [], Session._compute, [10**9]

    def counted(self, batch, region):
        if batch.numel() > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(batch))
        return compute(self, batch, region)

    monkeypatch.setattr(Session, "_compute", counted)
    assert sample().network.batch is None
    maps = []
    for number, (gpu, voxels, expected_) in enumerate([(None, 1e9, 1), (2**33, 1e9, 27), (2**33, 2e5, 3)]):
        monkeypatch.setattr(Session, "device_bytes", gpu)
        sizes.clear()
        room[0] = voxels
        made = sample(str(number), tile=[8, 16, 16])
        made.predict()
        assert set(sizes) == {expected_}
        maps.append(made.read("boundaries").astype(int))
    assert np.ptp(maps, axis=0).max() <= 1


def test_after_five_tries_the_run_ends_with_one_line(sample, monkeypatch):
    limited(monkeypatch, 100)
    with pytest.raises(
        BadInput, match=r"a tile of .* does not fit into memory .*use fewer workers"
    ) as caught:
        sample().predict()
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="a tile of 28 x 36 x 36 voxels"):
        sample("set", tile=[8, 16, 16]).predict()


@pytest.mark.parametrize(
    ("more", "expected_"),
    [
        ({"tile": [8, 16, 15]}, r"expected multiples of \[2, 2, 2\], the pooling of .*; use \[8, 16, 16\]"),
        ({"tile": [8, 8, 8], "blending": {"name": "average", "overlap": 10}}, "expected at least 10, the"),
        ({"channel": 1}, "channel: found 1, expected less than 1, the channels of boundaries of"),
        ({"head": {"name": "foreground"}}, "predicts foreground, expected boundary"),
        ({"head": PAIRS}, "no direct neighbour along z"),
        ({"head": PAIRS, "flips": "x"}, "would turn the directions"),
        ({"device": "cuda"}, "device: found cuda, expected a GPU that is visible here"),
        ({"model": "none.pytorch"}, "found none.pytorch, expected a file"),
    ],
)  # fmt: skip
def test_what_cannot_be_ends_before_it_begins(sample, more, expected_):
    with pytest.raises(BadInput, match=expected_) as caught:
        sample(**more).predict()
    assert "\n" not in str(caught.value)


def test_a_model_is_loaded_once_for_all_blocks(sample, monkeypatch):
    loaded, load = [], sessions.load_model
    monkeypatch.setattr(sessions, "load_model", lambda *a: loaded.append(1) or load(*a))
    sample(tile=[8, 16, 16], flips="x").predict()
    assert len(loaded) == 1


def test_the_network_works_while_a_block_is_written_and_the_next_is_read(sample, expected, monkeypatch):
    """Of two threads, one waits in the middle of writing until the network is handed more tiles."""
    monkeypatch.setattr(module, "network_crew", lambda *_: Crew(1, threads=2))
    monkeypatch.setattr(stage, "FEW", 0)
    handed, writing, waited = Event(), Event(), []
    submit, write = Session.submit, stage.store.write_block

    def submitted(*args, **more):
        if writing.is_set():
            handed.set()
        return submit(*args, **more)

    def written(*args):
        if not writing.is_set():
            writing.set()
            waited.append(handed.wait(20))
        return write(*args)

    made = sample(block=16, tile=[8, 16, 16])
    made.run("ingest-raw", "normalise")
    monkeypatch.setattr(Session, "submit", submitted)
    monkeypatch.setattr(stage.store, "write_block", written)
    made.run("predict")
    assert waited == [True]
    np.testing.assert_array_equal(made.read("boundaries"), expected[1])


def test_the_next_tile_is_read_while_the_network_computes_one(sample):
    """What a task hands in first is not asked for before it has handed in more."""
    image, p = image_of(RAW), predictor(sample().network.model)
    lattice = facts_of(p).lattice(RAW.shape, p, (8, 16, 16))
    log = []

    class Slow:
        def submit(self, images, inner, crops):
            log.append("handed in")
            return Asked()

    class Asked:
        def result(self):
            log.append("asked for")
            return [np.zeros((1, 8, 16, 16), np.uint8)]

    work = tiles.Work(image, p.spec, stage.Setting(facts_of(p).outputs), 1)
    assert len(list(tiles.predicted(work, Slow(), list(lattice)[:4]))) == 4
    assert log[:3] == ["handed in", "handed in", "asked for"]


def test_each_gpu_has_a_process_and_a_few_threads(sample, monkeypatch):
    job, p = sample().job("predict"), sample(device="cuda").network
    found = {}
    for gpus, workers in product((1, 2, 8), (1, 4, 16)):
        monkeypatch.setattr(device, "gpus_of", lambda _, gpus=gpus: gpus)
        found[gpus, workers] = network_crew(job, p, workers)
    assert found[1, 1] == Crew(1, keep=False)
    assert found[1, 4] == found[1, 16] == Crew(1, threads=4, keep=False)
    assert found[2, 4] == Crew(2, gpu_each=True, threads=2, keep=False)
    assert found[8, 4] == Crew(4, gpu_each=True, keep=False)
    assert found[8, 16] == Crew(8, gpu_each=True, threads=2, keep=False)
