"""The networks that come with cellflow find what they are for, in a tissue that they have not seen."""

import numpy as np
import pytest
import torch

from cellflow.core.phantom import Phantom, phantom_block
from cellflow.networks.model import load_model
from cellflow.networks.sources import shipped
from cellflow.networks.spec import ModelSpec

LIGHT = {"membrane3d": 0.15, "nuclei3d": 3.0}
"""Light of the nuclei in the image."""


@pytest.fixture(scope="module")
def tissues():
    whole = tuple(slice(0, n) for n in (32, 96, 96))
    return {
        name: phantom_block(Phantom(shape=(32, 96, 96), seed=77, nuclei=light, photons=30), whole)
        for name, light in LIGHT.items()
    }


def test_both_are_there_and_small():
    assert sorted(shipped()) == sorted(LIGHT)
    assert sum(path.stat().st_size for path in shipped().values()) <= 4 << 20


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_it_leaves_no_seams_and_says_what_it_is_for(name):
    known = load_model(ModelSpec(model=name), "cpu").description
    assert not known.tile_dependent
    assert max(known.reach) <= 32
    assert known.voxel_size_um is not None


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_it_finds_what_it_is_for(name, tissues):
    assert _separation(load_model(ModelSpec(model=name), "cpu"), tissues[name]) > 0.85


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_one_that_has_not_learnt_finds_nothing(name, tissues):
    loaded = load_model(ModelSpec(model=name), "cpu")
    torch.manual_seed(0)
    for module in loaded.network.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert _separation(loaded, tissues[name]) < 0.75


def _separation(loaded, tissue):
    """The share of pairs, one voxel of what is sought and one of the rest, that are told apart (AUC)."""
    raw = tissue.raw.astype(np.float32)
    (head,) = loaded.description.heads
    said = loaded((raw - raw.mean())[None, None] / raw.std())[head.name][0, 0]
    sought = tissue.boundaries > 127 if head.name == "boundary" else tissue.nuclei > 0
    rank = np.argsort(np.argsort(said, axis=None)).reshape(said.shape)
    n, m = sought.sum(), (~sought).sum()
    return float((rank[sought].sum() - n * (n - 1) / 2) / (n * m))
