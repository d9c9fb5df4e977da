"""The networks are pytorch-3dunet's: the same keys and shapes, and from the same weights the same numbers."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from small_networks import architecture, network

from cellflow.core.errors import BadInput
from cellflow.core.schema import checked
from cellflow.networks.architecture import Architecture
from cellflow.networks.unet import UNet, tile_dependence

KNOWN = yaml.safe_load((Path(__file__).parent / "pytorch_3dunet.yaml").read_text())
LISTED = [known for known in KNOWN if "keys" in known]


def named(known):
    block = known["block"]
    return f"{block['name']}-{block['layer_order']}-{block.get('upsample', 'default')}-{block['f_maps']}"


def built(block):
    return UNet(checked(Architecture, block, "test"))


def filled(made):
    """The network with weights that a formula gives, key by key in their order."""
    for i, (key, values) in enumerate(made.state_dict().items()):
        if values.is_floating_point():
            wave = torch.sin(0.7 * torch.arange(values.numel(), dtype=torch.float64) + i).reshape(
                values.shape
            )
            scale = key.endswith("running_var") or (values.ndim == 1 and key.endswith("weight"))
            flat = 1 + 0.3 * wave if scale else 0.1 * wave
            values.copy_(flat if values.ndim == 1 else wave * math.sqrt(4 / values[0].numel()))
    return made


def image(shape):
    return torch.sin(0.37 * torch.arange(math.prod(shape), dtype=torch.float64) ** 1.1).float().reshape(shape)


def predicted(made, values):
    with torch.inference_mode():
        return made.eval()(values)


@pytest.mark.parametrize("known", LISTED, ids=map(named, LISTED))
def test_keys_and_shapes_are_those_of_pytorch_3dunet(known):
    found = [
        f"{k} {' '.join(map(str, v.shape))}".rstrip() for k, v in built(known["block"]).state_dict().items()
    ]
    assert found == known["keys"].splitlines()


@pytest.mark.parametrize("known", KNOWN, ids=map(named, KNOWN))
def test_predictions_are_those_of_pytorch_3dunet(known):
    (made,) = predicted(filled(built(known["block"])), image(known["image"])).values()
    assert list(made.shape) == [2, known["block"]["out_channels"], *known["image"][2:]]
    flat = made.double().flatten()
    expected = [known["mean"], known["deviation"], *known["values"]]
    at = torch.linspace(0, len(flat) - 1, 7).long()
    assert [flat.mean(), flat.std(), *flat[at]] == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["UNet", "ResidualUNet", "ResidualUNetSE"])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_kind_keeps_the_extent_of_the_image(name, dims):
    made = network(name=f"{name}{dims}D", in_channels=2, num_levels=3)
    (out,) = predicted(made, torch.zeros(1, 2, *(5, 9, 14)[-dims:])).values()
    assert out.shape == (1, 1, *(5, 9, 14)[-dims:])


def test_squeeze_and_excitation_in_2d_has_the_keys_of_3d():
    two, three = (network(name=f"ResidualUNetSE{d}D").state_dict() for d in (2, 3))
    assert list(two) == list(three)
    assert two["encoders.0.basic_module.se_module.sSE.conv.weight"].shape == (1, 4, 1, 1)


HEADS = [
    {"name": "boundary"},
    {"name": "foreground", "channels": 2, "activation": "softmax"},
    {"name": "affinities", "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [0, -9, 0]]},
    {"name": "embeddings", "channels": 6},
    {"name": "nuclei", "channels": 2},
]


def test_several_heads_share_one_body():
    many = network(heads=HEADS)
    values = image((1, 1, 4, 8, 8))
    found = predicted(many, values)
    assert {name: maps.shape[1] for name, maps in found.items()} == {
        "boundary": 1, "foreground": 2, "affinities": 4, "embeddings": 6, "nuclei": 2,
    }  # fmt: skip
    one = network(heads=HEADS[2:3])
    weights = {k: v for k, v in many.state_dict().items() if not k.startswith("heads.")}
    weights |= {f"final_conv.{k}": many.state_dict()[f"heads.affinities.{k}"] for k in ("weight", "bias")}
    one.load_state_dict(weights)
    assert torch.equal(predicted(one, values)["affinities"], found["affinities"])


def test_a_single_head_of_any_meaning_has_the_keys_of_pytorch_3dunet():
    keys = LISTED[1]["keys"]
    for head in HEADS:
        found = network(in_channels=2, heads=[head]).state_dict()
        assert list(found) == [line.split()[0] for line in keys.splitlines()]


def test_heads_are_activated_in_use_and_bare_in_training():
    made, values = network(heads=HEADS, layer_order="cr"), image((1, 1, 4, 8, 8))
    used, bare = predicted(made, values), made.train()(values)
    assert torch.allclose(used["boundary"], torch.sigmoid(bare["boundary"]))
    assert torch.allclose(used["foreground"].sum(dim=1), torch.ones(1, 4, 8, 8))
    assert torch.allclose(used["foreground"], torch.softmax(bare["foreground"], dim=1))
    assert torch.equal(used["embeddings"], bare["embeddings"].detach())
    assert used["boundary"].unique().numel() > 10


@pytest.mark.parametrize(
    ("more", "because"),
    [
        ({}, ()),
        ({"layer_order": "cr"}, ()),
        ({"name": "ResidualUNet3D"}, ()),
        ({"layer_order": "gcr", "num_groups": 2}, ("GroupNorm",)),
        ({"name": "ResidualUNetSE2D"}, ("squeeze and excitation",)),
        ({"upsample": "deconv", "pool_kernel_size": [1, 2, 2]}, ()),
        ({"upsample": "deconv", "conv_kernel_size": 7}, ("stretched upsampling",)),
    ],
)
def test_a_network_says_whether_its_tiles_show(more, because):
    assert tile_dependence(network(**more)) == because


def test_instance_norm_put_into_a_network_is_found():
    made = network()
    made.encoders[0].basic_module.SingleConv1.batchnorm = torch.nn.InstanceNorm3d(1)
    assert tile_dependence(made) == ("InstanceNorm",)


def test_our_own_networks_have_batchnorm():
    assert "b" in Architecture().layer_order
    assert tile_dependence(UNet(architecture())) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"in_channels": 2},
        {"f_maps": 6},
        {"num_levels": 3},
        {"layer_order": "gcr", "num_groups": 2},
        {"num_groups": 4, "layer_order": "gcr"},
        {"conv_kernel_size": 5},
        {"pool_kernel_size": [1, 2, 2]},
        {"pool_type": "avg"},
        {"upsample": "trilinear"},
        {"upsample": "deconv"},
        {"conv_upscale": 1},
        {"name": "ResidualUNet3D"},
    ],
)
def test_every_parameter_changes_the_prediction(change):
    same = {"layer_order": "gcr", "num_groups": 2} if change.get("num_groups") == 4 else {}
    before, after = (filled(UNet(architecture(**{**same, **c}))) for c in ({}, change))
    values = [image((1, made.architecture.in_channels, 4, 8, 8)) for made in (before, after)]
    one, other = (predicted(m, v)["boundary"] for m, v in zip((before, after), values, strict=True))
    assert not torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("name", ["UNet3D", "ResidualUNet3D"])
def test_dropout_acts_in_training_alone(name):
    values = image((1, 1, 4, 8, 8))

    def spread(share):
        made = filled(UNet(architecture(name=name, layer_order="crd", dropout_prob=share)))
        torch.manual_seed(0)
        with torch.no_grad():
            return (made.train()(values)["boundary"] - made.train()(values)["boundary"]).abs().mean()

    assert spread(0.0) == 0
    assert 0 < spread(0.1) < spread((0.5, 0.5))
    made = filled(UNet(architecture(name=name, layer_order="crd")))
    assert torch.equal(predicted(made, values)["boundary"], predicted(made, values)["boundary"])


def test_groups_that_do_not_divide_the_maps_are_named():
    with pytest.raises(BadInput, match="num_groups: found 3, expected a divisor of 4"):
        UNet(architecture(layer_order="cgr", num_groups=3, conv_upscale=1))
