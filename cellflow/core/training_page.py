"""The page of a training: how it learnt, how good it is, what it sees, with which settings.

One HTML file that needs nothing else, in the style of the report of a sample.
"""

from collections.abc import Sequence
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from pydantic import Field

from cellflow.core.curves import curves_svg
from cellflow.core.report_page import StageSettings, base64, marked, number
from cellflow.core.schema import Schema


class Slice(Schema):
    """One picture as PNG."""

    title: str
    png: bytes


class TrainingPage(Schema):
    """Everything on the page; values are one an epoch."""

    title: str
    epochs: int
    """How many there are to be; fewer may be done."""
    loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    error: tuple[float | None, ...] = ()
    """Adapted Rand error of quick cells."""
    rate: tuple[float, ...] = ()
    best: int | None = None
    """The epoch that is kept, counted from 1."""
    slices: tuple[Slice, ...] = ()
    """Raw, target, prediction of the last epoch."""
    settings: StageSettings | None = None
    facts: dict[str, str] = Field(default_factory=dict)


def render_training(page: TrainingPage) -> str:
    """The page as one HTML document, every text escaped."""
    known = [value for value in page.error if value is not None]
    html: str = _template().render(
        page=page,
        style=_style(),
        tiles=_tiles(page),
        losses=_curves({"training": page.loss, "validation": page.validation_loss}, logarithmic=True),
        errors=_curves({"adapted Rand error": page.error}) if known else None,
        rates=_curves({"learning rate": page.rate}, logarithmic=True),
        rows=list(marked(page.settings.values, page.settings.defaults)) if page.settings else [],
    )
    return html


def _curves(values: dict[str, Sequence[float | None]], *, logarithmic: bool = False) -> Markup:
    return Markup(curves_svg(values, logarithmic=logarithmic))  # noqa: S704 - escaped there


def _tiles(page: TrainingPage) -> list[tuple[str, str, str]]:
    done = len(page.loss)
    tiles = [("Epochs", "Done, of those planned.", f"{done} / {page.epochs}")]
    if page.best is None:
        return tiles
    kept = page.best - 1
    tiles.append(("Best epoch", "The network that is kept.", str(page.best)))
    if page.error[kept] is not None:
        meaning = "Of quick cells in the volumes for validation. 0 is perfect; the pipeline does better."
        tiles.append(("Adapted Rand error", meaning, number(page.error[kept])))
    tiles.append(("Validation loss", "Of the best epoch.", number(page.validation_loss[kept])))
    return [*tiles, ("Training loss", "Of the last epoch.", number(page.loss[-1]))]


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"base64": base64}
    return environment.from_string(_text("training.html"))


@cache
def _style() -> Markup:
    """The style sheet of a sample's report: the two pages look alike."""
    return Markup(_text("report.html").partition("<style>")[2].partition("</style>")[0])  # noqa: S704 - ours


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
