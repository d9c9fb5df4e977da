"""How far a pass is: a bar on a terminal, plain lines in a log."""

import logging
import sys
import time
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 15.0
log = logging.getLogger("cellflow")


class Progress:
    """Counts blocks, or what else `unit` names; shows how many a second and the time left."""

    def __init__(self, label: str, total: int, done: int, unit: str = "block") -> None:
        self.label, self.total, self.done, self.unit = label, total, done, unit
        self._resumed, self._start = done, time.monotonic()
        self._said = self._start
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = tqdm(
                desc=self.label,
                total=self.total,
                initial=self.done,
                unit=self.unit,
                leave=False,
                dynamic_ncols=True,
            )
        if self._resumed:
            self._say(
                f"{self.label}: {self._resumed} of {self.total} {self.unit}s were done before, going on"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        self._say(self._line())

    def step(self) -> None:
        """One more block is done."""
        self.done += 1
        if self._bar is not None:
            self._bar.update()
        if time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self._say(self._line())

    def _line(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-6)
        rate = (self.done - self._resumed) / seconds
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate and self.done < self.total else ""
        return (
            f"{self.label}: {self.done}/{self.total} {self.unit}s, {rate:.1f} {self.unit}s/s, "
            f"{seconds:.1f} s{left}"
        )

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        log.info(line)
