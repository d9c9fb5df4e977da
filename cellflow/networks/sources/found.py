"""What a source hands on: where the weights lie, and all that is known of them."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path

from cellflow.core.schema import Voxel3
from cellflow.networks.architecture import Architecture
from cellflow.networks.normalisation import Normalisation


@dataclass(frozen=True)
class Found:
    """A model that was found, not yet loaded."""

    weights: Path
    """A checkpoint, or a zip that holds one."""
    architecture: Architecture
    normalisation: Normalisation | None = None
    """None where the source does not say."""
    voxel_size_um: Voxel3 | None = None
    member: str | None = None
    """The checkpoint's name inside a zip."""
    sha256: str | None = None
    """Digest that the source states for the checkpoint."""
    about: str = ""

    @property
    def where(self) -> str:
        """The checkpoint, for people."""
        return f"{self.weights}: {self.member}" if self.member else str(self.weights)

    @contextmanager
    def opened(self) -> Iterator[BufferedReader | BytesIO]:
        """The checkpoint's bytes."""
        if self.member is None:
            with self.weights.open("rb") as file:
                yield file
        else:
            with zipfile.ZipFile(self.weights) as archive:
                yield BytesIO(archive.read(self.member))
