"""A model of a config is found, loaded and described, wherever it comes from."""

import hashlib

import numpy as np
import pytest
import torch
import yaml
from small_networks import BLOCK, architecture, network, save, serving

from cellflow.core.errors import BadInput
from cellflow.core.schema import checked
from cellflow.networks.model import load_model
from cellflow.networks.sources import listed
from cellflow.networks.sources.download import place
from cellflow.networks.spec import ModelSpec

TRAINED = network(**BLOCK)
"""The network whose weights `save` writes."""


def spec(model, **more):
    return checked(ModelSpec, {"model": str(model), **more}, "model")


def load(model, **more):
    return load_model(spec(model, **more), "cpu")


def refused(model, **more):
    with pytest.raises(BadInput) as caught:
        load(model, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_checkpoint_of_pytorch_3dunet_is_loaded_with_its_configuration(tmp_path):
    path = save(tmp_path)
    found = load(path)
    values = np.random.default_rng(0).normal(size=(2, 1, 4, 8, 8)).astype(np.float32)
    with torch.inference_mode():
        expected = TRAINED(torch.from_numpy(values))["output"].numpy()
    assert np.array_equal(found(values)["output"], expected)
    assert not found.network.training
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    about = found.description
    assert (about.in_channels, about.out_channels, about.dims) == (1, 1, 3)
    assert (about.reach, about.pooling, about.tile_dependent) == ((9, 9, 9), (2, 2, 2), ())
    assert about.normalisation.name == "mean_std"
    assert about.voxel_size_um is None


def test_a_folder_of_pytorch_3dunet_gives_its_best_checkpoint(tmp_path):
    save(tmp_path, name="last_checkpoint.pytorch", f_maps=4)
    last = load(tmp_path)
    best = load(save(tmp_path))
    assert load(tmp_path).sha256 == best.sha256 != last.sha256


def test_a_checkpoint_without_a_file_beside_it_takes_the_architecture_of_the_config(tmp_path):
    path = save(tmp_path, config=False)
    assert "no best_checkpoint.yaml and no config_train.yml" in refused(path)
    assert (
        load(path, architecture=BLOCK).description.architecture
        == load(save(tmp_path)).description.architecture
    )


def test_our_own_file_beside_the_weights_says_all(tmp_path):
    heads = [{"name": "boundary"}, {"name": "affinities", "offsets": [[-1, 0, 0], [0, -9, 0]]}]
    path = save(tmp_path, network(heads=heads).state_dict(), "net.pt", config=False)
    content = {
        "architecture": architecture(heads=heads).model_dump(mode="json"),
        "normalisation": {"name": "percentile", "low": 2, "high": 98},
        "voxel_size_um": [0.5, 0.25, 0.25],
        "description": "a toy",
    }
    path.with_suffix(".yaml").write_text(yaml.safe_dump(content))
    found = load(path)
    assert {k: v.shape[1] for k, v in found(np.zeros((1, 1, 4, 4, 4), np.float32)).items()} == {
        "boundary": 1, "affinities": 2,
    }  # fmt: skip
    assert found.description.heads[1].offsets == ((-1, 0, 0), (0, -9, 0))
    assert found.description.normalisation.high == 98
    assert found.description.voxel_size_um == (0.5, 0.25, 0.25)
    assert found.description.about == "a toy"
    assert load(path, normalisation={"name": "mean_std"}).description.normalisation.name == "mean_std"


def test_the_config_wins_over_the_file(tmp_path):
    found = load(
        save(tmp_path),
        head={"name": "boundary"},
        normalisation={"name": "fixed", "scale": 255},
        voxel_size_um=[2, 1, 1],
    ).description
    assert found.heads[0].name == "boundary"
    assert (found.normalisation.scale, found.voxel_size_um) == (255, (2, 1, 1))


def test_another_meaning_needs_a_single_head(tmp_path):
    heads = [{"name": "boundary"}, {"name": "nuclei"}]
    path = save(tmp_path, network(heads=heads).state_dict(), config=False)
    shape = architecture(heads=heads).model_dump(mode="json")
    assert "found 2 heads, expected one" in refused(path, architecture=shape, head={"name": "foreground"})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([{"name": "Standardize"}], {"name": "mean_std"}),
        ([{"name": "Standardize", "mean": 10, "std": 2}], {"name": "fixed", "offset": 10, "scale": 2}),
        (
            [{"name": "RandomFlip"}, {"name": "PercentileNormalizer"}],
            {"name": "percentile", "low": 1, "high": 99.6},
        ),
        ([{"name": "PercentileNormalizer", "pmin": 5}], {"name": "percentile", "low": 5, "high": 99.6}),
        ([{"name": "Normalize", "norm01": True}], {"name": "percentile", "low": 0, "high": 100}),
        (
            [{"name": "Normalize", "min_value": 0, "max_value": 200}],
            {"name": "fixed", "offset": 100, "scale": 100},
        ),
        (
            [{"name": "Normalize", "min_value": 0, "max_value": 255, "norm01": True}],
            {"name": "fixed", "offset": 0, "scale": 255},
        ),
        ([{"name": "ToTensor"}], {"name": "fixed", "offset": 0, "scale": 1}),
        (None, {"name": "mean_std"}),
    ],
)
def test_the_normalisation_is_that_of_the_training(tmp_path, raw, expected):
    config = {"model": BLOCK, "loaders": {"train": {"transformer": {"raw": raw}} if raw else {}}}
    found = load(save(tmp_path, config=config)).description.normalisation
    assert found.model_dump() == expected


