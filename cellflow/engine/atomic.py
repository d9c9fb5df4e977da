"""Small files that are whole or absent: written aside, flushed to disk, then renamed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from uuid import uuid4


def write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Let `fill` write the file, then put it in place; a reader never sees a part of it.

    Two writers of the same content may run at once (a killed job's orphan and its successor): each has
    its own side file and the last rename wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with aside.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    flush_folder(path.parent)


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401 - JSON has no narrower type
    """`content` as JSON with sorted keys: the same content gives the same bytes."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write(path, lambda file: file.write(text.encode()))


def flush_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
