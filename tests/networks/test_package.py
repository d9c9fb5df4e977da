"""BioImage.IO packages, of both formats, as folder and as zip: read, loaded, and never run."""

import builtins
import hashlib
import zipfile

import numpy as np
import pytest
import torch
import yaml
from small_networks import BLOCK, network, serving

from cellflow.core.errors import BadInput
from cellflow.core.schema import checked
from cellflow.networks.model import load_model
from cellflow.networks.spec import ModelSpec

pytest.importorskip("bioimageio.spec", reason="the extra bioimageio is not installed")

KWARGS = {key: value for key, value in BLOCK.items() if key != "name"}
CITE = [{"text": "A paper", "doi": "10.1000/xyz123"}]
COMMON = {"type": "model", "name": "Toy network", "description": "a toy", "authors": [{"name": "Somebody"}],
          "license": "MIT", "documentation": "README.md", "timestamp": "2024-01-01T00:00:00",
          "cite": CITE}  # fmt: skip
DATASET = {"type": "dataset", "format_version": "0.3.0", "name": "Toy images", "description": "toys",
           "authors": [{"name": "Somebody"}], "license": "MIT", "cite": CITE}  # fmt: skip
Z_SCORE = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "z", "y", "x"]}}


def axis(letter, scale, reference=None):
    size = {"tensor_id": "raw", "axis_id": letter} if reference else {"min": 32, "step": 4}
    return {"type": "space", "id": letter, "size": size, "scale": scale, "unit": "micrometer"}


def axes(spatial="zyx", reference=None):
    steps = {"z": 0.25, "y": 0.1, "x": 0.1}
    channel = {"type": "channel", "channel_names": ["raw"]}
    return [{"type": "batch"}, channel, *(axis(letter, steps[letter], reference) for letter in spatial)]


def newer(digest, *, spatial="zyx", before=(Z_SCORE,), after=(), source="weights.pt", **architecture):
    shape = {"callable": "UNet3D", "source": "unet.py", "sha256": "0" * 64, "kwargs": KWARGS, **architecture}
    raw = {
        "id": "raw",
        "axes": axes(spatial),
        "data": {"type": "float32"},
        "test_tensor": {"source": "in.npy"},
    }
    out = {"id": "out", "axes": axes(spatial, "raw"), "data": {"type": "float32"},
           "test_tensor": {"source": "out.npy"}}  # fmt: skip
    weights = {"source": source, "sha256": digest, "pytorch_version": "2.0", "architecture": shape}
    return {
        "format_version": "0.5.3", **COMMON,
        "inputs": [{**raw, "preprocessing": list(before)}],
        "outputs": [{**out, "postprocessing": list(after)}],
        "weights": {"pytorch_state_dict": weights},
    }  # fmt: skip


def older(digest, *, before=(), after=(), kwargs=KWARGS, letters="bczyx"):
    n = len(letters)
    shape = {"min": [1, 1, 16, 16, 16][:n], "step": [0, 0, 4, 4, 4][:n]}
    same = {"reference_tensor": "raw", "scale": [1] * n, "offset": [0] * n}
    weights = {"source": "weights.pt", "sha256": digest, "architecture": "unet.py:UNet3D",
               "architecture_sha256": "0" * 64, "kwargs": kwargs}  # fmt: skip
    return {
        "format_version": "0.4.10", **COMMON, "covers": [], "tags": [],
        "inputs": [{"name": "raw", "axes": letters, "data_type": "float32", "shape": shape,
                    "preprocessing": list(before)}],
        "outputs": [{"name": "out", "axes": letters, "data_type": "float32", "shape": same,
                     "postprocessing": list(after)}],
        "test_inputs": ["in.npy"], "test_outputs": ["out.npy"],
        "weights": {"pytorch_state_dict": weights},
    }  # fmt: skip


