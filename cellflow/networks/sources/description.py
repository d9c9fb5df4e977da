"""The YAML file that lies beside weights of our own."""

import yaml

from cellflow.networks.spec import Trained


def description(trained: Trained) -> str:
    """What `trained` reads again: the text of `model.yaml`."""
    text: str = yaml.safe_dump(trained.model_dump(mode="json", exclude_none=True), sort_keys=False)
    return text
