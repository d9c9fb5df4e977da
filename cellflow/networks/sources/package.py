"""BioImage.IO packages, read by bioimageio.spec: descriptions and weights; Python in them is never run.

A package says which class its network is and with which arguments. If that class is one of ours by name
(pytorch-3dunet's and PlantSeg's are), ours is built, and its weights must fit it strictly. Limit: what has no
weights, such as the slope of an activation, is taken on trust.
"""

import zipfile
from math import nan
from pathlib import Path
from typing import Any

from cellflow.core.errors import BadInput
from cellflow.core.schema import Voxel3
from cellflow.networks.architecture import Architecture
from cellflow.networks.normalisation import Fixed, Normalisation, understood
from cellflow.networks.sources.download import fetch
from cellflow.networks.sources.found import Found
from cellflow.networks.sources.trained import theirs
from cellflow.networks.spec import URL, ModelSpec

NAMES = ("rdf.yaml", "bioimageio.yaml")
AXES = {"b": "batch", "c": "channel"}
"""Short names of the older format."""
UM = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}


def is_package(path: Path) -> bool:
    """Whether it is a description, or a folder or zip that holds one."""
    if path.is_dir():
        return any((path / name).is_file() for name in NAMES)
    if path.name in NAMES:
        return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name in NAMES for name in archive.namelist())


def package(path: Path, spec: ModelSpec) -> Found:
    """What a package says of its network with PyTorch weights. Raises `BadInput`, one line."""
    if path.is_dir():
        path = next(path / name for name in NAMES if (path / name).is_file())
    described = _described(path)
    weights = described.weights.pytorch_state_dict
    if weights is None:
        raise BadInput(
            f"{path}: found no pytorch_state_dict among its weights, expected one; ask for such a package"
        )
    zipped = path.name not in NAMES
    source = str(weights.source)
    remote = source.startswith(URL)
    file = fetch(source, weights.sha256) if remote else path if zipped else path.parent / source
    if not file.is_file():
        raise BadInput(f"{path}: names the weights {source}, which are not there; unpack the whole package")
    return Found(
        weights=file,
        member=source if zipped and not remote else None,
        architecture=spec.architecture or _architecture(described, str(path)),
        normalisation=spec.normalisation or _normalisation(described, str(path)),
        voxel_size_um=_voxel_um(described.inputs[0]),
        sha256=None if weights.sha256 is None else str(weights.sha256),
        about=" ".join(str(described.description).split()),
    )


def _described(path: Path) -> Any:  # noqa: ANN401 - one of the library's records, of either format
    try:
        from bioimageio.spec import InvalidDescr, load_description  # noqa: PLC0415 - a second, and optional
        from loguru import logger  # noqa: PLC0415 - comes with it
    except ImportError as error:
        raise BadInput(
            f"{path}: is a BioImage.IO package; to read it, pip install 'cellflow-volumes[bioimageio]'"
        ) from error
    logger.disable("bioimageio")
    try:
        found = load_description(path.absolute(), perform_io_checks=False)
    except Exception as error:  # the library lets those of its parsers through
        raise BadInput(f"{path}: is no BioImage.IO description: {_line(error)}") from error
    if isinstance(found, InvalidDescr):
        first = found.validation_summary.errors[0]
        key = ".".join(map(str, first.loc)) or "content"
        raise BadInput(f"{path}: is no valid BioImage.IO description: {key}: {_line(first.msg)}")
    if found.type != "model":
        raise BadInput(f"{path}: describes a {found.type}, expected a model")
    if len(found.inputs) != 1 or len(found.outputs) != 1:
        raise BadInput(
            f"{path}: found {len(found.inputs)} inputs and {len(found.outputs)} outputs, expected one of each"
        )
    return found


