"""What a user asks for who trains a network: a folder for the results, and the training."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

import cellflow
from cellflow.config import read_yaml
from cellflow.core.schema import Schema, checked
from cellflow.engine.stage import Job, is_current
from cellflow.engine.store import Storage
from cellflow.sample import plain_path
from cellflow.stages import train
from cellflow.stages.train import Params

KEY = "training"
"""What tells a config of this kind from one that segments samples."""


class Training(Schema):
    """One training."""

    results: Annotated[str, Field(min_length=1), AfterValidator(plain_path)]
    """Folder for all that is made; relative to the working folder."""
    training: Params

    @property
    def folder(self) -> Path:
        """The same as a path."""
        return Path(self.results)

    def stage(self) -> Job:
        """The work as the engine takes it; another config, or inputs that changed, are another job."""
        return Job(
            "train", self.folder, self.training, Storage(), (), train.PRIVATE, train.stamp(self.training)
        )

    def job(self) -> str:
        """What Snakemake compares to see whether it must run again, and hands to the stage: JSON."""
        content = {
            "params": self.training.model_dump(mode="json"),
            "storage": Storage().model_dump(mode="json"),
            "version": cellflow.__version__,
            "input": train.stamp(self.training),
        }
        return json.dumps(content, sort_keys=True)

    def done(self) -> bool:
        """Whether this very training, of these very inputs, is finished."""
        key = self.folder / "train" / "key"
        return is_current(self.folder, "train") and key.exists() and key.read_text() == self.stage().key()


def from_mapping(content: object, where: str) -> Training:
    """The checked configuration. Raises `BadInput`."""
    return checked(Training, content, where)


def load(path: Path) -> Training:
    """The configuration in a YAML file. Raises `BadInput`."""
    return from_mapping(read_yaml(path), str(path))
