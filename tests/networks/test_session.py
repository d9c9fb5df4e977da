"""A network at work: the same bits whatever is computed beside, and the same values as the bare network."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from small_networks import BLOCK, architecture, network, save

from cellflow.core.errors import BadInput
from cellflow.networks import session as sessions
from cellflow.networks.model import load_model
from cellflow.networks.outputs import Outputs, Setting, outputs_of
from cellflow.networks.session import OneDnn, Session, session
from cellflow.networks.spec import ModelSpec

BOUNDARY = Outputs((("boundaries", "boundary", 0),))
SIZE = (16, 24, 32)
ALL = tuple(slice(0, n) for n in SIZE)
MIDDLE = (slice(4, 12), slice(5, 20), slice(7, 30))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def spec_of(folder, **block):
    """A saved network; its only head is called boundary if it has no name."""
    heads = block.pop("heads", None)
    place = folder / f"{abs(hash(str((block, heads))))}"
    if heads:
        content = network(heads=heads, **block).state_dict()
        path = save(place, content, config=False)
        return ModelSpec(model=str(path), architecture=architecture(heads=heads, **block))
    block = BLOCK | block
    path = save(place, network(**block).state_dict(), config={"model": block})
    return ModelSpec.model_validate({"model": str(path), "head": {"name": "boundary"}})


def images(n=1, size=SIZE, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *size)).astype(np.float32)


def predicted(running, shown, inner=ALL, crops=None, **more):
    return running.submit(shown, inner, crops or [inner] * len(shown), **more).result()


@pytest.mark.parametrize(
    "block", [{}, {"num_levels": 3, "f_maps": 8}, {"layer_order": "gcr", "num_groups": 2}, {"name": "UNet2D"},
              {"name": "ResidualUNet3D"}, {"name": "ResidualUNetSE3D"}],
)  # fmt: skip
def test_it_predicts_what_the_bare_network_does(folder, block):
    spec, shown = spec_of(folder, **block), images(2)
    expected = load_model(spec, "cpu")(shown[:, None])["boundary"]
    found = predicted(Session(spec, Setting(BOUNDARY)), shown, MIDDLE, as_bytes=False)
    for one, whole in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, whole[(slice(None), *MIDDLE)], atol=1e-6)


def test_the_bits_do_not_depend_on_what_is_computed_before_and_beside(folder):
    running, shown = Session(spec_of(folder, f_maps=8), Setting(BOUNDARY)), images(4)
    alone = [predicted(running, shown[i : i + 1], MIDDLE, as_bytes=False)[0] for i in range(4)]
    again = predicted(running, shown[:1], MIDDLE, as_bytes=False)[0]
    np.testing.assert_array_equal(again, alone[0])
    for size in (2, 4):
        together = predicted(running, shown[:size], MIDDLE, as_bytes=False)
        for one, other in zip(together, alone, strict=False):
            np.testing.assert_array_equal(one, other)


def test_convolutions_run_in_one_dnn_and_other_networks_would_differ_by_the_size_of_a_batch(folder):
    spec, shown = spec_of(folder, f_maps=4, num_levels=2), images(2, (8, 8, 8))
    made = load_model(spec, "cpu")
    one, two = made(shown[:1, None])["boundary"], made(shown[:, None])["boundary"]
    running = Session(spec, Setting(BOUNDARY))
    assert any(isinstance(module, OneDnn) for module in running.model.network.modules())
    assert (one[0] != two[0]).any()  # the reason: if torch mends it, OneDnn can go


def test_crops_of_one_inner_part_are_cut_from_it(folder):
    running, shown = Session(spec_of(folder), Setting(BOUNDARY)), images(2)
    small = (slice(5, 6), slice(6, 20), slice(9, 11))
    whole, cut = predicted(running, shown, MIDDLE, [MIDDLE, small])
    assert whole.shape == (1, 8, 15, 23)
    assert cut.shape == (1, 1, 14, 2)
    again = predicted(running, shown, MIDDLE, [MIDDLE, MIDDLE])[1]
    np.testing.assert_array_equal(cut, again[:, 1:2, 1:15, 2:4])


def test_images_that_fill_a_batch_give_nothing(folder):
    running, shown = Session(spec_of(folder), Setting(BOUNDARY)), images(3)
    assert len(predicted(running, shown, MIDDLE, [MIDDLE])) == 1


def test_bytes_are_probabilities_times_255(folder):
    running, shown = Session(spec_of(folder), Setting(BOUNDARY)), images(1)
    (exact,), (found,) = (predicted(running, shown, as_bytes=kind) for kind in (False, True))
    np.testing.assert_array_equal(found, np.rint(exact * 255).astype(np.uint8))


@pytest.mark.parametrize(("flips", "axes"), [("x", (3,)), ("yx", (2, 3)), ("zyx", (1, 2, 3))])
def test_flips_make_the_prediction_of_a_mirrored_image_the_mirrored_prediction(folder, flips, axes):
    spec, shown = spec_of(folder, num_levels=3), images(1)
    running, plain = Session(spec, Setting(BOUNDARY, flips=flips)), Session(spec, Setting(BOUNDARY))
    inner = tuple(slice(4, n - 4) for n in SIZE)
    found, *_ = predicted(running, shown, inner, as_bytes=False)
    for axis in axes:
        mirrored, *_ = predicted(running, np.flip(shown, axis), inner, as_bytes=False)
        np.testing.assert_allclose(np.flip(mirrored, axis), found, atol=1e-6)
    unflipped, *_ = predicted(plain, shown, inner, as_bytes=False)
    assert np.abs(found - unflipped).max() > 1e-3
    one_sided, *_ = predicted(plain, np.flip(shown, 3), inner, as_bytes=False)
    assert np.abs(np.flip(one_sided, 3) - unflipped).max() > 1e-3


def test_flips_hold_for_parts_that_are_not_in_the_middle(folder):
    spec, shown = spec_of(folder, num_levels=3), images(1)
    running = Session(spec, Setting(BOUNDARY, flips="zyx"))
    whole, *_ = predicted(running, shown, as_bytes=False)
    part, *_ = predicted(running, shown, MIDDLE, as_bytes=False)
    np.testing.assert_allclose(part, whole[(slice(None), *MIDDLE)], atol=1e-6)


@pytest.mark.parametrize(("precision", "off"), [("bfloat16", 0.03), ("float16", 0.01)])
def test_half_the_bits_are_near_and_not_the_same(folder, precision, off):
    spec, shown = spec_of(folder), images(1)
    exact, *_ = predicted(Session(spec, Setting(BOUNDARY)), shown, as_bytes=False)
    found, *_ = predicted(Session(spec, Setting(BOUNDARY, precision=precision)), shown, as_bytes=False)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < off


def test_a_network_that_is_compiled_predicts_the_same(folder, monkeypatch):
    """Traced as ever, and not turned into C++, which takes half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    spec, shown = spec_of(folder), images(1)
    traced = torch._dynamo.utils.counters["frames"]["ok"]
    running, compiled = (Session(spec, Setting(BOUNDARY, compile=kind)) for kind in (False, True))
    pair = [predicted(one, shown, MIDDLE, as_bytes=False)[0] for one in (running, compiled)]
    np.testing.assert_allclose(*pair, atol=1e-5)
    assert torch._dynamo.utils.counters["frames"]["ok"] > traced


