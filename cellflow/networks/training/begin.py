"""What a training begins with: the network's looks, its first weights, what it expects of intensities."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cellflow.core.errors import BadInput
from cellflow.networks.architecture import Architecture
from cellflow.networks.normalisation import MeanStd, Normalisation
from cellflow.networks.spec import ModelSpec
from cellflow.networks.training.spec import Learning, fit

if TYPE_CHECKING:
    from cellflow.networks.checkpoint import Weights


@dataclass(frozen=True)
class Beginning:
    """Resolved: what the config says, else what the model says that training starts from."""

    architecture: Architecture
    normalisation: Normalisation
    weights: "Weights | None"


def begin(learning: Learning) -> Beginning:
    """Raises `BadInput` for a model that cannot be loaded, and for heads that do not fit the targets."""
    if learning.start is None:
        found = Beginning(
            learning.architecture or Architecture(), learning.normalisation or MeanStd(), weights=None
        )
    else:
        from cellflow.networks.model import load_model  # noqa: PLC0415 - torch takes a second

        spec = ModelSpec(
            model=learning.start, architecture=learning.architecture, normalisation=learning.normalisation
        )
        model = load_model(spec, "cpu")
        known = model.description
        found = Beginning(known.architecture, known.normalisation, dict(model.network.state_dict()))
    try:
        fit(found.architecture, learning.targets)
    except ValueError as error:
        raise BadInput(f"training: found {error}; change targets or architecture.heads") from error
    return found
