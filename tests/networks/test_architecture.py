"""An architecture is read, kept and refused in one line."""

import json

import pytest
from small_networks import BLOCK, architecture

from cellflow.core.errors import BadInput
from cellflow.core.schema import checked
from cellflow.networks.architecture import Architecture
from cellflow.networks.spec import ModelSpec


def test_a_block_of_pytorch_3dunet_may_be_pasted():
    found = checked(
        Architecture, {**BLOCK, "out_channels": 2, "final_sigmoid": False, "conv_padding": 1}, "m"
    )
    (head,) = found.heads
    assert (head.name, head.channels, head.activation) == ("output", 2, "softmax")
    bare = checked(Architecture, {**BLOCK, "is_segmentation": False}, "m")
    assert bare.heads[0].activation == "none"


def test_an_architecture_survives_json():
    heads = [{"name": "boundary"}, {"name": "affinities", "offsets": [[-1, 0, 0]]}, {"name": "embeddings"}]
    made = architecture(heads=heads, f_maps=[4, 8], conv_kernel_size=[1, 3, 3], dropout_prob=[0.1, 0.2])
    again = checked(Architecture, json.loads(made.model_dump_json()), "m")
    assert again == made
    spec = checked(ModelSpec, {"model": "net.pytorch", "architecture": made.model_dump(mode="json")}, "m")
    assert spec.architecture == made


@pytest.mark.parametrize(
    ("more", "maps"),
    [
        ({"num_levels": None}, (4, 8, 16, 32)),
        ({"num_levels": None, "name": "ResidualUNet2D"}, (4, 8, 16, 32, 64)),
        ({"num_levels": 3}, (4, 8, 16)),
        ({"num_levels": None, "f_maps": [5, 7]}, (5, 7)),
    ],
)
def test_maps_double_from_level_to_level(more, maps):
    assert architecture(**more).maps == maps


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"name": "UNETR"}, "name: found 'UNETR', input should be 'UNet3D'"),
        ({"layer_order": "gxr"}, "has 'x', expected letters of cbgrledD"),
        ({"layer_order": "rcb"}, "none of r, l, e in front"),
        ({"layer_order": "gr"}, "expected a c"),
        ({"layer_order": "crcr"}, "repeats a letter"),
        ({"layer_order": ""}, "expected a c"),
        ({"conv_kernel_size": 4}, "expected odd numbers"),
        ({"conv_kernel_size": [3, 3]}, "conv_kernel_size has 2 axes, expected 3 in UNet3D"),
        ({"pool_kernel_size": [1, 2, 2], "name": "UNet2D"}, "expected 2 in UNet2D"),
        ({"conv_padding": 0}, "conv_padding is 0, expected [1], half the kernel"),
        ({"conv_padding": [1, 1, 1], "conv_kernel_size": [1, 3, 3]}, "expected [0, 1, 1], half the kernel"),
        ({"f_maps": [4, 8, 16], "num_levels": 2}, "num_levels is 2, but f_maps lists 3 levels"),
        ({"f_maps": [4, 9], "num_levels": None, "upsample": "deconv"}, "each twice the one before"),
        ({"name": "ResidualUNet3D", "upsample": "nearest"}, "expected 'default' or 'deconv'"),
        ({"upsample": "bilinear"}, "does not fit 3D"),
        ({"heads": [{"name": "nuclei"}, {"name": "nuclei"}]}, "heads repeat a name"),
        ({"heads": [{"name": "affinities", "offsets": [[0, 0, 0]]}]}, "none of them 0, 0, 0"),
        ({"heads": [{"name": "boundary"}], "out_channels": 2}, "found heads and out_channels"),
        ({"heads": []}, "at least 1 item"),
        ({"num_level": 3}, "did you mean 'num_levels'?"),
        ({"heads": [{"name": "cells"}]}, "expected tags"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(more, complaint):
    with pytest.raises(BadInput) as caught:
        architecture(**more)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_address_needs_a_digest_and_a_path_does_not():
    with pytest.raises(BadInput, match=r"sha256: found None.*expected the digest of the file"):
        checked(ModelSpec, {"model": "https://example.org/net.pytorch"}, "m")
    assert checked(ModelSpec, {"model": "https://example.org/net.pytorch", "sha256": "0" * 64}, "m")
    assert checked(ModelSpec, {"model": "net.pytorch"}, "m").sha256 is None
