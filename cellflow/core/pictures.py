"""Pictures and charts of a report: arrays in, PNG bytes or inline SVG out, without a plotting library.

Slices are resampled to the shape they have in the sample: pixels of 0.25 x 0.1 um are drawn 2.5 times
as high as wide. Colours of labels depend on the label alone, so one cell has one colour in every picture.
"""

from collections.abc import Sequence
from html import escape
from io import BytesIO
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixel = tuple[float, float]
"""Height and width of one pixel of a slice, in any common unit."""
SQUARE: Pixel = (1.0, 1.0)
LARGEST = 700
"""Pictures are at most so many pixels wide and high."""


def grey_png(image: NDArray[np.uint8], pixel: Pixel = SQUARE) -> bytes:
    """Return a slice as a grey PNG; shrinking averages, enlarging repeats pixels."""
    return _png(_shown_grey(image, pixel))


def overlay_png(
    image: NDArray[np.uint8], labels: NDArray[np.integer], pixel: Pixel = SQUARE, *, alpha: float = 0.5
) -> bytes:
    """Return a slice with its labels in colour (`alpha` 0 to 1) and a light line inside every border.

    Label 0 stays grey. With alpha 0 only the lines are drawn, in the label's colour: for supervoxels.
    """
    grey = _shown_grey(image, pixel)
    shown = _nearest(labels, grey.shape)
    colours = label_colours(shown)
    base = np.repeat(grey[..., None].astype(np.float64), 3, axis=2)
    inside = shown != 0
    filled = np.where(inside[..., None], (1 - alpha) * base + alpha * colours, base)
    light = 0.4 if alpha == 0 else 0.7
    line = (1 - light) * colours + light * 255
    drawn = np.where((inside & _border(shown))[..., None], line, filled)
    return _png(np.rint(drawn).astype(np.uint8))


def label_colours(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return RGB (…, 3) per label: 20 hues in 3 lightnesses, chosen by a hash of the label alone.

    Neighbouring numbers get unlike colours; hues are evenly spaced to the eye (OKLab, Ottosson 2020).
    """
    h = labels.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return _palette()[((h >> np.uint64(32)) % np.uint64(60)).astype(np.int64)]


def display_shape(shape: tuple[int, int], pixel: Pixel = SQUARE) -> tuple[int, int]:
    """Return height and width of a slice's picture; small slices grow by a whole factor, up to 8."""
    size = shape[0] * pixel[0], shape[1] * pixel[1]
    fit = LARGEST / max(size)
    whole = min(8, floor(fit * min(pixel)))
    scale = whole / min(pixel) if whole >= 1 else fit
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def bars_svg(rows: Sequence[tuple[str, float, str]]) -> str:
    """Return horizontal bars (name, value >= 0, text beside the bar) as inline SVG in the page's colours."""
    largest = max((value for _, value, _ in rows), default=0) or 1
    lines = []
    for i, (name, value, text) in enumerate(rows):
        length, y = max(2.0, 240 * value / largest), 26 * i
        lines += [
            f'<text x="102" y="{y + 17}" class="name">{escape(name)}</text>',
            f'<rect x="110" y="{y + 5}" width="{length:.1f}" height="16" rx="2"/>',
            f'<text x="{118 + length:.1f}" y="{y + 17}">{escape(text)}</text>',
        ]
    return _svg(26 * len(rows), lines)


def histogram_svg(counts: Sequence[int], edges: Sequence[float], unit: str) -> str:
    """Return a histogram as inline SVG: bins of equal width on paper, edges in `unit`, one more."""
    if len(edges) != len(counts) + 1:
        raise ValueError(f"{len(counts)} counts need {len(counts) + 1} edges, found {len(edges)}")
    highest, step = max([*counts, 1]), 390 / max(1, len(counts))
    lines = []
    for i, n in enumerate(counts):
        height, between = 150 * n / highest, f"{short(edges[i])} to {short(edges[i + 1])} {unit}"
        lines.append(
            f'<rect x="{40 + i * step + 0.5:.1f}" y="{170 - height:.1f}" width="{step - 1:.1f}"'
            f' height="{height:.1f}"><title>{n} of {escape(between)}</title></rect>'
        )
    lines += [
        f'<text x="{40 + i * step:.1f}" y="188" class="tick">{short(edges[i])}</text>' for i in _ticks(edges)
    ]
    lines += [
        '<path d="M40 170.5H430" class="axis"/>',
        f'<text x="34" y="24" class="name">{highest}</text><text x="34" y="174" class="name">0</text>',
        f'<text x="235" y="208" class="tick">{escape(unit)}</text>',
    ]
    return _svg(214, lines)


def _ticks(edges: Sequence[float]) -> list[int]:
    """Choose at most nine edges to label: 1, 2, 5 times a power of ten, or powers, or every n-th."""
    for digits in ("125", "1"):
        chosen = [i for i, e in enumerate(edges) if e == float(f"{e:.0e}") and f"{e:.0e}"[0] in digits]
        if 2 <= len(chosen) <= 9:
            return chosen
    return list(range(0, len(edges), ceil(len(edges) / 9)))


def short(value: float) -> str:
    """Write a number with three digits that count: 0.0123, 12.3, 12 300, 1.23 M."""
    for factor, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{letter}"
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}".replace(",", "\N{THIN SPACE}")
    return f"{value:.3g}"


def _svg(height: int, lines: list[str]) -> str:
    return f'<svg viewBox="0 0 440 {height}" role="img">{"".join(lines)}</svg>'


def _shown_grey(image: NDArray[np.uint8], pixel: Pixel) -> NDArray[np.uint8]:
    height, width = display_shape((image.shape[0], image.shape[1]), pixel)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def _nearest(labels: NDArray[np.integer], shape: tuple[int, ...]) -> NDArray[np.integer]:
    rows, columns = (
        ((np.arange(n) + 0.5) * m / n).astype(np.int64) for n, m in zip(shape, labels.shape, strict=True)
    )
    shown: NDArray[np.integer] = labels[rows][:, columns]
    return shown


def _border(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark pixels whose right or lower neighbour has another label: lines are one pixel wide."""
    border = np.zeros(labels.shape, bool)
    border[:-1] |= labels[:-1] != labels[1:]
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return border


def _palette() -> NDArray[np.uint8]:
    hue = np.arange(60) % 20 * (2 * np.pi / 20)
    light = np.array([0.55, 0.72, 0.88])[np.arange(60) // 20]
    a, b = 0.14 * np.cos(hue), 0.14 * np.sin(hue)
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    small = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * small,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * small,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * small,
        ],
        axis=-1,
    ).clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    palette: NDArray[np.uint8] = np.rint(255 * curved).astype(np.uint8)
    return palette


def _png(pixels: NDArray[np.uint8]) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG", optimize=True)
    return out.getvalue()
