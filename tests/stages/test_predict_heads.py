"""What a network may predict beside boundaries, and where it goes."""

import numpy as np
import pytest
from conftest import VOXEL_UM, cut, tissue
from predicting import DIRECT, Predicted, image_of, lively, predictor, seeing, untiled
from small_networks import architecture, network, save

from cellflow.core.phantom import Phantom, phantom_block
from cellflow.engine.store import open_read
from cellflow.stages import supervoxels
from cellflow.stages.predict import Network

RAW = tissue()["raw"]


def predicted(folder, raw, path, block=16, **more):
    """A sample and the result of its prediction."""
    given = {"model": str(path), "device": "cpu", "tile": [8, 16, 16], **more}
    volumes = raw if isinstance(raw, dict) else {"raw": raw}
    return Predicted(folder / "root", volumes, cut(block), network=Network.model_validate(given))


def channels(made, count):
    """The affinities beside a prediction, as probabilities."""
    return np.stack([open_read(made.folder / "predict" / str(k))[:] for k in range(count)]) / 255


@pytest.fixture(scope="module")
def large_cells():
    """Of 32 voxels: boundaries of two voxels leave little of smaller ones."""
    p = Phantom(shape=(24, 48, 48), voxel_size_um=VOXEL_UM, cell_um=8.0, tissue=1.0, seed=1)
    made = phantom_block(p, tuple(slice(0, n) for n in p.shape))
    return {"raw": made.boundaries, "truth": made.labels}


def test_the_affinities_of_a_network_give_the_cells_whatever_the_blocks(tmp_path, large_cells):
    offsets = (*DIRECT, (0, -1, -1))
    path = seeing(tmp_path, offsets)
    cells = []
    for block in (16, 64):
        made = predicted(tmp_path / str(block), large_cells, path, block)
        receipts = made.run()
        assert receipts["predict"]["result"]["offsets"] == [list(step) for step in offsets]
        assert receipts["graph"]["result"]["long_range_edges"] > 0
        assert receipts["scores"]["result"]["cells_true"] > 20
        assert receipts["scores"]["result"]["adapted_rand_error"] < 0.1
        cells.append((made.read("boundaries"), made.read("cells")))
    for one, other in zip(*cells, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_affinities_of_a_network_can_be_cut_without_boundaries(tmp_path, large_cells):
    path, found = seeing(tmp_path, (*DIRECT, (0, -1, -1))), []
    for block in (16, 64):
        made = predicted(tmp_path / str(block), large_cells, path, block)
        made.params["supervoxels"] = supervoxels.Params(mutex={"strides": [1, 1, 1]})
        assert made.run()["supervoxels"]["result"]["supervoxels"] > 20
        found.append(made.read("supervoxels"))
    np.testing.assert_array_equal(*found)


def test_affinities_turned_around_do_not(tmp_path, large_cells):
    made = predicted(tmp_path, large_cells, seeing(tmp_path, DIRECT, turned=True), 64)
    assert made.run()["scores"]["result"]["adapted_rand_error"] > 0.3


def test_boundaries_come_from_pairs_only_without_a_head_of_their_own(tmp_path):
    raw = tissue()["boundaries"]
    both = predicted(tmp_path / "both", raw, seeing(tmp_path, DIRECT, boundary=True))
    assert len(both.predict()["channel_checksums"]) == 3
    sure = 1 / (1 + np.exp(5 - raw / 255 * 10))
    np.testing.assert_allclose(both.read("boundaries"), sure * 255, atol=1)
    pair = raw[:, :, 1:] / 255 + raw[:, :, :-1] / 255
    np.testing.assert_allclose(channels(both, 3)[2][:, :, 1:], 1 / (1 + np.exp(10 * pair - 8)), atol=0.004)
    pairs = predicted(tmp_path / "pairs", raw, seeing(tmp_path / "pairs", DIRECT))
    pairs.predict()
    found = channels(pairs, 3)
    np.testing.assert_array_equal(found, channels(both, 3))
    z, y, x = 7, 9, 11
    ends = [found[0, z, y, x], found[0, z + 1, y, x], found[1, z, y, x], found[1, z, y + 1, x]]
    ends += [found[2, z, y, x], found[2, z, y, x + 1]]
    assert pairs.read("boundaries")[z, y, x] == round(255 * (1 - min(ends)))


def test_embeddings_become_affinities_and_are_never_stored(tmp_path):
    heads = [{"name": "embeddings", "channels": 5}, {"name": "nuclei", "channels": 2}, {"name": "foreground"}]
    made = network(heads=heads)
    for name, values in made.named_parameters():
        values.data *= 20 if name.startswith("heads") else 1
    path, offsets = save(tmp_path, made.state_dict(), config=False), (*DIRECT, (0, 0, 5))
    spec = {"architecture": architecture(heads=heads).model_dump(), "offsets": offsets, "push": 1.5}
    one = predicted(tmp_path / "blocks", RAW, path, **spec)
    result = one.predict()
    assert result["halo"] == [10, 10, 14]  # the reach of 9, and the other ends of pairs
    assert set(result["checksums"]) == {"foreground", "predicted_nuclei"}
    assert {file.name for file in (one.folder / "predict").iterdir()} == {"0", "1", "2", "3"}
    found, points = channels(one, 4), untiled(one.network, image_of(RAW), "embeddings")
    for k, step in enumerate(offsets):
        here, there = (np.roll(points, shift, (1, 2, 3)) for shift in ((0, 0, 0), np.negative(step)))
        near = np.maximum(0, 3 - np.linalg.norm(here - there, axis=0)) ** 2 / 9
        inside = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(step, RAW.shape, strict=True))
        assert near.std() > 0.05
        np.testing.assert_allclose(found[k][inside], near[inside], atol=0.004)
    whole = predicted(tmp_path / "whole", RAW, path, 64, **spec)
    whole.predict()
    for name in ("boundaries", "foreground", "predicted_nuclei"):
        np.testing.assert_array_equal(one.read(name), whole.read(name))


def test_an_untrained_network_scores_like_noise(tmp_path):
    p = predictor(lively(tmp_path / "net", num_levels=3), tile=[20, 40, 48])
    volumes = {name: tissue()[name] for name in ("raw", "truth")}
    made = Predicted(tmp_path / "root", volumes, cut(64), network=p)
    assert made.run()["scores"]["result"]["adapted_rand_error"] > 0.5
