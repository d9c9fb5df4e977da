"""Train a network: volumes with labels in, a model that `predict` can use out.

Passes: (1) synthetic volumes are made and statistics of all volumes taken (`volumes`); (2) epochs of steps
and validations (`networks.training.fit`), each leaving a state from which a stopped run goes on to the same
bits; (3) the best network, the last one, curves and a page are handed over.

With torchrun the first process runs the stage and the others `follow` it.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from cellflow.core.errors import BadInput
from cellflow.engine import atomic
from cellflow.engine.formats import fingerprint
from cellflow.engine.progress import Progress
from cellflow.engine.stage import Context
from cellflow.networks.spec import Trained
from cellflow.stages.train.params import Params
from cellflow.stages.train.volumes import labelled, prepare

__all__ = ["PRIVATE", "Params", "follow", "run", "stamp"]

PRIVATE = ("train", "check", "start", "device", "loaders")
log = logging.getLogger("cellflow")


def stamp(p: Params) -> str:
    """Tells inputs that have changed."""
    sources = [
        getattr(volumes, name).path
        for volumes in (*p.train, *p.check)
        for name in ("raw", "truth", "nuclei")
        if getattr(volumes, name) is not None
    ]
    paths = [*sources, *([p.start] if p.start else [])]
    return ",".join(fingerprint(Path(path)) for path in paths if Path(path).exists())
