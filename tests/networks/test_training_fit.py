"""The loop: it learns, it goes on to the same bits, several processes agree with one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import PLAIN, desk, learning, task, tissue, volume

from cellflow.core.errors import BadInput
from cellflow.networks.architecture import Architecture
from cellflow.networks.heads import Affinities, Boundary, Foreground, Nuclei, Output
from cellflow.networks.training.fit import train
from cellflow.networks.training.history import csv, scores
from cellflow.networks.training.schedule import Constant, Cosine, Optimiser, Plateau
from cellflow.networks.training.targets import (
    AffinityTarget,
    BoundaryTarget,
    DistanceTarget,
    ForegroundTarget,
    NucleiTarget,
)

ROOT = Path(__file__).parents[2]
OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Six epochs without a break: the rows, and the folder."""
    folder = tmp_path_factory.mktemp("straight")
    return train(task(learning()), desk(folder)), folder


def test_it_learns(straight):
    rows, _ = straight
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1].loss < 0.8 * rows[0].loss
    assert rows[-1].validation_loss < 0.8 * rows[0].validation_loss


def test_shuffled_labels_teach_nothing(straight, tmp_path):
    """The control of the test above: with labels of another tissue, validation does not get as good."""
    rows, _ = straight
    wrong = volume(1, truth=np.ascontiguousarray(tissue(5)["truth"][::-1, ::-1]))
    found = train(task(learning(), (wrong,)), desk(tmp_path))
    assert min(row.validation_loss for row in found) > 1.2 * rows[-1].validation_loss


def test_the_best_and_the_last_network_are_kept(straight):
    rows, folder = straight
    ranks = scores(rows, learning())
    best, last = (torch.load(folder / f"{n}.pytorch", weights_only=True) for n in ("model", "last"))
    same = all(torch.equal(best[name], last[name]) for name in best)
    assert same == (ranks.index(min(ranks)) == len(rows) - 1)


class Killed(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("kills", [(1,), (6,), (7, 8), (17, 29), (36,)])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(straight, tmp_path, kills):
    rows, folder = straight
    p = learning(save_every=4)
    moments = list(kills)

    def stop(done):
        if moments and done == moments[0]:
            moments.pop(0)
            raise Killed

    for _ in kills:
        with pytest.raises(Killed):
            train(task(p), desk(tmp_path, stop))
    assert csv(train(task(p), desk(tmp_path))) == csv(rows)
    for name in ("model.pytorch", "last.pytorch"):
        ours, theirs = (torch.load(f / name, weights_only=True) for f in (tmp_path, folder))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("forgotten", ["optimiser", "sums", "step"])
def test_a_state_that_forgets_would_be_seen(straight, tmp_path, forgotten):
    """Breaks on purpose what the test above relies on."""
    rows, _ = straight
    p = learning(save_every=4)

    def stop(done):
        if done == 10:
            raise Killed

    with pytest.raises(Killed):
        train(task(p), desk(tmp_path, stop))
    state = torch.load(tmp_path / "state.pytorch", weights_only=True)
    if forgotten == "optimiser":
        state["optimiser"]["state"] = {}
    else:
        state[forgotten] = state[forgotten] * 0
    torch.save(state, tmp_path / "state.pytorch")
    assert csv(train(task(p), desk(tmp_path))) != csv(rows)


def test_loaders_change_nothing(straight, tmp_path):
    short = learning(epochs=1)
    rows = train(task(short), desk(tmp_path / "a"))
    assert csv(train(task(learning(epochs=1, loaders=1)), desk(tmp_path / "b"))) == csv(rows)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"augmentation": PLAIN},
        {"optimiser": Optimiser(learning_rate=0.01, schedule=Cosine())},
        {"optimiser": Optimiser(learning_rate=0.01, clip_norm=0.01)},
        {"optimiser": Optimiser(learning_rate=0.01, weight_decay=0.1)},
        {"optimiser": Optimiser(learning_rate=0.01, betas=(0.5, 0.9))},
        {"precision": "bfloat16"},
        {"targets": (BoundaryTarget(sigma=2),)},
        {"targets": (BoundaryTarget(threshold=0.3),)},
        {"targets": (BoundaryTarget(threshold=None),)},
        {"targets": (BoundaryTarget(weight=2),)},
    ],
    ids=str,
)
def test_what_may_be_set_has_an_effect(tmp_path, other):
    base = {"epochs": 1, "optimiser": Optimiser(learning_rate=0.01, schedule=Plateau())}
    assert csv(train(task(learning(**{**base, **other})), desk(tmp_path / "b"))) != csv(
        train(task(learning(**base)), desk(tmp_path / "a"))
    )


