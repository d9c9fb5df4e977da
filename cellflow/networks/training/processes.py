"""Training in several processes, started by torchrun: who is who, and what they tell each other.

Without torchrun there is one process, and all of this does nothing. The same command runs in each; the first
one alone writes files. Gradients are averaged over processes; all else is worked out in each alike.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

PATIENCE = timedelta(hours=6)
"""While the first process prepares volumes or validates, the others wait."""


def rank() -> int:
    """Number of this process; 0 is the one that writes."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_device(name: str) -> str:
    """With several processes each takes the GPU of its own number."""
    return (
        f"cuda:{os.environ['LOCAL_RANK']}"
        if count() > 1 and name in ("auto", "cuda") and torch.cuda.is_available()
        else name
    )


@contextmanager
def group() -> Iterator[None]:
    """Processes know of each other inside, by the address that torchrun gives; loopback on one machine."""
    if count() == 1:
        yield
        return
    store, own, all_of_them = next(iter(rendezvous("env://", timeout=PATIENCE)))
    # torchrun keeps its store when it starts processes again, and with it the addresses of the dead ones.
    store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=own, world_size=all_of_them, timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def meet() -> None:
    """Wait for all."""
    if count() > 1:
        distributed.barrier()


def summed(values: Sequence[float], device: torch.device) -> list[float]:
    """The sums over all processes, in each of them."""
    if count() == 1:
        return list(values)
    shared = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(shared)
    return list(shared.tolist())


def told(values: Sequence[float], device: torch.device) -> list[float]:
    """What the first process has, in each of them."""
    if count() == 1:
        return list(values)
    shared = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.broadcast(shared, 0)
    return list(shared.tolist())
