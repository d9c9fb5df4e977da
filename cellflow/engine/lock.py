"""One writer at a time: file locks that the system lets go when their holder dies."""

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellflow.core.errors import BadInput

log = logging.getLogger("cellflow")


def hold(path: Path, what: str) -> int:
    """Take the lock for the life of this process; raises `BadInput` naming who holds it."""
    handle = _open(path)
    if not _try(handle):
        holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
        os.close(handle)
        raise BadInput(f"{what} is in use by {holder}: wait for that run to end, or stop it, then try again")
    _sign(handle)
    return handle


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock just now."""
    if not path.exists():
        return False
    handle = _open(path)
    try:
        return not _try(handle)
    finally:
        os.close(handle)


@contextmanager
def waiting(path: Path, what: str) -> Iterator[None]:
    """Hold the lock inside the `with`; waits for a holder, such as the orphan of a killed run."""
    handle = _open(path)
    try:
        if not _try(handle):
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
            log.warning("%s is being written by %s: waiting for it to end", what, holder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        _sign(handle)
        yield
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
