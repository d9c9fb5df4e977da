"""The page a run ends with: what was found, how good it is, what it cost, and with which settings.

`render` turns one `Page` into one HTML file that needs nothing else: pictures and charts are inside, no
script runs, and the browser is told to load nothing from outside.
"""

from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from importlib import resources
from math import floor, log10
from typing import Literal

import numpy as np
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from cellflow.core.pictures import bars_svg, histogram_svg, short
from cellflow.core.schema import Schema, Shape3, Voxel3

RENARD = (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)
DASH = "\N{EN DASH}"
TIMES = " \N{MULTIPLICATION SIGN} "
PLANES = {"xy": "xy, seen from above", "xz": "xz, seen from the front", "yz": "yz, seen from the side"}

MEANING: dict[str, tuple[str, str]] = {
    "cells_found": ("Cells found", "Segments of the result, background not counted."),
    "cells_true": ("Cells in the truth", "Cells that were annotated and are judged here."),
    "adapted_rand_error": (
        "Adapted Rand error",
        "Voxel pairs put together or apart wrongly. 0 is perfect; below 0.1 is good.",
    ),
    "voi_split": ("VOI split", "Bits lost because cells were cut into pieces. 0 is perfect."),
    "voi_merge": ("VOI merge", "Bits lost because cells were joined. 0 is perfect."),
    "mean_average_precision": (
        "Mean average precision",
        "Cells matched one to one, averaged over overlaps from 0.5 to 0.95. 1 is perfect.",
    ),
    "average_precision_50": (
        "Average precision at 0.5",
        "Share of matched among matched, missed and extra cells; a match is more than half. 1 is perfect.",
    ),
    "average_precision_75": (
        "Average precision at 0.75",
        "The same with matches that overlap by more than three quarters. 1 is perfect.",
    ),
    "seg": (
        "SEG",
        "Mean overlap of the true cells with the segment that covers more than half of each. 1 is perfect.",
    ),
    "adapted_rand_precision": (
        "Adapted Rand precision",
        "Of the voxel pairs in one segment, the share from one cell. 1 is perfect; joined cells lower it.",
    ),
    "adapted_rand_recall": (
        "Adapted Rand recall",
        "Of the voxel pairs in one cell, the share in one segment. 1 is perfect; cut cells lower it.",
    ),
}
"""Name and explanation of every score, in the order of the table."""

HEADLINE = ("cells_true", "adapted_rand_error", "voi_split", "voi_merge", "mean_average_precision")


class Picture(Schema):
    """One slice as PNG; pictures of one plane stand in one row."""

    plane: Literal["xy", "xz", "yz"]
    title: str
    """What is shown, as in "cells" or "boundaries"."""
    png: bytes
    caption: str = ""
    """Where the slice lies, as in "z = 120 of 240"."""


class Sizes(Schema):
    """Histogram of cell sizes, from `size_histogram`."""

    counts: tuple[int, ...]
    edges: tuple[float, ...]
    median: float
    unit: str


class StageCost(Schema):
    """What one stage took; None where it was not measured."""

    name: str
    seconds: float = Field(ge=0)
    blocks: int = Field(ge=0)
    worker_bytes: int | None = None
    """Peak memory of the largest worker."""
    disk_bytes: int | None = None
    """Size of what the stage wrote."""


class StageSettings(Schema):
    """All parameters of a stage and their defaults, as `model_dump(mode="json")` gives them."""

    name: str
    values: dict[str, JsonValue]
    defaults: dict[str, JsonValue]


class InputFacts(Schema):
    """What was segmented."""

    source: str
    shape: Shape3
    voxel_size_um: Voxel3 | None
    dtype: str


