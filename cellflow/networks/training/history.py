"""What is known of a training after each epoch."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellflow.networks.training.spec import Learning


class Row(NamedTuple):
    """One epoch."""

    epoch: int
    steps: int
    learning_rate: float
    loss: float
    gradient_norm: float
    validation_loss: float
    adapted_rand_error: float | None
    """None where no boundaries are predicted."""
    threshold: float | None


@dataclass(frozen=True)
class Verdict:
    """What came of it."""

    loss: float
    error: float | None
    """Adapted Rand error of quick cells, the mean over volumes; None where no boundaries are predicted."""
    threshold: float | None
    slices: tuple[tuple[str, NDArray[np.float32]], ...]
    """The middle slice of the first volume, by name: raw, then for each head target and prediction."""


def scores(rows: list[Row], learning: Learning) -> list[float]:
    """What networks are ranked by, lower is better."""
    if learning.validation.select == "loss" or any(row.adapted_rand_error is None for row in rows):
        return [row.validation_loss for row in rows]
    return [row.adapted_rand_error for row in rows if row.adapted_rand_error is not None]


def csv(rows: list[Row]) -> str:
    """The rows as text, the same bytes for the same numbers; holds no times."""
    lines = [",".join(Row._fields)]
    lines += [",".join("" if value is None else repr(value) for value in row) for row in rows]
    return "\n".join(lines) + "\n"