@pytest.mark.parametrize(
    "step",
    [{"name": "Normalize"}, {"name": "Standardize", "mean": 3}, {"name": "Standardize", "mean": 1, "std": 0}],
)
def test_a_normalisation_that_cannot_be_repeated_is_refused_unless_the_config_gives_one(tmp_path, step):
    config = {"model": BLOCK, "loaders": {"train": {"transformer": {"raw": [step]}}}}
    path = save(tmp_path, config=config)
    assert "give the model's normalisation in the config" in refused(path)
    assert load(path, normalisation={"name": "mean_std"})


def test_a_2d_network_sees_each_slice_of_each_image(tmp_path):
    path = save(tmp_path, name="UNet2D.pytorch", config={"model": {**BLOCK, "name": "UNet2D"}},
                content=network(name="UNet2D", in_channels=1).state_dict())  # fmt: skip
    found = load(path)
    values = np.random.default_rng(0).normal(size=(2, 1, 3, 8, 12)).astype(np.float32)
    out = found(values)["output"]
    assert out.shape == (2, 1, 3, 8, 12)
    assert found.description.reach == (0, 9, 9)
    for n in range(2):
        for z in range(3):
            alone = found(values[n : n + 1, :, z : z + 1])["output"]
            assert np.allclose(out[n, :, z], alone[0, :, 0], atol=1e-6)


def test_an_image_of_other_channels_is_refused(tmp_path):
    found = load(save(tmp_path))
    for shape in ((1, 2, 4, 4, 4), (1, 4, 4, 4)):
        with pytest.raises(BadInput, match="expected n, 1 channels, z, y, x"):
            found(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: [", "is not YAML"),
        ("hello", "found neither architecture nor model"),
        ("model: 3", "model: found 3, expected name, in_channels"),
        ("model: {name: UNETR}", "config_train.yml: model: name: found 'UNETR'"),
        ("model: {name: UNet3D, f_mops: 3}", "unknown key 'f_mops'; did you mean 'f_maps'?"),
        ("architecture: {name: UNet3D}\nvoxel: 3", "unknown key 'voxel'"),
        (
            "model: {name: UNet3D, f_maps: 8, num_levels: 2, layer_order: bcr}",
            "found shape (2, 1, 3, 3, 3), expected",
        ),
    ],
)
def test_a_wrong_file_beside_the_weights_is_one_line(tmp_path, text, expected):
    path = save(tmp_path)
    (tmp_path / "config_train.yml").write_text(text)
    assert expected in refused(path)


def test_defaults_of_pytorch_3dunet_are_its_own(tmp_path):
    """A model block of three lines: 64 maps, GroupNorm first, 4 levels."""
    from cellflow.networks.sources import find

    path = save(tmp_path, config={"model": {"name": "UNet3D", "in_channels": 1, "testing": True}})
    a = find(spec(path)).architecture
    assert (a.maps, a.layer_order, a.num_groups) == ((64, 128, 256, 512), "gcr", 8)


def test_what_is_not_there_is_named_with_a_guess(tmp_path):
    assert "expected a file, a folder or a known name; cellflow models list" in refused(tmp_path / "none")
    assert "did you mean lightsheet_3D_unet_root_ds1x?" in refused("lightsheet_3d_unet_root_ds1x")
    assert "found no best_checkpoint.pytorch and no rdf.yaml in it" in refused(tmp_path)


def test_a_digest_beside_a_path_is_compared(tmp_path):
    path = save(tmp_path)
    found = load(path)
    assert load(path, sha256=found.sha256).sha256 == found.sha256
    assert f"found sha256 {found.sha256}, expected 000" in refused(path, sha256="0" * 64)


def test_a_gpu_that_is_not_there_is_said_before_anything_is_downloaded(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("a GPU is visible")
    with pytest.raises(BadInput, match="device: found cuda"):
        load_model(spec("http://127.0.0.1:9/net.pytorch", sha256="0" * 64), "cuda")


def test_an_address_with_a_digest_is_downloaded_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = save(tmp_path).read_bytes()
    with serving({"/net.pytorch": content}) as server:
        digest = hashlib.sha256(content).hexdigest()
        found = load(server.url("/net.pytorch"), sha256=digest, architecture=BLOCK)
        assert found.sha256 == digest
    assert load(server.url("/net.pytorch"), sha256=digest, architecture=BLOCK).sha256 == digest


def test_a_listed_model_is_loaded_with_the_configuration_beside_it(tmp_path, monkeypatch):
    """The list of the test leads to loopback; what comes is known by the list's meaning and voxel size."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = save(tmp_path).read_bytes()
    config = (tmp_path / "config_train.yml").read_bytes()
    with serving({"/files/a.pytorch": weights, "/files/config_train.yml": config}) as server:
        entry = listed()["generic_light_sheet_3D_unet"].model_copy(
            update={"url": server.url("/files/a.pytorch")}
        )
        monkeypatch.setitem(listed(), "generic_light_sheet_3D_unet", entry)
        assert entry.here is None
        about = load("generic_light_sheet_3D_unet").description
        assert entry.here == place(entry.url)
    assert (about.heads[0].name, about.voxel_size_um) == ("boundary", (0.25, 0.1625, 0.1625))
    assert load("generic_light_sheet_3D_unet").description == about


def test_the_list_is_whole():
    assert len(listed()) == 17
    assert len({entry.url for entry in listed().values()}) == 15
    for name, entry in listed().items():
        assert entry.dims == (2 if "_2D_" in name else 3)
        assert entry.config_url.endswith("/config_train.yml")
        assert ("nuc" in name) == (entry.predicts == "nuclei")
