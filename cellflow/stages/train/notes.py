"""What a training says while it runs: a bar or lines, `curves.csv`, `report.html`."""

import logging
import platform
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

import cellflow
from cellflow.core.pictures import grey_png
from cellflow.core.report_page import StageSettings
from cellflow.core.training_page import Slice, TrainingPage, render_training
from cellflow.engine import atomic
from cellflow.engine.progress import Progress
from cellflow.networks.training.history import Row, Verdict, csv, scores
from cellflow.networks.training.spec import Learning
from cellflow.stages.train.params import Params
from cellflow.stages.train.task import Prepared

log = logging.getLogger("cellflow")


class Notes:
    """Keeps the user informed; the files are whole after each epoch."""

    def __init__(self, name: str, folder: Path, prepared: Prepared, p: Params) -> None:
        self.name, self.folder, self.prepared, self.p = name, folder, prepared, p
        self._progress: Progress | None = None
        self._slices: tuple[Slice, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.__exit__(kind, error, trace)

    def step(self, done: int) -> None:
        """One more step; `done` counts all."""
        if self._progress is None:
            total = self.p.epochs * self.prepared.task.steps
            self._progress = Progress(f"{self.name} train", total, done - 1, unit="step")
            self._progress.__enter__()
        self._progress.step()

    def epoch(self, rows: list[Row], verdict: Verdict | None) -> None:
        """An epoch is over, or, without a verdict, a stopped training goes on."""
        if verdict is not None:
            self._slices = tuple(
                Slice(title=title, png=_png(title, values)) for title, values in verdict.slices
            )
            log.info(self._line(rows))
        atomic.write(self.folder / "curves.csv", lambda file: file.write(csv(rows).encode()))
        html = render_training(self._page(rows)).encode()
        atomic.write(self.folder / "report.html", lambda file: file.write(html))

    def _line(self, rows: list[Row]) -> str:
        row = rows[-1]
        error = "" if row.adapted_rand_error is None else f", adapted Rand error {row.adapted_rand_error:.3f}"
        return (
            f"{self.name} train: epoch {row.epoch} of {self.p.epochs}: loss {row.loss:.4f}, validation "
            f"{row.validation_loss:.4f}{error}, best epoch {self._best(rows)}"
        )

    def _best(self, rows: list[Row]) -> int:
        ranks = scores(rows, self.p)
        return ranks.index(min(ranks)) + 1

    def _page(self, rows: list[Row]) -> TrainingPage:
        from cellflow.networks.training.fit import weight_count  # noqa: PLC0415 - torch takes a second

        task = self.prepared.task
        return TrainingPage(
            title=self.name,
            epochs=self.p.epochs,
            loss=tuple(row.loss for row in rows),
            validation_loss=tuple(row.validation_loss for row in rows),
            error=tuple(row.adapted_rand_error for row in rows),
            rate=tuple(row.learning_rate for row in rows),
            best=self._best(rows) if rows else None,
            slices=self._slices,
            settings=StageSettings(
                name="training",
                values=self.p.model_dump(mode="json", exclude={"train", "check"}),
                defaults=Learning().model_dump(mode="json"),
            ),
            facts={
                "Network": f"{task.architecture.name}, {weight_count(task.architecture):,} weights",
                "Volumes to learn from": str(len(task.samples.volumes)),
                "Volumes for validation": str(len(task.checks)),
                "Steps an epoch": str(task.steps),
                "Versions": f"cellflow {cellflow.__version__}, python {platform.python_version()}, "
                f"torch {metadata.version('torch')}",
            },
        )


def _png(title: str, values: NDArray[np.float32]) -> bytes:
    """Probabilities as they are; intensities between the 1st and the 99.8th percentile."""
    low, high = np.percentile(values, [1, 99.8]) if title == "raw" else (0.0, 1.0)
    stretched = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return grey_png(np.rint(stretched * 255).astype(np.uint8))
