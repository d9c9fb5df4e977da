"""The networks that come with cellflow: small, trained by `cellflow train` (docs/training.md)."""

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "pretrained"


@cache
def shipped() -> dict[str, Path]:
    """Their weights, by name; what they are is said in the YAML file beside."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.pytorch"))}