def _architecture(described: Any, where: str) -> Architecture:  # noqa: ANN401 - the library's record
    weights = described.weights.pytorch_state_dict
    said = weights.architecture
    # The older format: `file.py:Class` or `module.Class`, with the arguments beside.
    name = said.callable if hasattr(said, "callable") else str(said).replace(":", ".").rpartition(".")[2]
    arguments = said.kwargs if hasattr(said, "callable") else weights.kwargs
    found = theirs({**arguments, "name": str(name)}, f"{where}: architecture")
    axes = ["batch", "channel", *"zyx"[-found.dims :]]
    for tensor in (described.inputs[0], described.outputs[0]):
        if _axes(tensor) != axes:
            raise BadInput(f"{where}: found axes {' '.join(_axes(tensor))}, expected {' '.join(axes)}")
    return _activated(found, _steps(described.outputs[0].postprocessing), where)


def _activated(found: Architecture, steps: list[tuple[str, dict[str, Any]]], where: str) -> Architecture:
    """With the activation that the package adds behind the network."""
    if not steps:
        return found
    (head,), names = found.heads, [name for name, _ in steps]
    if len(names) > 1 or names[0] not in ("sigmoid", "softmax") or head.activation != "none":
        raise BadInput(
            f"{where}: found postprocessing {', '.join(names)} after {head.activation}, expected sigmoid or "
            "softmax after none; give the model's architecture in the config"
        )
    return found.model_copy(update={"heads": (head.model_copy(update={"activation": names[0]}),)})


def _normalisation(described: Any, where: str) -> Normalisation:  # noqa: ANN401 - the library's record
    steps = _steps(described.inputs[0].preprocessing)
    if not steps:
        return Fixed()
    name, given = steps[0]
    record = NORMALISERS[name](given) if len(steps) == 1 and name in NORMALISERS else {}
    return understood(record, ", then ".join(f"{name} {given}" for name, given in steps), where)


def _mean_std(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("mean") is None:
        return {"name": "mean_std"}
    return {"name": "fixed", "offset": _only(given["mean"]), "scale": _only(given["std"])}


def _percentiles(given: dict[str, Any]) -> dict[str, Any]:
    return {"name": "percentile", "low": given["min_percentile"], "high": given["max_percentile"]}


def _linear(given: dict[str, Any]) -> dict[str, Any]:
    gain, offset = _only(given["gain"]), _only(given["offset"])
    return {"name": "fixed", "offset": -offset / gain, "scale": 1 / gain} if gain else {}


def _only(value: float | list[float]) -> float:
    """The number, or that of the only channel; NaN, which fits nowhere, for several."""
    numbers = value if isinstance(value, list) else [value]
    return numbers[0] if len(numbers) == 1 else nan


NORMALISERS = {
    "zero_mean_unit_variance": _mean_std,
    "fixed_zero_mean_unit_variance": _mean_std,
    "scale_range": _percentiles,
    "scale_linear": _linear,
}


def _steps(processing: Any) -> list[tuple[str, dict[str, Any]]]:  # noqa: ANN401 - the library's records
    """Name and arguments of each step, without those that only change the type."""
    found = [(str(getattr(s, "id", None) or s.name), s.kwargs.model_dump()) for s in processing]
    return [(name, given) for name, given in found if name != "ensure_dtype"]


def _axes(tensor: Any) -> list[str]:  # noqa: ANN401 - the library's record
    return [str(axis.id) if hasattr(axis, "id") else AXES.get(axis, axis) for axis in tensor.axes]


def _voxel_um(tensor: Any) -> Voxel3 | None:  # noqa: ANN401 - the library's record
    """Of the newer format; in 2D, z repeats y."""
    spatial = {str(axis.id): axis for axis in tensor.axes if getattr(axis, "type", "") == "space"}
    if not {"y", "x"} <= set(spatial) or any(axis.unit not in UM for axis in spatial.values()):
        return None
    sizes = {name: float(axis.scale) * UM[axis.unit] for name, axis in spatial.items()}
    return sizes.get("z", sizes["y"]), sizes["y"], sizes["x"]


def _line(error: object) -> str:
    return f"{' '.join(str(error).split()):.200}"
