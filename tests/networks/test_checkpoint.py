"""Weights come back as they were saved; a file that does not fit, or holds code, is refused in one line."""

import io
import os
import pickle

import numpy as np
import pytest
import torch
from small_networks import network

from cellflow.core.errors import BadInput
from cellflow.networks.checkpoint import put_weights, read_weights


def file(content, **more):
    kept = io.BytesIO()
    torch.save(content, kept, **more)
    kept.seek(0)
    return kept


def loaded(content, **more):
    """A network of other weights into which these were put."""
    made = network(seed=1, **more)
    put_weights(made, read_weights(file(content), "net.pytorch"), "net.pytorch")
    return made


def weights(**more):
    return network(seed=0, **more).state_dict()


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


def refused(content, made=None):
    """The one line that says why."""
    with pytest.raises(BadInput) as caught:
        put_weights(made or network(), read_weights(content, "net.pytorch"), "net.pytorch")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("net.pytorch: ")
    return str(caught.value)


@pytest.mark.parametrize("more", [{}, {"layer_order": "gcr", "num_groups": 2}, {"name": "ResidualUNetSE3D"},
                                  {"name": "UNet2D"}], ids=str)  # fmt: skip
@pytest.mark.parametrize("wrap", ["bare", "model_state_dict", "module."])
def test_weights_come_back_from_a_file(wrap, more):
    kept = weights(**more)
    content = {
        "bare": kept,
        "model_state_dict": {"model_state_dict": kept, "num_epochs": 3, "optimizer_state_dict": {"lr": 0.1}},
        "module.": {"model_state_dict": {f"module.{key}": value for key, value in kept.items()}},
    }[wrap]
    assert not same(network(seed=1, **more).state_dict(), kept)
    assert same(loaded(content, **more).state_dict(), kept)


@pytest.mark.parametrize("zipped", [True, False])
def test_scores_of_numpy_beside_the_weights_do_no_harm(zipped):
    kept = weights()
    content = {"model_state_dict": kept, "best_eval_score": np.float64(0.5), "num_iterations": np.int64(9)}
    found = read_weights(file(content, _use_new_zipfile_serialization=zipped), "net.pytorch")
    assert same(found, kept)


def test_numpy_scores_under_the_older_name_of_its_module_load_too():
    kept = file({"model_state_dict": weights(), "score": np.float64(1)}, _use_new_zipfile_serialization=False)
    old = kept.getvalue().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
    assert old != kept.getvalue()
    assert same(read_weights(io.BytesIO(old), "net.pytorch"), weights())


def test_counts_of_batches_may_be_missing():
    kept = {key: value for key, value in weights().items() if not key.endswith("num_batches_tracked")}
    assert torch.equal(loaded(kept).final_conv.weight, kept["final_conv.weight"])


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_code_in_a_file_is_refused_and_not_run(how, tmp_path):
    proof = tmp_path / "ran"
    content = {"model_state_dict": weights(), "extra": Code(proof)}
    if how == "pickle":
        kept = io.BytesIO(pickle.dumps(content, protocol=2))
    else:
        kept = file(content, _use_new_zipfile_serialization=how == "zip")
    said = refused(kept)
    assert not proof.exists()
    if how != "pickle":
        assert "found code in it (posix.system), expected weights only; it was not run" in said
        torch.load(io.BytesIO(kept.getvalue()), weights_only=False)  # the control: it is armed
        assert proof.exists()


def test_a_whole_network_in_a_file_is_refused():
    assert "found code in it (cellflow.networks.unet.UNet)" in refused(file(network()))


def test_the_first_key_of_another_shape_is_named():
    said = refused(file(weights()), network(f_maps=6))
    key = "encoders.0.basic_module.SingleConv1.conv.weight"
    assert f"{key}: found shape (2, 1, 3, 3, 3), expected shape (3, 1, 3, 3, 3)" in said


def test_a_key_under_another_name_is_named():
    said = refused(file(weights(layer_order="gcr", num_groups=2)))
    level = "encoders.0.basic_module.SingleConv1"
    assert (
        f"{level}.batchnorm.weight: found {level}.groupnorm.weight (1,) in its place, expected shape (1,)"
        in said
    )


def test_a_missing_key_and_one_too_many_are_named():
    kept = weights()
    without = {key: value for key, value in kept.items() if key != "final_conv.bias"}
    assert "final_conv.bias: found nothing in its place, expected shape (1,)" in refused(file(without))
    more = {**kept, "encoders.9.x": torch.zeros(2, 3)}
    assert "encoders.9.x: found shape (2, 3), expected no such key" in refused(file(more))


def test_weights_that_are_no_numbers_are_refused():
    kept = weights()
    kept["final_conv.bias"] = torch.tensor([torch.nan])
    assert "final_conv.bias: found NaN or infinity, expected numbers" in refused(file(kept))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"num_epochs": 3, "lr": 0.1}, "found num_epochs, lr, expected weights by name"),
        ({}, "found nothing, expected weights by name"),
        ([1, 2], "found list, expected weights by name"),
        ({"model_state_dict": {"net": {"a": torch.zeros(1)}}}, "found net, expected weights by name"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(content, expected):
    assert expected in refused(file(content))


def scripted():
    kept = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), kept)
    return kept.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"hello" * 100, b"PK\x03\x04" + bytes(100), b"\x80\x02}q\x00.", "cut", "scripted"],
    ids=["empty", "text", "zip", "pickle", "cut", "scripted"],
)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_or_foreign_file_is_refused(content):
    if content == "cut":
        content = file(weights()).getvalue()[:-200]
    said = refused(io.BytesIO(scripted() if content == "scripted" else content))
    assert "expected" in said
