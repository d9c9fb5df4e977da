"""What a training must remember to go on as if it had never stopped.

Weights, the optimiser's means, the place in the epoch and the sums up to there, and the rows of all epochs
before. There is no state of a random generator in it: every random number is a function of the seed, the
epoch and the place in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from cellflow.networks.training.history import Row

Write = Callable[[Path, Callable[[IO[bytes]], object]], None]
"""Writes a file that is whole or absent."""


@dataclass
class State:
    """Network and optimiser, and how far they are."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    sums: Tensor
    """Over the epoch so far: loss, samples, gradient norm, steps; float64."""
    epoch: int = 0
    step: int = 0
    rows: list[Row] = field(default_factory=list)

    def save(self, path: Path, write: Write) -> None:
        """All of it, in one file."""
        content: dict[str, Any] = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "sums": self.sums,
            "epoch": self.epoch,
            "step": self.step,
            "rows": [list(row) for row in self.rows],
        }
        write(path, lambda file: torch.save(content, file))

    def load(self, path: Path) -> None:
        """What was saved; nothing in the file is run."""
        content = torch.load(path, map_location=self.sums.device, weights_only=True)
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.scaler.load_state_dict(content["scaler"])
        self.sums.copy_(content["sums"])
        self.epoch, self.step = content["epoch"], content["step"]
        self.rows = [Row(*row) for row in content["rows"]]


def save_weights(network: nn.Module, path: Path, write: Write) -> None:
    """The weights alone, under pytorch-3dunet's keys."""
    weights = {name: value.cpu() for name, value in network.state_dict().items()}
    write(path, lambda file: torch.save(weights, file))
