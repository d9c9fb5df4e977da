"""What a source hands on: where the weights lie, and all that is known of them."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path

from cellflow.core.errors import BadInput
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
            yield BytesIO(self._unpacked(self.member))

    def _unpacked(self, member: str) -> bytes:
        try:
            with zipfile.ZipFile(self.weights) as archive:
                return archive.read(member)
        except (KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise BadInput(f"{self.where}: cannot be unpacked ({error}); get the package again") from error
