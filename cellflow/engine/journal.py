"""Remember which blocks are done, so that a killed pass continues where it was.

One JSON line per event. The first line holds the key of everything the blocks depend on; a journal with
another key is started afresh. A line cut short by a kill is dropped.
"""

import json
import os
from pathlib import Path
from typing import Any

Part = dict[str, Any]
"""What one block hands back: a small JSON object. Arrays go to files, the part says so."""


class Journal:
    """The finished blocks of one pass, kept in one file by one process."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.done: dict[int, Part] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = _whole_lines(path)
        if lines and lines[0].get("key") == key:
            for record in lines[1:]:
                self._learn(record)
            self._file = path.open("ab")
        else:
            self._file = path.open("wb")
            self._append({"key": key})

    def finished(self, block: int, part: Part, usage: dict[str, Any]) -> None:
        """Write down that `block` is done; its data must be on disk already."""
        self._append({"block": block, "part": part, **usage})

    def failed(self, block: int, error: str, trace: str) -> None:
        """Write down why an attempt at `block` failed; the block stays to be done."""
        self._append({"block": block, "error": error, "trace": trace})

    def close(self) -> None:
        """Flush to disk: from here a power cut loses nothing."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _append(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
        self._file.flush()
        # The JSON that a later run would read, so that fresh and resumed parts are the same objects.
        self._learn(json.loads(json.dumps(record)))

    def _learn(self, record: dict[str, Any]) -> None:
        if "part" in record:
            self.done[record["block"]] = record["part"]


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The complete records of a journal; the file is cut after the last of them."""
    if not path.exists():
        return []
    records, end = [], 0
    with path.open("rb+") as file:
        for line in file:
            record = _parse(line)
            if record is None:
                break
            records.append(record)
            end += len(line)
        file.truncate(end)
    return records


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
