"""Lengths that files give in their own units, in micrometres."""

from math import isfinite

_UM = {
    "angstrom": 1e-4,
    "å": 1e-4,
    "picometer": 1e-6,
    "pm": 1e-6,
    "nanometer": 1e-3,
    "nm": 1e-3,
    "micrometer": 1.0,
    "micron": 1.0,
    "um": 1.0,
    "μm": 1.0,  # casefold turns the micro sign into this Greek mu
    "millimeter": 1e3,
    "mm": 1e3,
    "centimeter": 1e4,
    "cm": 1e4,
    "inch": 25400.0,
    "in": 25400.0,
    "meter": 1e6,
    "m": 1e6,
}


def micrometres(value: object, unit: object) -> float | None:
    """A length in micrometres, or None where number or unit say nothing (pixels, zero, no unit)."""
    name = str(unit).replace("\\u00B5", "μ").casefold().strip()  # ImageJ escapes the micro sign
    name = name.replace("metre", "meter")
    factor = _UM.get(name) or _UM.get(name.removesuffix("s"))
    if factor is None or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number * factor if isfinite(number) and number > 0 else None
