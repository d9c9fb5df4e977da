"""Self-training: which cells are picked, what a student learns of them, and the rounds as a workflow."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from running import command, environment

from cellflow.core.contingency import contingency_block, without
from cellflow.core.errors import BadInput
from cellflow.core.metrics import adapted_rand_error
from cellflow.core.phantom import Phantom, phantom_block
from cellflow.networks.architecture import Architecture
from cellflow.networks.heads import Boundary, Output
from cellflow.networks.model import load_model
from cellflow.networks.spec import ModelSpec
from cellflow.networks.training.labels import OTHER, patch_labels
from cellflow.networks.training.targets import (
    AffinityTarget,
    BoundaryTarget,
    DistanceTarget,
    ForegroundTarget,
)
from cellflow.networks.training.tiles import predicted_boundaries
from cellflow.networks.unet import UNet
from cellflow.selftraining import Rounds
from cellflow.stages.pick import Choice, chosen
from cellflow.stages.pick.cells import Cut, cells_of
from cellflow.stages.pick.table import picks_csv
from cellflow.stages.train.picks import OTHER_CELLS, picked

SHAPE = (24, 48, 48)
VOXEL = (0.5, 0.25, 0.25)
PITCH = (2.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def tissue():
    return phantom_block(
        Phantom(shape=SHAPE, cell_um=5, tissue=1.0, holes=0.1), tuple(slice(0, n) for n in SHAPE)
    )


@pytest.fixture(scope="module")
def cells(tissue):
    return cells_of(tissue.boundaries, Cut(min_size=20), VOXEL)


def test_cells_of_good_boundaries_are_good(tissue, cells):
    found = without(contingency_block(tissue.labels, cells.labels))
    assert adapted_rand_error(found).error < 0.25
    assert cells.labels.min() == 1
    assert cells.size.sum() == cells.labels.size
    assert np.all((cells.weakest <= cells.face + 1e-9) | (cells.face == 0))


def test_the_weakest_contact_tells_cut_cells(tissue, cells):
    """A cell cut in two by hand gets a weak contact; so does each half of a real mistake."""
    clean = np.where(tissue.boundaries > 127, np.uint8(255), np.uint8(0))
    whole = cells_of(clean, Cut(min_size=20, beta=0.5), VOXEL)
    pieces = cells_of(clean, Cut(min_size=20, beta=0.99), VOXEL)
    assert pieces.size.size > whole.size.size
    assert np.median(pieces.weakest) < np.median(whole.weakest)


def test_the_surest_are_picked_up_to_a_share(cells):
    sure = chosen(cells, Choice(share=0.3), 0)
    assert 0.2 < cells.size[sure].sum() / cells.labels.size <= 0.3
    assert cells.weakest[sure].min() >= cells.weakest[~sure].max() - 1e-9
    any_ = chosen(cells, Choice(share=0.3, by="random"), 0)
    assert not np.array_equal(any_, sure)
    assert not np.array_equal(any_, chosen(cells, Choice(share=0.3, by="random", seed=1), 0))
    assert not np.array_equal(any_, chosen(cells, Choice(share=0.3, by="random"), 1))
    assert chosen(cells, Choice(share=1.0), 0).all()


class Held:
    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def read(self, box):
        return self.values[box]


def test_a_table_is_read_as_it_was_written_or_edited(tmp_path, cells):
    table = tmp_path / "picks.csv"
    sure = chosen(cells, Choice(), 0)
    table.write_text(picks_csv(cells, sure))
    found = picked(Held(cells.labels), str(table))
    assert np.array_equal(found.cells, np.flatnonzero(sure) + 1)
    box = (slice(0, 8), slice(0, 30), slice(3, 40))
    kept = np.isin(cells.labels[box], found.cells)
    assert np.array_equal(found.read(box), np.where(kept, cells.labels[box], OTHER_CELLS))
    lines = table.read_text().splitlines()
    first = lines[1].split(",")[0]
    table.write_text("\n".join([lines[0], lines[1][:-1] + " 0", *lines[2:]]))
    assert int(first) in found.cells
    assert int(first) not in picked(Held(cells.labels), str(table)).cells


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cell,picked\n1,0\n", "no cell that is picked"),
        ("cell,picked\n1,yes\n", "'yes' where a number of a cell, or 0 or 1, was expected"),
        ("cell,picked\none,1\n", "where a number of a cell"),
        ("cells,picked\n1,1\n", "'cell' where"),
        ("cell,picked\n1\n", "where a number"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_explained(tmp_path, cells, text, said):
    table = tmp_path / "picks.csv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(BadInput, match=said):
        picked(Held(cells.labels), str(table))


def test_of_other_cells_only_the_border_is_learnt():
    stored = np.full((9, 14, 14), OTHER_CELLS, np.uint64)
    stored[:, 4:10, 4:10] = 5
    stored[:, :3] = OTHER_CELLS
    labels = patch_labels(stored, None, OTHER_CELLS)
    assert set(np.unique(labels)) == {OTHER, 1}
    values, known = BoundaryTarget().maps({"truth": labels}, PITCH, Boundary())
    assert known[0][labels == 1].all()
    assert values[0, 4, 3, 6] == values[0, 4, 4, 6] == 1
    assert known[0, 4, 3, 6]
    assert not known[0, 4, :2].any()
    assert (values[0] > 0)[known[0] & (labels == OTHER)].all()
    for target, head in (
        (DistanceTarget(largest=4), Output(activation="none")),
        (ForegroundTarget(), Boundary()),
    ):
        assert not target.maps({"truth": labels}, PITCH, head)[1][0][labels == OTHER].any()
    from cellflow.networks.heads import Affinities

    values, known = AffinityTarget().maps({"truth": labels}, PITCH, Affinities(offsets=((0, 0, -1),)))
    assert known[0, 4, 5, 4]
    assert values[0, 4, 5, 4] == 0
    assert values[0, 4, 5, 5] == 1
    assert not known[0, 4, 5, 1:4].any()


def random_network(folder: Path, seed: int = 0) -> Path:
    """A network that has learnt nothing but how its maps are spread, as files."""
    from cellflow.networks.sources.description import description
    from cellflow.networks.spec import Trained

    torch.manual_seed(seed)
    a = Architecture(f_maps=4, num_levels=2)
    network = UNet(a)
    network.train()
    with torch.no_grad():
        for _ in range(30):
            network(torch.randn(2, 1, 16, 16, 16))
        network.final_conv.weight *= 10
    torch.save(network.state_dict(), folder / "model.pytorch")
    (folder / "model.yaml").write_text(description(Trained(architecture=a)))
    return folder / "model.pytorch"


def test_tiles_leave_no_seams(tmp_path, rng):
    model = load_model(ModelSpec(model=str(random_network(tmp_path))), "cpu")
    image = rng.normal(0, 1, (21, 45, 50)).astype(np.float32)
    whole = predicted_boundaries(model, image, (64, 64, 64))
    cut = predicted_boundaries(model, image, (8, 16, 16))
    assert whole.shape == image.shape
    assert np.abs(whole.astype(int) - cut).max() <= 1


PHANTOM = {"shape": [16, 32, 32], "cell_um": 4}
TOY = {
    "results": "out",
    "selftraining": {
        "teacher": "model.pytorch",
        "volumes": [{"phantom": PHANTOM}],
        "rounds": 1,
        "cut": {"min_size": 20, "sigma_seeds": 1, "beta": 0.8},
        "student": {
            "patches": {"shape": [8, 16, 16], "batch": 2, "per_epoch": 8, "least_labelled": 0.2},
            "validation": {"select": "loss"},
            "epochs": 1,
            "device": "cpu",
        },
    },
}


def snakemake(folder, *more):
    found = subprocess.run(
        [*command()[:3], "selftrain", *command(*more)[3:]],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return found.returncode, found.stdout + found.stderr


def test_a_round_runs_and_an_edited_table_asks_for_another_student(tmp_path):
    random_network(tmp_path)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(TOY))
    code, said = snakemake(tmp_path)
    assert code == 0, said
    assert "student 1" in said
    (found,) = json.loads((tmp_path / "out" / "pick-1.json").read_text())["result"]["volumes"]
    assert 0 < found["picked"] < found["cells"]
    assert 0 < found["adapted_rand_error"] <= 1
    assert load_model(ModelSpec(model=str(tmp_path / "out" / "train-1" / "model.pytorch")), "cpu")
    table = tmp_path / "out" / "pick-1" / "picks-0.csv"
    lines = table.read_text().splitlines()
    assert len(lines) == found["cells"] + 1
    table.write_text("\n".join([lines[0], *(line[:-1] + "1" for line in lines[1:])]))
    code, said = snakemake(tmp_path, "-n", "--quiet", "host")
    assert code == 0, said
    assert {line.split()[1] for line in said.splitlines() if line.startswith("rule")} <= {
        *("student:", "pick:", "selftrain:")
    }
    assert "rule student" in said
    assert "out/train-1.json" in said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"volumes": [{"learn": True}]}, "expected raw, or phantom"),
        ({"volumes": [{"phantom": PHANTOM, "learn": False}]}, "found none to learn from"),
        ({"student": {"start": "x"}}, "the teacher gives both"),
        ({"round": 3}, "rounds"),
    ],
)
def test_what_is_wrong_is_said(wrong, said):
    from cellflow.selftraining import from_mapping

    with pytest.raises(BadInput, match=said):
        from_mapping({**TOY, "selftraining": {**TOY["selftraining"], **wrong}}, "toy.yaml")


def test_each_round_draws_anew_and_has_the_student_before_as_teacher():
    rounds = Rounds.model_validate({**TOY, "selftraining": {**TOY["selftraining"], "rounds": 3}})
    assert [rounds.params("pick", r).teacher for r in (1, 2)] == [
        "model.pytorch",
        "out/train-1/model.pytorch",
    ]
    assert rounds.params("pick", 1).choice.seed != rounds.params("pick", 2).choice.seed
    assert rounds.params("train", 1).seed != rounds.params("train", 2).seed
    assert [v.picks for v in rounds.params("train", 2).train] == ["out/pick-2/picks-0.csv"]
