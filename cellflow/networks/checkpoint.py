"""Weights from a file that may come from anywhere: nothing in it is ever run."""

import re
import warnings
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from cellflow.core.errors import BadInput

Weights = dict[str, Tensor]

_SCALAR = np.float64(0).__reduce__()[0]
PLAIN_NUMBERS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(letter)) for letter in "?bhilqBHILQefd"),
]
"""Numbers of numpy, under both names of its module: pytorch-3dunet keeps its best score as one."""


def read_weights(file: IO[bytes], where: str) -> Weights:
    """The tensors in a file that `torch.save` wrote, by name: a bare state dict, or `model_state_dict` in it.

    A prefix `module.`, from training on several GPUs, is taken off. Raises `BadInput` for any other file,
    and for one that holds code, which is refused unread.
    """
    content = _loaded(file, where)
    found = content.get("model_state_dict", content) if isinstance(content, dict) else content
    if not isinstance(found, dict) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        keys = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise BadInput(
            f"{where}: found {keys or 'nothing'!s:.80}, expected weights by name, alone or under "
            "model_state_dict; save network.state_dict()"
        )
    if all(key.startswith("module.") for key in found):
        found = {key.removeprefix("module."): value for key, value in found.items()}
    return dict(found)


def put_weights(network: nn.Module, found: Weights, where: str) -> None:
    """Put the weights into the network: every key, no other, in the same shapes, all finite.

    Raises `BadInput` naming the first key that does not fit, with both shapes.
    """
    expected = network.state_dict()
    # Counts of batches seen, which old files lack, matter to nothing but further training.
    counts = {key: value for key, value in expected.items() if key.endswith("num_batches_tracked")}
    found = {**counts, **found}
    for key, tensor in expected.items():
        if key not in found or found[key].shape != tensor.shape:
            raise BadInput(f"{where}: {_difference(key, expected, found)}; give the architecture it has")
        if not found[key].isfinite().all():
            raise BadInput(f"{where}: {key}: found NaN or infinity, expected numbers; its training failed")
    if extra := [key for key in found if key not in expected]:
        raise BadInput(
            f"{where}: {extra[0]}: found shape {_shape(found[extra[0]])}, expected no such key; "
            "give the architecture it has"
        )
    network.load_state_dict(found)


def _difference(key: str, expected: Weights, found: Weights) -> str:
    wanted = f"expected shape {_shape(expected[key])}"
    if key in found:
        return f"{key}: found shape {_shape(found[key])}, {wanted}"
    instead = next((f"{k} {_shape(v)}" for k, v in found.items() if k not in expected), "nothing")
    return f"{key}: found {instead} in its place, {wanted}"


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _loaded(file: IO[bytes], where: str) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(PLAIN_NUMBERS):
            warnings.simplefilter("ignore")  # torch's advice to switch the safety off
            return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except UnpicklingError as error:
        if name := re.search(r"GLOBAL (\S+)", str(error)):
            raise BadInput(
                f"{where}: found code in it ({name[1]}), expected weights only; it was not run. "
                "Ask its author for a state dict"
            ) from error
        raise BadInput(_damaged(where)) from error
    except Exception as error:  # a damaged file can trip the reader anywhere
        raise BadInput(_damaged(where)) from error


def _damaged(where: str) -> str:
    return f"{where}: is damaged or no checkpoint; expected a file that torch.save wrote; copy it again"
