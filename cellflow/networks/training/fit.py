"""The training loop: epochs of steps, a validation after each, and a state from which it goes on.

Per step: patches `(epoch, index)` are drawn, each process takes its share of the batch, gradients are
averaged, Adam moves the weights. Per epoch: the network is judged, the best one so far is kept, and the
state is saved. On one CPU thread the same config gives the same bits, however often it was stopped.

With several processes a step sees the same patches as with one, and losses agree to rounding. BatchNorm is
the exception: on CPUs each process normalises its own share of the batch (on GPUs all of it, SyncBatchNorm),
and so it learns a little differently.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from cellflow.core.errors import BadInput
from cellflow.networks.architecture import Architecture
from cellflow.networks.device import device_of
from cellflow.networks.training import processes
from cellflow.networks.training.forward import Batch, bare, collate, losses, to_device
from cellflow.networks.training.history import Row, Verdict, scores
from cellflow.networks.training.judge import judge
from cellflow.networks.training.schedule import waited
from cellflow.networks.training.spec import Learning
from cellflow.networks.training.state import State, Write, save_weights
from cellflow.networks.training.task import Task
from cellflow.networks.unet import UNet


@dataclass(frozen=True)
class Desk:
    """Where a training puts what it makes, and whom it tells; only the first process uses it to write."""

    folder: Path
    """Gets `model.pytorch`, the best network, and `last.pytorch` at the end."""
    state: Path
    write: Write
    on_step: Callable[[int], None]
    """Told the number of steps that are done, after each."""
    on_epoch: Callable[[list[Row], Verdict | None], None]
    """Told all epochs so far, after each and once at the start."""


def train(task: Task, desk: Desk) -> list[Row]:
    """All epochs, with those of earlier runs: the network learns until the last one, or until it stops
    getting better. Raises `BadInput` for a device that is not there and for a loss that is no number.
    """
    if task.learning.patches.batch % processes.count():
        raise BadInput(
            f"training.patches.batch: found {task.learning.patches.batch}, expected a multiple of the "
            f"{processes.count()} processes"
        )
    device = device_of(processes.own_device(task.learning.device))
    state = _begin(task, device)
    if desk.state.exists():
        state.load(desk.state)
    first = processes.rank() == 0
    if first:
        desk.on_epoch(state.rows, None)
    shared = _shared(state.network, device)
    batches = _batches(task, state)
    while state.epoch < task.learning.epochs and not _enough(state.rows, task.learning):
        _epoch(task, desk, state, shared, batches)
        row, verdict = _closed(task, state, device)
        state.rows.append(row)
        if first and waited(scores(state.rows, task.learning)) == 0:
            save_weights(state.network, desk.folder / "model.pytorch", desk.write)
        state.epoch, state.step = state.epoch + 1, 0
        state.sums.zero_()
        if first:
            state.save(desk.state, desk.write)
            desk.on_epoch(state.rows, verdict)
    if first:
        save_weights(state.network, desk.folder / "last.pytorch", desk.write)
    processes.meet()
    return state.rows


def weight_count(architecture: Architecture) -> int:
    """Numbers that a network learns; none is made for it."""
    with torch.device("meta"):
        return sum(weights.numel() for weights in UNet(architecture).parameters())


def _enough(rows: list[Row], learning: Learning) -> bool:
    return learning.stop_after is not None and waited(scores(rows, learning)) >= learning.stop_after


def _begin(task: Task, device: torch.device) -> State:
    torch.manual_seed(task.learning.seed)
    network = UNet(task.architecture)
    if task.first is not None:
        network.load_state_dict(task.first)
    layout = torch.channels_last if task.architecture.dims == 2 else torch.channels_last_3d
    network = network.to(device).to(memory_format=layout)  # type: ignore[call-overload]  # its stub lacks it
    network.train()
    p = task.learning.optimiser
    optimiser = torch.optim.Adam(
        network.parameters(), lr=p.learning_rate, betas=p.betas, weight_decay=p.weight_decay
    )
    scaler = torch.amp.GradScaler(device.type, enabled=task.learning.precision == "float16")
    return State(network, optimiser, scaler, torch.zeros(4, dtype=torch.float64, device=device))


def _shared(network: nn.Module, device: torch.device) -> nn.Module:
    """The network whose gradients are averaged over processes; the network itself with one process."""
    if processes.count() == 1:
        return network
    # Of weights of one voxel: their layout is the same in memory, whatever their strides say.
    warnings.filterwarnings("ignore", message="Grad strides do not match")
    if device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)


def _batches(task: Task, state: State) -> Iterator[Batch]:
    """This process's share of all batches from here to the last epoch."""
    loaders = task.learning.loaders
    loader: DataLoader[Batch] = DataLoader(
        task.samples,  # type: ignore[arg-type]  # any object with an index will do
        batch_sampler=_Keys(task, state.epoch, state.step),
        num_workers=loaders,
        collate_fn=collate,
        multiprocessing_context="spawn" if loaders else None,
    )
    return iter(loader)


