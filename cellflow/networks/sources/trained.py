"""Checkpoints with a YAML file beside them: ours, or the configuration of pytorch-3dunet and PlantSeg."""

from pathlib import Path
from typing import Any

import yaml

from cellflow.core.errors import BadInput
from cellflow.core.schema import checked
from cellflow.networks.architecture import Architecture
from cellflow.networks.normalisation import Fixed, Normalisation, understood
from cellflow.networks.sources.found import Found
from cellflow.networks.spec import ModelSpec, Trained

THEIR_DEFAULTS = {"f_maps": 64, "layer_order": "gcr"}
"""Of pytorch-3dunet, where they are not ours."""

WITHOUT_EFFECT = ("testing", "return_encoder_features", "return_decoder_features")
"""Words of pytorch-3dunet's that change nothing in a prediction."""

CHECKPOINTS = ("best_checkpoint.pytorch", "last_checkpoint.pytorch")
"""What a folder of pytorch-3dunet's holds, the better one first."""


def checkpoint(path: Path, spec: ModelSpec) -> Found:
    """A checkpoint, or the one in a folder, as the YAML file beside it describes it.

    Beside `name.pytorch` that is `name.yaml` (or .yml), else `config_train.yml` (or .yaml); it is not read
    where the config gives an architecture.
    """
    weights = _weights(path)
    if spec.architecture is not None:
        return Found(weights, spec.architecture)
    description = described(weights)
    if description is None:
        raise BadInput(
            f"{weights}: found no {weights.stem}.yaml and no config_train.yml beside it, expected one; "
            "or give the model's architecture in the config"
        )
    return _as_described(weights, description, spec)


def described(weights: Path) -> Path | None:
    """The YAML file beside weights."""
    names = [f"{stem}{suffix}" for stem in (weights.stem, "config_train") for suffix in (".yaml", ".yml")]
    return next((weights.with_name(name) for name in names if weights.with_name(name).is_file()), None)


def architecture_in(path: Path) -> Architecture:
    """The architecture that a YAML file holds, ours or pytorch-3dunet's. Raises `BadInput`."""
    content = _mapping(path)
    if "architecture" in content:
        return checked(Trained, content, str(path)).architecture
    return theirs(content["model"], f"{path}: model")


def _as_described(weights: Path, description: Path, spec: ModelSpec) -> Found:
    content = _mapping(description)
    if "architecture" not in content:
        known = spec.normalisation or _normalisation(content, str(description))
        return Found(weights, architecture_in(description), known)
    ours = checked(Trained, content, str(description))
    return Found(weights, ours.architecture, ours.normalisation, ours.voxel_size_um, about=ours.description)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: is not YAML: {' '.join(str(error).split()):.160}") from error
    if not isinstance(content, dict) or not {"model", "architecture"} & set(content):
        raise BadInput(f"{path}: found neither architecture nor model (of pytorch-3dunet), expected one")
    return content


def theirs(block: object, where: str) -> Architecture:
    """A `model:` block of pytorch-3dunet, with its own defaults."""
    if not isinstance(block, dict):
        raise BadInput(f"{where}: found {block!r:.80}, expected name, in_channels, out_channels and so on")
    kept = {key: value for key, value in block.items() if key not in WITHOUT_EFFECT}
    return checked(Architecture, {"out_channels": 1, **THEIR_DEFAULTS, **kept}, where)


def _weights(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in CHECKPOINTS:
        if (path / name).is_file():
            return path / name
    raise BadInput(
        f"{path}: found no {CHECKPOINTS[0]} and no rdf.yaml in it, expected one; name the file itself"
    )


def _normalisation(content: dict[str, Any], where: str) -> Normalisation | None:
    """By the transformations of raw that it was trained with; None if the file names none, as PlantSeg's."""
    steps = _transformations(content)
    for step in steps or []:
        if step.get("name") in NORMALISERS:
            return understood(NORMALISERS[step["name"]](step), str(step), where)
    return None if steps is None else Fixed()


def _transformations(content: dict[str, Any]) -> list[dict[str, Any]] | None:
    for phase in ("train", "val", "test"):
        found: Any = content
        for key in ("loaders", phase, "transformer", "raw"):
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, list):
            return [step for step in found if isinstance(step, dict)]
    return None


def _standardize(step: dict[str, Any]) -> dict[str, Any]:
    if step.get("mean") is None:
        return {"name": "mean_std"}
    return {"name": "fixed", "offset": step["mean"], "scale": step.get("std")}


def _percentiles(step: dict[str, Any]) -> dict[str, Any]:
    return {"name": "percentile", "low": step.get("pmin", 1.0), "high": step.get("pmax", 99.6)}


def _range(step: dict[str, Any]) -> dict[str, Any]:
    low, high, from_zero = step.get("min_value"), step.get("max_value"), step.get("norm01", False)
    if low is None and high is None and from_zero:
        return {"name": "percentile", "low": 0, "high": 100}
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return {}
    if from_zero:
        return {"name": "fixed", "offset": low, "scale": high - low}
    return {"name": "fixed", "offset": (low + high) / 2, "scale": (high - low) / 2}


NORMALISERS = {"Standardize": _standardize, "PercentileNormalizer": _percentiles, "Normalize": _range}