def test_all_heads_learn_at_once(tmp_path):
    heads = (
        Boundary(), Affinities(offsets=OFFSETS), Foreground(), Nuclei(channels=2), Output(activation="none"),
    )  # fmt: skip
    targets = (
        BoundaryTarget(),
        AffinityTarget(),
        ForegroundTarget(),
        NucleiTarget(),
        DistanceTarget(largest=4),
    )
    p = learning(architecture=Architecture(f_maps=4, num_levels=2, heads=heads), targets=targets, epochs=4)
    rows = train(task(p), desk(tmp_path))
    assert rows[-1].loss < 0.9 * rows[0].loss


def test_a_network_in_2d_learns(tmp_path):
    p = learning(
        architecture=Architecture(name="UNet2D", f_maps=4, num_levels=2),
        patches={"shape": (1, 32, 32), "batch": 4, "per_epoch": 24},
        epochs=3,
    )
    rows = train(task(p), desk(tmp_path))
    assert rows[-1].loss < rows[0].loss


def test_it_ends_early_when_nothing_gets_better(tmp_path):
    wild = Optimiser(learning_rate=0.5, schedule=Constant())
    p = learning(epochs=6, stop_after=1, optimiser=wild, validation={"select": "loss"})
    assert len(train(task(p), desk(tmp_path))) < 6


def test_a_loss_that_is_no_number_ends_it_with_a_line(tmp_path):
    p = learning(
        architecture=Architecture(f_maps=4, num_levels=2, layer_order="cr"),
        optimiser=Optimiser(learning_rate=1e30, schedule=Constant()),
    )
    with pytest.raises(BadInput, match="no number; lower optimiser"):
        train(task(p), desk(tmp_path))


SCRIPT = """
import os
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {here!r}]
import torch
torch.set_num_threads(1)
from training_toys import desk, learning, task
from cellflow.networks.architecture import Architecture
from cellflow.networks.training import processes
from cellflow.networks.training.fit import train
from cellflow.networks.training.history import csv
p = learning(architecture=Architecture(f_maps=4, num_levels=2, layer_order="cr"), epochs=2)
summed, ended = processes.summed, []
def summed_once(*values):
    ended.append(values)
    if len(ended) == 2 and processes.rank() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.abort()
    return summed(*values)
processes.summed = summed_once
with processes.group():
    rows = train(task(p), desk(Path(sys.argv[1])))
    Path(sys.argv[1], f"rows{{processes.rank()}}.csv").write_text(csv(rows))
"""


def test_two_processes_learn_what_one_does_although_one_of_them_dies(tmp_path):
    p = learning(architecture=Architecture(f_maps=4, num_levels=2, layer_order="cr"), epochs=2)
    alone = train(task(p), desk(tmp_path / "alone"))
    script = tmp_path / "both.py"
    script.write_text(SCRIPT.format(root=str(ROOT), here=str(Path(__file__).parent)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "--max-restarts", "3", str(script), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONFAULTHANDLER": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "SIGABRT" in done.stderr or "exitcode: -6" in done.stderr
    first, second = ((tmp_path / f"rows{r}.csv").read_text() for r in (0, 1))
    assert first == second
    numbers = [[float(v) for v in line.split(",")] for line in first.splitlines()[1:]]
    for row, found in zip(alone, numbers, strict=True):
        assert found == pytest.approx(list(row), rel=1e-5)