def written(folder, describe=newer, block=BLOCK, digest=None, **more):
    """A package in a folder; `ran` appears beside it if its Python is run."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network(**block).state_dict(), folder / "weights.pt")
    digest = digest or hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest()
    code = f"open({str(folder.parent / 'ran')!r}, 'w')\nclass UNet3D: pass\n"
    (folder / "unet.py").write_text(code)
    (folder / "README.md").write_text("# A toy\n")
    for name in ("in.npy", "out.npy"):
        np.save(folder / name, np.zeros((1, 1, 4, 4, 4), np.float32))
    (folder / "rdf.yaml").write_text(yaml.safe_dump(describe(digest, **more), sort_keys=False))
    return folder


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    return path


def load(model, **more):
    return load_model(checked(ModelSpec, {"model": str(model), **more}, "model"), "cpu")


def refused(model, **more):
    with pytest.raises(BadInput) as caught:
        load(model, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "rdf.yaml", "zip"])
@pytest.mark.parametrize("describe", [newer, older])
def test_a_package_is_loaded_and_its_python_is_not_run(tmp_path, kind, describe):
    folder = written(tmp_path / "package", describe)
    found = load({"folder": folder, "rdf.yaml": folder / "rdf.yaml", "zip": zipped(folder)}[kind])
    values = np.random.default_rng(0).normal(size=(1, 1, 4, 8, 8)).astype(np.float32)
    with torch.inference_mode():
        expected = network(**BLOCK)(torch.from_numpy(values))["output"].numpy()
    assert np.array_equal(found(values)["output"], expected)
    assert found.description.about == "a toy"
    assert found.description.voxel_size_um == ((0.25, 0.1, 0.1) if describe is newer else None)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Z_SCORE, {"name": "mean_std"}),
        (
            {"id": "scale_range", "kwargs": {"min_percentile": 2, "max_percentile": 99}},
            {"name": "percentile", "low": 2, "high": 99},
        ),
        (
            {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 10, "std": 4}},
            {"name": "fixed", "offset": 10, "scale": 4},
        ),
        (
            {"id": "scale_linear", "kwargs": {"gain": 0.5, "offset": -3}},
            {"name": "fixed", "offset": 6, "scale": 2},
        ),
        (None, {"name": "fixed", "offset": 0, "scale": 1}),
    ],
)
def test_the_normalisation_is_that_of_the_preprocessing(tmp_path, step, expected):
    found = load(written(tmp_path / "p", before=[step] if step else []))
    assert found.description.normalisation.model_dump() == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            {
                "name": "zero_mean_unit_variance",
                "kwargs": {"mode": "fixed", "axes": "czyx", "mean": 5, "std": 2},
            },
            {"name": "fixed", "offset": 5, "scale": 2},
        ),
        (
            {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "zyx"}},
            {"name": "mean_std"},
        ),
        (
            {"name": "scale_range", "kwargs": {"mode": "per_sample", "axes": "zyx", "max_percentile": 98}},
            {"name": "percentile", "low": 0, "high": 98},
        ),
    ],
)
def test_the_normalisation_of_the_older_format_is_read_too(tmp_path, step, expected):
    found = load(written(tmp_path / "p", older, before=[step]))
    assert found.description.normalisation.model_dump() == expected


def test_preprocessing_that_cannot_be_repeated_is_refused_unless_the_config_gives_one(tmp_path):
    folder = written(tmp_path / "p", before=[{"id": "clip", "kwargs": {"min": 0, "max": 9}}, Z_SCORE])
    assert "found the normalisation clip" in (said := refused(folder))
    assert "give the model's normalisation in the config" in said
    assert load(folder, normalisation={"name": "mean_std"})


def test_a_sigmoid_behind_the_network_becomes_its_activation(tmp_path):
    kwargs = {**KWARGS, "is_segmentation": False}
    found = load(written(tmp_path / "p", kwargs=kwargs, after=[{"id": "sigmoid"}]))
    assert found.description.heads[0].activation == "sigmoid"
    twice = written(tmp_path / "q", after=[{"id": "sigmoid"}])
    assert "found postprocessing sigmoid after sigmoid" in refused(twice)


def test_weights_that_are_not_those_of_the_description_are_refused(tmp_path):
    assert "expected 000000" in refused(written(tmp_path / "p", digest="0" * 64))


def test_weights_at_an_address_are_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = written(tmp_path / "p")
    content = (folder / "weights.pt").read_bytes()
    with serving({"/weights.pt": content}) as server:
        rdf = newer(hashlib.sha256(content).hexdigest(), source=server.url("/weights.pt"))
        (folder / "rdf.yaml").write_text(yaml.safe_dump(rdf))
        (folder / "weights.pt").unlink()
        assert load(zipped(folder)).sha256 == hashlib.sha256(content).hexdigest()


def test_a_2d_package_has_axes_y_and_x(tmp_path):
    two = {**BLOCK, "name": "UNet2D"}
    folder = written(tmp_path / "p", block=two, spatial="yx", callable="UNet2D", before=[])
    assert load(folder).description.voxel_size_um == (0.1, 0.1, 0.1)
    wrong = written(tmp_path / "q", block=two, callable="UNet2D")
    assert "found axes batch channel z y x, expected batch channel y x" in refused(wrong)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rdf: rdf["weights"]["pytorch_state_dict"]["architecture"].update(callable="Cellpose"),
         "architecture: name: found 'Cellpose', input should be 'UNet3D'"),
        (lambda rdf: rdf["weights"]["pytorch_state_dict"].update(source="other.pt"),
         "names the weights other.pt, which are not there"),
        (lambda rdf: rdf.update(inputs=[]), "is no valid BioImage.IO description: inputs"),
        (lambda rdf: (rdf.clear(), rdf.update(DATASET)), "describes a dataset, expected a model"),
        (lambda rdf: rdf.update(weights={"onnx": {"source": "weights.pt", "opset_version": 15}}),
         "found no pytorch_state_dict among its weights"),
    ],
)  # fmt: skip
def test_a_package_that_cannot_be_used_is_refused_in_one_line(tmp_path, change, expected):
    folder = written(tmp_path / "p")
    rdf = yaml.safe_load((folder / "rdf.yaml").read_text())
    change(rdf)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(rdf))
    assert expected in refused(folder)


@pytest.mark.parametrize("text", ["a: [", "hello"])
def test_a_description_that_is_none_is_refused_in_one_line(tmp_path, text):
    folder = written(tmp_path / "p")
    (folder / "rdf.yaml").write_text(text)
    assert "is no BioImage.IO description" in refused(folder)


def test_a_zip_without_its_weights_or_with_damaged_ones_is_one_line(tmp_path):
    assert "cannot be unpacked" in refused(zipped(written(tmp_path / "p", source="../weights.pt")))
    whole = zipped(written(tmp_path / "q"))
    content = whole.read_bytes()
    at = content.index(b"final_conv")
    whole.write_bytes(content[:at] + b"x" + content[at + 1 :])
    assert "cannot be unpacked" in refused(whole)


def test_without_the_extra_the_line_says_what_to_install(tmp_path, monkeypatch):
    folder = written(tmp_path / "p")
    real = builtins.__import__

    def without(name, *more):
        if name.startswith("bioimageio"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'cellflow-volumes[bioimageio]'" in refused(folder)
