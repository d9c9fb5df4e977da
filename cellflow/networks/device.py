"""The device that a config names, or one line that says why not."""

import torch

from cellflow.core.errors import BadInput


def device_of(name: str) -> torch.device:
    """The device of this name: `cpu`, `cuda`, `cuda:1`; `auto` is the first GPU, or the CPU without one.

    Raises `BadInput` for a GPU that is not there: who asks for one is not left waiting for a CPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (colon and not number.isdecimal())):
        raise BadInput(f"device: found {name!r}, expected auto, cpu, cuda or cuda:NUMBER")
    visible = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= visible:
        raise BadInput(
            f"device: found {name}, expected a GPU that is visible here (there are {visible}); "
            "use cpu, or check the driver, the job's GPUs and CUDA_VISIBLE_DEVICES"
        )
    return torch.device(kind, int(number or 0)) if kind == "cuda" else torch.device("cpu")


def gpus_of(name: str) -> int:
    """How many GPUs work may be spread over: `cuda` and `auto` stand for all that are visible.

    Raises `BadInput` as `device_of` does.
    """
    if device_of(name).type == "cpu":
        return 0
    return 1 if ":" in name else torch.cuda.device_count()


def slow(device: str, precision: str) -> list[str]:
    """A line of warning if a CPU is to compute in a precision that it does not have; or nothing."""
    if precision == "float32" or device_of(device).type != "cpu":
        return []
    short = {"bfloat16": "bf16", "float16": "fp16"}[precision]
    there = getattr(torch.ops.mkldnn, f"_is_mkldnn_{short}_supported")
    line = f"precision {precision} is many times slower than float32 on this CPU, which has none; use float32"
    return [] if there() else [line]