def test_channels_come_last_in_memory(folder):
    for name, last in (("UNet3D", torch.channels_last_3d), ("UNet2D", torch.channels_last)):
        running, seen = (
            Session(spec_of(folder, name=name, f_maps=8, layer_order="bcl"), Setting(BOUNDARY)),
            [],
        )
        convolution = next(m for m in running.model.network.modules() if isinstance(m, OneDnn))
        convolution.register_forward_hook(lambda _m, given, made, seen=seen: seen.extend([*given, made]))
        predicted(running, images(1), MIDDLE)
        weights = [w for w in running.model.network.parameters() if w.dim() > 3 and min(w.shape[:2]) > 1]
        assert seen[1].shape[1] > 1  # of one channel, all orders are the same
        assert all(tensor.is_contiguous(memory_format=last) for tensor in [*weights, *seen])
        assert not seen[1].is_contiguous()


def test_points_become_affinities_by_their_distance(folder):
    offsets, push = ((-1, 0, 0), (0, 2, -1)), 1.5
    spec = spec_of(folder, heads=[{"name": "embeddings", "channels": 3}])
    outputs = Outputs((), offsets, embedded=True, push=push)
    points = load_model(spec, "cpu")(images(1)[:, None])["embeddings"][0]
    (found,) = predicted(Session(spec, Setting(outputs)), images(1), MIDDLE, as_bytes=False)
    assert found.shape == (2, 8, 15, 23)
    for k, step in enumerate(offsets):
        for i in [(4, 5, 7), (6, 11, 20), (11, 19, 29)]:
            here, there = points[(slice(None), *i)], points[(slice(None), *np.add(i, step))]
            near = max(0, (2 * push - np.linalg.norm(here - there)) / (2 * push)) ** 2
            assert found[(k, *np.subtract(i, (4, 5, 7)))] == pytest.approx(near, abs=1e-5)


