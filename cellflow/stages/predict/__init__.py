"""Turn raw intensities into a boundary map: uint8, 255 where a membrane is sure.

A *predictor* is its parameters: a filter (`filters`), called block by block, or a trained network
(`network`), called tile by tile (`tiled`), which may predict affinities, foreground and nuclei as well.
"""

from pathlib import Path
from typing import Annotated, Any

from numpy.typing import DTypeLike
from pydantic import Field

from cellflow.core.errors import BadInput
from cellflow.core.grid import Triple
from cellflow.core.schema import Schema
from cellflow.engine.cluster import Crew, paired
from cellflow.engine.formats import fingerprint
from cellflow.engine.stage import Context, Job, Voxel
from cellflow.engine.store import Demand, Fitted
from cellflow.networks.sources import listed
from cellflow.networks.sources.trained import described
from cellflow.networks.spec import URL
from cellflow.stages.predict.filters import Direct, Membrane, filter_demand, predict_block, run_filter
from cellflow.stages.predict.need import network_crew, network_demand
from cellflow.stages.predict.network import Network, facts_of
from cellflow.stages.predict.tiled import run_network

__all__ = ["Direct", "Membrane", "Network", "Nuclei", "Params", "Predictor", "predict_block", "run"]

PRIVATE = tuple(f"predictor.{name}" for name in ("model", "device", "batch", "compile", "memory_gb"))
"""The receipt has the digest of the model, not its place, and nothing that only makes it faster."""

FASTER = ("device", "batch", "compile")
"""Of a network: they change the last bits of a prediction at most, so nothing is predicted anew for them."""

Predictor = Annotated[Membrane | Direct | Network, Field(discriminator="name")]


class Params(Schema):
    """Where boundaries come from."""

    predictor: Predictor = Membrane()
    """`membrane`: bright sheets, by a filter. `none`: the raw channel is the boundary signal. `network`: what
    a trained network says."""


class Nuclei(Schema):
    """Where nuclei come from, of samples with `nuclei_raw`."""

    predictor: Network = Network(model="nuclei3d")
    """What a trained network says that predicts nuclei."""


Predicting = Params | Nuclei


def model_files(p: Predicting) -> list[Path]:
    """The file or folder of the user's that the parameters name, and the description beside it."""
    if not isinstance(p.predictor, Network) or not (model := Path(p.predictor.model)).exists():
        return []  # one that comes with cellflow changes with its version
    beside = described(model) if model.is_file() else None
    return [model, *([beside] if beside else [])]


def is_here(p: Predicting) -> bool:
    """Whether nothing has to be downloaded to know what is predicted."""
    if not isinstance(p.predictor, Network):
        return True
    entry = listed().get(p.predictor.model)
    return not p.predictor.model.startswith(URL) if entry is None else entry.here is not None


def speed(p: Predicting) -> dict[str, dict[str, Any]]:
    """What only makes it faster, which a receipt does not repeat and Snakemake does not compare."""
    return {"predictor": p.predictor.model_dump(mode="json", include=set(FASTER))}


def stamp(p: Predicting) -> str:
    """Size and age of the model's files: if they change while a run is stopped, the run starts afresh."""
    return " ".join(map(fingerprint, model_files(p)))


def offsets_of(p: Params) -> tuple[Triple, ...]:
    """Of the affinities that will be predicted; none of a filter. Raises `BadInput` for a bad model."""
    return facts_of(p.predictor).outputs.offsets if isinstance(p.predictor, Network) else ()


def check(p: Predicting, *, nuclei: bool) -> None:
    """Raises `BadInput` for a bad model, or if it predicts no nuclei beside boundaries that are asked for.

    Nothing is said of a model that would have to be downloaded first.
    """
    if not is_here(p):
        return
    found: tuple[str, ...] = ("boundaries",)
    if isinstance(p.predictor, Network):
        found = facts_of(p.predictor, _image(p)).outputs.volumes
    if nuclei and isinstance(p, Params) and "predicted_nuclei" not in found:
        raise BadInput(
            f"makes {', '.join(found)}, expected predicted_nuclei as well, as stages.nuclei.predicted says; "
            "take a network that predicts nuclei, or give nuclei_raw"
        )


def check_device(p: Predicting) -> None:
    """Raises `BadInput` if a GPU is asked for that this machine has not."""
    if isinstance(p.predictor, Network) and p.predictor.device not in {"auto", "cpu"}:
        from cellflow.networks.device import gpus_of  # noqa: PLC0415 - torch takes a second

        gpus_of(p.predictor.device)


def _image(p: Predicting) -> str:
    return "nuclei_raw" if isinstance(p, Nuclei) else "raw"


def crew(job: Job, workers: int) -> Crew:
    """Who works; at once one line for a GPU that is not there."""
    p: Any = job.params
    return network_crew(job, p.predictor, workers) if isinstance(p.predictor, Network) else paired(workers)


def demand(like: Fitted, dtype: DTypeLike, p: Predicting, voxel_um: Voxel) -> Demand:
    """That of the predictor. Raises `BadInput` for a bad model."""
    if isinstance(p.predictor, Network):
        return network_demand(like, dtype, p.predictor, _image(p))
    return filter_demand(like, dtype, p.predictor, voxel_um)


def run(context: Context, p: Params) -> dict[str, Any]:
    """Write `boundaries` and its pyramid, and what else the predictor makes; or `nuclei_probability`."""
    if isinstance(p.predictor, Network):
        return run_network(context, p.predictor)
    return run_filter(context, p.predictor)
