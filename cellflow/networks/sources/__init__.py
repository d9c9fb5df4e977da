"""Where models come from: our own, checkpoints, BioImage.IO packages, PlantSeg's list, addresses."""

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from cellflow.core.errors import BadInput
from cellflow.networks.architecture import Architecture
from cellflow.networks.heads import Boundary, Head, Nuclei, Output
from cellflow.networks.sources.download import digest, fetch
from cellflow.networks.sources.found import Found
from cellflow.networks.sources.listed import Listed, listed
from cellflow.networks.sources.package import is_package, package
from cellflow.networks.sources.shipped import shipped
from cellflow.networks.sources.trained import checkpoint
from cellflow.networks.spec import URL, ModelSpec

__all__ = ["Found", "Listed", "find", "listed", "shipped"]


def find(spec: ModelSpec) -> Found:
    """Where the model of a config is and what is known of it; downloads it where that is asked for.

    What the config says wins over what the source says. Raises `BadInput`, one line.
    """
    path, entry = _file(spec)
    if not path.exists():
        close = get_close_matches(spec.model, [*shipped(), *listed()], n=1)
        hint = f"did you mean {close[0]}?" if close else "cellflow models list shows them"
        raise BadInput(f"model: found {spec.model}, expected a file, a folder or a known name; {hint}")
    found = package(path, spec) if is_package(path) else checkpoint(path, spec)
    return replace(
        found,
        architecture=_with_head(found, spec, entry),
        normalisation=spec.normalisation or found.normalisation,
        voxel_size_um=spec.voxel_size_um or (entry.voxel_size_um if entry else found.voxel_size_um),
        about=entry.description if entry else found.about,
    )


def _file(spec: ModelSpec) -> tuple[Path, Listed | None]:
    """The file or folder that a config names; downloaded, if it has a name of the list or an address."""
    if entry := listed().get(spec.model):
        fetch(entry.config_url)
        return fetch(entry.url, spec.sha256 or entry.sha256), entry
    if spec.model.startswith(URL):
        return fetch(spec.model, spec.sha256), None
    path = shipped().get(spec.model, Path(spec.model))
    if spec.sha256 is not None and path.is_file() and (found := digest(path)) != spec.sha256:
        raise BadInput(
            f"{path}: found sha256 {found}, expected {spec.sha256}; correct it, or use the right file"
        )
    return path, None


def _with_head(found: Found, spec: ModelSpec, entry: Listed | None) -> Architecture:
    """With the meaning that the config, or the list, gives to the only head."""
    heads = found.architecture.heads
    if spec.head is not None and len(heads) > 1:
        raise BadInput(
            f"{found.where}: found {len(heads)} heads, expected one to give another meaning; drop head"
        )
    head: Head | None = spec.head
    if head is None and entry is not None and isinstance(heads[0], Output):
        kind = Boundary if entry.predicts == "boundary" else Nuclei
        head = kind(channels=heads[0].channels, activation=heads[0].activation)
    return found.architecture.model_copy(update={"heads": (head,)}) if head else found.architecture