class _Keys:
    """Which samples each step sees: `(epoch, index)`, from where a training stands."""

    def __init__(self, task: Task, epoch: int, step: int) -> None:
        self.epochs, self.steps = task.learning.epochs, task.steps
        self.batch, self.start = task.learning.patches.batch, (epoch, step)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.start[0], self.epochs):
            for step in range(self.start[1] if epoch == self.start[0] else 0, self.steps):
                indices = range(step * self.batch, (step + 1) * self.batch)
                yield [(epoch, index) for index in indices[processes.rank() :: processes.count()]]


def _epoch(task: Task, desk: Desk, state: State, shared: nn.Module, batches: Iterator[Batch]) -> None:
    """The steps of an epoch that are still to be done."""
    known = scores(state.rows, task.learning)
    while state.step < task.steps:
        share = (state.epoch + state.step / task.steps) / task.learning.epochs
        rate = task.learning.optimiser.learning_rate * task.learning.optimiser.schedule.rate(known, share)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        # Only dropout draws from torch's generator.
        torch.manual_seed(_seed(task.learning.seed, state.epoch, state.step))
        _step(task, state, shared, next(batches))
        state.step += 1
        if processes.rank() == 0:
            if (
                state.step % task.learning.save_every == 0
                and state.step < task.steps
                and processes.count() == 1
            ):
                state.save(desk.state, desk.write)
            desk.on_step(state.epoch * task.steps + state.step)


def _step(task: Task, state: State, shared: nn.Module, batch: Batch) -> None:
    images, maps = to_device(batch, state.sums.device)
    state.optimiser.zero_grad()
    said = bare(shared, images, task.architecture.dims, task.learning.precision)
    each = losses(said, maps, task.learning.targets)
    state.scaler.scale(each.mean()).backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimiser)
    longest = task.learning.optimiser.clip_norm or float("inf")
    norm = nn.utils.clip_grad_norm_(shared.parameters(), longest)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    state.sums += torch.stack(
        [
            each.detach().sum().double(),
            each.new_tensor(len(each)).double(),
            norm.double(),
            norm.new_tensor(1).double(),
        ]
    )


def _closed(task: Task, state: State, device: torch.device) -> tuple[Row, Verdict | None]:
    """The row of an epoch whose steps are done; the first process judges and tells the others."""
    loss, samples, norm, steps = processes.summed(state.sums.tolist(), device)
    mean = loss / samples
    if not np.isfinite(mean):
        raise BadInput(
            f"training: the loss of epoch {state.epoch + 1} is no number; lower optimiser.learning_rate, or "
            "set optimiser.clip_norm, or use the precision float32"
        )
    verdict = None
    said = [0.0, -1.0, -1.0]
    if processes.rank() == 0:
        verdict = judge(state.network, task.checks, task.learning, task.architecture, device)
        said = [verdict.loss, *(-1.0 if v is None else v for v in (verdict.error, verdict.threshold))]
    own_loss, error, threshold = processes.told(said, device)
    rate = state.optimiser.param_groups[0]["lr"]
    row = Row(
        state.epoch + 1, (state.epoch + 1) * task.steps, rate, mean, norm / steps, own_loss,
        error if error >= 0 else None, threshold if threshold >= 0 else None,
    )  # fmt: skip
    return row, verdict


def _seed(*parts: int) -> int:
    """One number from several; another one in each process."""
    return int(np.random.SeedSequence([*parts, processes.rank()]).generate_state(1)[0])