class Page(Schema):
    """Everything on the report of one sample; empty tuples and None leave their section out."""

    sample: str
    cells_found: int
    input: InputFacts
    scores: dict[str, int | float | None] | None = None
    """From `metrics.scores`; None where there was no truth."""
    seams: str = ""
    """Whether the blocks can be seen in the result, in a sentence."""
    sizes: Sizes | None = None
    pictures: tuple[Picture, ...] = ()
    stages: tuple[StageCost, ...] = ()
    settings: tuple[StageSettings, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def render(page: Page) -> str:
    """Return the report as one HTML document, every text of the page escaped.

    A score whose name is not in `MEANING` is left out; the document is about as large as its pictures
    times 1.4.
    """
    given = page.scores or {}
    html: str = _template().render(
        page=page,
        tiles=_tiles(page),
        scores=[(*MEANING[key], number(given[key])) for key in MEANING if key in given],
        balance=_balance(given),
        planes=[(title, found) for key, title in PLANES.items() if (found := _of_plane(page, key))],
        histogram=_histogram(page.sizes),
        times=Markup(bars_svg([(s.name, s.seconds, duration(s.seconds)) for s in page.stages])),  # noqa: S704 - escaped there
        settings=[(s.name, list(marked(s.values, s.defaults))) for s in page.settings],
        facts=_facts(page.input),
    )
    return html


def seams(excess: float | None, noise: float | None) -> str:
    """Say what the seam score says; nothing for a volume of one block."""
    if excess is None or noise is None:
        return ""
    seen = "the blocks can be seen" if excess > 3 * noise else "the blocks cannot be seen"
    return (
        f"Seam score {excess:+.4f} ± {noise:.4f}: {seen}. It is how much more often cells end on the faces "
        "of blocks than half a block away, as a share of voxel pairs."
    )


def size_histogram(sizes: NDArray[np.number], unit: str) -> Sizes | None:
    """Return a histogram of cell sizes, each bin about 1.26 times the last; None without a cell.

    Edges are the round numbers of Renard's series R10 (R5, 1.58 times, beyond three decades).
    """
    if not sizes.size:
        return None
    low, high = float(sizes.min()), float(sizes.max())
    decades = range(floor(log10(low)), floor(log10(high)) + 2)
    series = RENARD[::2] if high > 1000 * low else RENARD
    rounds = np.array([float(f"{step}e{decade}") for decade in decades for step in series])
    first, last = np.searchsorted(rounds, [low, high], side="right")
    edges = rounds[first - 1 : last + 1]
    counts, _ = np.histogram(sizes, edges)
    return Sizes(
        counts=tuple(counts.tolist()), edges=tuple(edges.tolist()), median=float(np.median(sizes)), unit=unit
    )


def duration(seconds: float) -> str:
    """Write a time as 3.2 s, 4 min 05 s or 3 h 20 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: int | None) -> str:
    """Write bytes as 12.3 MB; a dash for None."""
    if count is None:
        return DASH
    value, units = float(count), iter(("B", "kB", "MB", "GB", "TB", "PB"))
    unit = next(units)
    while value >= 999.5 and unit != "PB":
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}"


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"duration": duration, "bytes": size, "short": short, "base64": base64}
    return environment.from_string(resources.files(__package__).joinpath("report.html").read_text("utf-8"))


def base64(png: bytes) -> str:
    return b64encode(png).decode("ascii")


def _histogram(sizes: Sizes | None) -> Markup:
    if sizes is None:
        return Markup()
    return Markup(histogram_svg(sizes.counts, sizes.edges, sizes.unit))  # noqa: S704 - escaped there


def _tiles(page: Page) -> list[tuple[str, str, str]]:
    tiles = [(*MEANING["cells_found"], number(page.cells_found))]
    if page.scores is not None:
        return tiles + [(*MEANING[k], number(page.scores[k])) for k in HEADLINE if k in page.scores]
    if page.sizes is not None:
        meaning = "Half of the cells are smaller, half larger."
        tiles.append(("Median size", meaning, f"{short(page.sizes.median)} {page.sizes.unit}"))
    return tiles


def number(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:,}".replace(",", "\N{THIN SPACE}") if isinstance(value, int) else f"{value:.3f}"


def _balance(scores: dict[str, int | float | None]) -> str:
    """Say in words which of the two kinds of error prevails."""
    split, merge = scores.get("voi_split"), scores.get("voi_merge")
    if split is None or merge is None:
        return ""
    if max(split, merge) < 0.05:
        return "Hardly any cell is cut or joined."
    if split > 2 * merge:
        return "Most errors are cells cut into pieces."
    if merge > 2 * split:
        return "Most errors are cells joined together."
    return "Cut and joined cells weigh about the same."


def _of_plane(page: Page, plane: str) -> list[tuple[int, Picture]]:
    return [(number, p) for number, p in enumerate(page.pictures) if p.plane == plane]


def marked(
    values: dict[str, JsonValue], defaults: dict[str, JsonValue], prefix: str = ""
) -> Iterator[tuple[str, str, str | None]]:
    """Yield name, value and, where it differs, the default; groups of parameters are written a.b."""
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, dict):
            yield from marked(value, default if isinstance(default, dict) else {}, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(value), None if value == default else _plain(default)


def _plain(value: JsonValue) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _facts(facts: InputFacts) -> list[tuple[str, str]]:
    voxels = facts.shape[0] * facts.shape[1] * facts.shape[2]
    rows = [
        ("Source", facts.source),
        ("Shape z, y, x", TIMES.join(map(str, facts.shape)) + f" ({short(voxels)} voxels)"),
        ("Data type", facts.dtype),
    ]
    if facts.voxel_size_um is None:
        return [*rows, ("Voxel size", "unknown")]
    extent = (n * s for n, s in zip(facts.shape, facts.voxel_size_um, strict=True))
    return [
        *rows,
        ("Voxel size z, y, x", TIMES.join(f"{s:g}" for s in facts.voxel_size_um) + " µm"),
        ("Extent z, y, x", TIMES.join(map(short, extent)) + " µm"),
    ]