def test_maps_come_first_and_affinities_after_them(folder):
    heads = [{"name": "affinities", "offsets": [[0, 0, -1], [0, -1, 0]]}, {"name": "nuclei", "channels": 2},
             {"name": "boundary", "channels": 2}]  # fmt: skip
    spec = spec_of(folder, heads=heads)
    outputs = outputs_of(spec.architecture.heads, 1, (), 2.0, "here")
    assert outputs.volumes == ("boundaries", "predicted_nuclei")
    assert outputs.channels == 4
    made = load_model(spec, "cpu")(images(1)[:, None])
    (found,) = predicted(Session(spec, Setting(outputs)), images(1), as_bytes=False)
    wanted = [made["boundary"][0, 1], made["nuclei"][0, 0], *made["affinities"][0]]
    np.testing.assert_allclose(found, np.stack(wanted), atol=1e-6)


@pytest.mark.parametrize(
    ("heads", "channel", "expected"),
    [
        ([{"name": "output"}], 0, "predicts something unnamed, expected boundary, affinities or embeddings"),
        ([{"name": "nuclei"}, {"name": "foreground"}], 0, "predicts nuclei, foreground, expected boundary"),
        (
            [{"name": "boundary", "channels": 2}],
            2,
            "found 2, expected less than 2, the channels of boundaries of here",
        ),
    ],
)
def test_what_leads_to_no_cells_is_refused(heads, channel, expected):
    with pytest.raises(BadInput, match=expected):
        outputs_of(architecture(heads=heads).heads, channel, (), 2.0, "here")


def test_a_prediction_that_is_no_number_is_refused(folder):
    running, shown = Session(spec_of(folder), Setting(BOUNDARY)), images(1)
    shown[0, 3, 4, 5] = np.nan
    with pytest.raises(BadInput, match="predicts NaN, expected numbers"):
        predicted(running, shown)


def test_running_out_of_memory_has_one_name(folder, monkeypatch):
    running = Session(spec_of(folder), Setting(BOUNDARY))
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 8 GB")):
        monkeypatch.setattr(running, "_compute", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(MemoryError, match=r"tile of \(16, 24, 32\)"):
            predicted(running, images(1))
    monkeypatch.setattr(running, "_compute", lambda *_: (_ for _ in ()).throw(RuntimeError("else")))
    with pytest.raises(RuntimeError, match="else"):
        predicted(running, images(1))


def test_a_process_loads_a_model_once(folder):
    spec = spec_of(folder)
    assert session(spec, Setting(BOUNDARY)) is session(spec, Setting(BOUNDARY))
    assert session(spec, Setting(BOUNDARY, flips="x")).setting.flips == "x"


def test_threads_that_come_at_once_share_it(folder, monkeypatch):
    loaded, load, spec = [], sessions.load_model, spec_of(folder)
    monkeypatch.setattr(sessions, "load_model", lambda *a: loaded.append(1) or time.sleep(0.2) or load(*a))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: session(spec, Setting(BOUNDARY, flips="yx")), range(4)))
    assert len(loaded) == len(set(found)) == 1


def test_torch_computes_in_one_thread(folder):
    running = Session(spec_of(folder), Setting(BOUNDARY))
    assert running._thread.submit(torch.get_num_threads).result() == 1
