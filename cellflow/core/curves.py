"""Curves over epochs as inline SVG, without a plotting library."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, isfinite, log10

from cellflow.core.pictures import short

WIDTH, HEIGHT, LEFT, RIGHT, TOP = 440, 220, 68, 12, 26
BASE = HEIGHT - 30
STROKES = ("", "6 3", "2 3")
"""Curves are told apart by their dashes, in print as well."""


def curves_svg(curves: Mapping[str, Sequence[float | None]], *, logarithmic: bool = False) -> str:
    """Curves of one value an epoch (1, 2, …) by name, in the page's colours; None and NaN leave gaps.

    At most three are told apart. A logarithmic axis leaves out what is not above 0. Without any value there
    are the axes alone.
    """
    shown = {name: [_value(v, logarithmic=logarithmic) for v in values] for name, values in curves.items()}
    known = [v for values in shown.values() for v in values if v is not None]
    low, high = _range(known)
    epochs = max((len(values) for values in shown.values()), default=0)
    lines = [
        f'<path d="M{LEFT} {BASE + 0.5}H{WIDTH - RIGHT}" class="axis"/>',
        *_levels(low, high, logarithmic),
    ]
    lines += [
        f'<text x="{_x(epoch - 1, epochs):.1f}" y="{BASE + 18}" class="tick">{epoch}</text>'
        for epoch in _epochs(epochs)
    ]
    for i, (name, values) in enumerate(shown.items()):
        dash = f' stroke-dasharray="{STROKES[i % len(STROKES)]}"' if i % len(STROKES) else ""
        x = LEFT + 120 * i
        lines += [
            f'<path d="M{x} 10h22" class="curve"{dash}/>',
            f'<text x="{x + 27}" y="14">{escape(name)}</text>',
            f'<path d="{_path(values, low, high)}" class="curve"{dash}/>',
        ]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(lines)}</svg>'


def _value(value: float | None, *, logarithmic: bool) -> float | None:
    if value is None or not isfinite(value) or (logarithmic and value <= 0):
        return None
    return log10(value) if logarithmic else value


def _range(known: Sequence[float]) -> tuple[float, float]:
    low, high = min(known, default=0.0), max(known, default=1.0)
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - pad, high + pad


def _levels(low: float, high: float, logarithmic: bool) -> list[str]:
    """Four lines across, with their values."""
    lines = []
    for k in range(4):
        value = low + (high - low) * k / 3
        y = _y(value, low, high)
        said = short(10**value if logarithmic else value)
        lines += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" class="axis"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="name">{escape(said)}</text>',
        ]
    return lines


def _epochs(count: int) -> list[int]:
    """At most six epochs to name, evenly apart."""
    step = max(1, ceil(count / 6))
    return list(range(step, count + 1, step)) if count > 1 else list(range(1, count + 1))


def _path(values: Sequence[float | None], low: float, high: float) -> str:
    """Lines between neighbours; a value between gaps is a dot."""
    parts, pen = [], False
    for i, value in enumerate(values):
        if value is not None:
            at = f"{_x(i, len(values)):.1f} {_y(value, low, high):.1f}"
            alone = not pen and (i + 1 == len(values) or values[i + 1] is None)
            parts.append(f"{'L' if pen else 'M'}{at}{'h.1' if alone else ''}")
        pen = value is not None
    return "".join(parts) or f"M{LEFT} {floor(BASE)}"


def _x(i: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (i / (count - 1) if count > 1 else 0.5)


def _y(value: float, low: float, high: float) -> float:
    return BASE - (BASE - TOP) * (value - low) / (high - low)
