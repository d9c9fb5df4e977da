"""A network's validation: each volume's window goes through it in one piece."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import fsum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cellflow.networks.architecture import Architecture
from cellflow.networks.training.forward import bare, collate, losses, to_device
from cellflow.networks.training.history import Verdict
from cellflow.networks.training.patches import Sample, made
from cellflow.networks.training.spec import Learning, fit
from cellflow.networks.training.targets import margin
from cellflow.networks.training.task import Check
from cellflow.networks.training.validation import best, boundaries, rand_error


def judge(
    network: nn.Module,
    checks: Sequence[Check],
    learning: Learning,
    architecture: Architecture,
    device: torch.device,
) -> Verdict:
    """Loss and errors over all checks. Costs the memory of one pass over the largest window."""
    found: list[tuple[float, list[float] | None]] = []
    slices: tuple[tuple[str, NDArray[np.float32]], ...] = ()
    for check in checks:
        sample, truth = _sample(check, learning, architecture)
        images, maps = to_device(collate([sample]), device)
        with _in_use(network), torch.inference_mode():
            said = bare(network, images, architecture.dims, learning.precision)
            loss = float(losses(said, maps, learning.targets).mean())
        probabilities: dict[str, NDArray[np.float32]] = {
            head.name: (said[head.name].sigmoid() if head.activation == "sigmoid" else said[head.name])[0]
            .cpu()
            .numpy()
            for head in architecture.heads
        }
        evidence = boundaries(probabilities, architecture.heads)
        thresholds = learning.validation.thresholds
        errors = None if evidence is None or truth is None else rand_error(evidence, truth, thresholds)
        found.append((loss, errors))
        slices = slices or _slices(sample, probabilities, learning)
    rows = [errors for _, errors in found if errors is not None]
    error, threshold = best(rows, learning.validation.thresholds) if rows else (None, None)
    return Verdict(fsum(loss for loss, _ in found) / len(found), error, threshold, slices)


def _sample(
    check: Check, learning: Learning, architecture: Architecture
) -> tuple[Sample, NDArray[np.int32] | None]:
    """The window as the network sees it, not augmented; and the true cells in it, if known."""
    volume = check.volume
    around = margin(learning.targets, volume.pitch, flat=learning.patches.shape[0] == 1)
    z, y, x = (slice(s.start - m, s.stop + m) for s, m in zip(check.box, around, strict=True))
    labels = volume.labelled((z, y, x))
    heads = fit(architecture, learning.targets)
    maps = made(learning.targets, heads, labels, volume.pitch, around)
    inner = tuple(slice(m, n - m) for n, m in zip(next(iter(labels.values())).shape, around, strict=True))
    truth = np.ascontiguousarray(labels["truth"][inner]) if "truth" in labels else None
    return Sample(volume.image(check.box)[None], maps), truth


@contextmanager
def _in_use(network: nn.Module) -> Iterator[None]:
    """Layers as in use, for instance BatchNorm with its running means; heads bare, as losses want them."""
    network.eval()
    network.training = True
    try:
        yield
    finally:
        network.train()


def _slices(
    sample: Sample, probabilities: dict[str, NDArray[np.float32]], learning: Learning
) -> tuple[tuple[str, NDArray[np.float32]], ...]:
    middle = sample.image.shape[1] // 2
    shown = [("raw", sample.image[0, middle])]
    for target, (values, known) in zip(learning.targets, sample.maps, strict=True):
        shown.append(
            (f"{target.head}: target", np.where(known[0, middle] > 0, values[0, middle], np.float32(0.5)))
        )
        shown.append((f"{target.head}: prediction", probabilities[target.head][0, middle]))
    return tuple(shown)
