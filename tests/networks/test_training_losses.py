"""Losses against torch and by hand; what is masked has no say."""

import pytest
import torch
from torch.nn import functional

from cellflow.networks.training.losses import Bce, BceDice, Dice, GeneralisedDice, Mse

LOSSES = [Bce(), Dice(), BceDice(), GeneralisedDice(), Mse()]
NAMES = [loss.name for loss in LOSSES]


def drawn(seed=0, n=3, c=2):
    g = torch.Generator().manual_seed(seed)
    said = torch.randn(n, c, 4, 5, 6, generator=g, dtype=torch.float64) * 3
    target = (torch.rand(said.shape, generator=g) > 0.6).double()
    return said, target, (torch.rand(said.shape, generator=g) > 0.3).double()


def test_cross_entropy_is_that_of_torch():
    said, target, _ = drawn()
    found = Bce()(said, target, torch.ones_like(said))
    assert torch.allclose(found.mean(), functional.binary_cross_entropy_with_logits(said, target))
    assert torch.isfinite(Bce()(torch.full_like(said, 1e4), target, torch.ones_like(said))).all()


def test_dice_by_hand():
    said = torch.tensor([[[[[0.0, 40.0, -40.0]]]]])  # probabilities 1/2, 1, 0
    target = torch.tensor([[[[[1.0, 1.0, 0.0]]]]])
    known = torch.ones_like(said)
    assert Dice()(said, target, known).item() == pytest.approx(1 - 2 * 1.5 / (1.25 + 2), abs=1e-5)
    assert BceDice(dice=2)(said, target, known).item() == pytest.approx(
        (Bce()(said, target, known) + 2 * Dice()(said, target, known)).item()
    )


def test_generalised_dice_by_hand():
    said = torch.tensor([[[[[40.0, -40.0, -40.0, 40.0]]]]])  # 1 0 0 1
    target = torch.tensor([[[[[1.0, 0.0, 0.0, 0.0]]]]])
    # classes: one voxel (weight 1) and three (weight 1/9); shared 1 and 2; sizes 1 + 2 and 3 + 2
    expected = 1 - 2 * (1 + 2 / 9) / (3 + 5 / 9)
    assert GeneralisedDice()(said, target, torch.ones_like(said)).item() == pytest.approx(expected, abs=1e-5)


def test_squares_by_hand():
    said, target, known = drawn()
    assert torch.allclose(
        Mse()(said, target, torch.ones_like(known)).mean(), functional.mse_loss(said, target)
    )


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_what_is_masked_has_neither_value_nor_gradient(loss):
    said, target, known = drawn()
    other = torch.where(known > 0, target, 1 - target)
    said.requires_grad_()
    found = loss(said, target, known)
    assert torch.equal(found, loss(said, other, known))
    found.sum().backward()
    assert not said.grad[known == 0].any()
    assert said.grad[known > 0].abs().min() > 0
    assert not torch.equal(found, loss(said, target, torch.ones_like(known)))


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_a_sample_of_which_nothing_is_known_is_worth_nothing(loss):
    said, target, known = drawn()
    known[1] = 0
    said.requires_grad_()
    found = loss(said, target, known)
    assert found[1].item() == pytest.approx(0, abs=1e-9)
    assert (found[[0, 2]] > 0.01).all()
    found.sum().backward()
    assert not said.grad[1].any()


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_a_batch_may_be_cut_up(loss):
    said, target, known = drawn()
    alone = [loss(said[i : i + 1], target[i : i + 1], known[i : i + 1]) for i in range(3)]
    assert torch.allclose(loss(said, target, known), torch.cat(alone))


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_being_right_costs_least(loss):
    _, target, known = drawn()
    right = target if loss.name == "mse" else (target * 2 - 1) * 20
    assert loss(right, target, known).max() < 1e-3
    assert loss(-right, target, known).min() > 0.3
