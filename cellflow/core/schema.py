"""The base of every record that a user may write in YAML."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cellflow.core.errors import BadInput

Model = TypeVar("Model", bound=BaseModel)

Length = Annotated[int, Field(ge=1)]
Shape3 = tuple[Length, Length, Length]
"""Voxels along z, y, x."""
Voxel3 = tuple[
    Annotated[float, Field(gt=0)],
    Annotated[float, Field(gt=0)],
    Annotated[float, Field(gt=0)],
]
"""Voxel size along z, y, x in micrometres."""


class Schema(BaseModel):
    """Frozen, without unknown keys; the string under a field is its documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def checked(model: type[Model], content: object, where: str) -> Model:
    """`content` as `model`. Raises `BadInput`: where, found, expected, in one line."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise BadInput(f"{where}: {_explained(error, model)}") from error


def without(content: dict[str, Any], private: Sequence[str]) -> dict[str, Any]:
    """A record's content less what is private; `a.b` is b inside of a."""
    inner = {n: [p.removeprefix(f"{n}.") for p in private if p.startswith(f"{n}.")] for n in content}
    return {
        name: without(value, inner[name]) if isinstance(value, dict) else value
        for name, value in content.items()
        if name not in private
    }


def _explained(error: ValidationError, model: type[BaseModel]) -> str:
    first, *more = error.errors()
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_at(model, first["loc"][:-1])
        close = get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        text = f"unknown key {key!r}; {hint}"
    else:
        text = (
            f"{key or 'content'}: found {first['input']!r:.80}, {first['msg'][0].lower()}{first['msg'][1:]}"
        )
    return text + (f" (and {len(more)} more)" if more else "")


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys a record knows at a place inside `model`, as far as types tell."""
    found: list[type[BaseModel]] = [model]
    for part in path:
        fields = [m.model_fields[part] for m in found if isinstance(part, str) and part in m.model_fields]
        if fields:
            found = [m for field in fields for m in _models_in(field.annotation)]
        elif not (named := [m for m in found if _tag(m) == part]):
            continue
        else:
            found = named
    return sorted({name for m in found for name in m.model_fields})


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models_in(part)]


def _tag(model: type[BaseModel]) -> object:
    field = model.model_fields.get("name")
    return field.default if field else None
