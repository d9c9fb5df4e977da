"""The manual of a stage, read from its parameter models: nothing is documented twice."""

import inspect
import textwrap
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

WIDTH = 100
WORDS = {float: "number", int: "whole number", bool: "true | false", str: "text", type(None): "null"}
SIGNS = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}


def manual(stage: str, params: type[BaseModel]) -> str:
    """Every parameter of a stage: name, type and range, default, and what it does.

    A parameter that is one of several records (a solver, a predictor) lists them all with their own.
    """
    title = f"{stage}: {_summary(params)}"
    if not params.model_fields:
        return title
    return "\n".join(
        [
            title,
            "",
            f"samples.NAME.{stage}:" if stage in ("phantom", "affinities") else f"stages.{stage}:",
            *_fields(params, 1),
        ]
    )


def _fields(model: type[BaseModel], depth: int) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            continue  # the name of a choice, said above it
        choices = _choices(field.annotation)
        kind = ("one of the records below" if len(choices) > 1 else "the record below") if choices else ""
        kind = kind or _with_range(_type(field.annotation), field.metadata)
        yield _indented(f"{name}: {kind}{_default(field)}", depth)
        if field.description:
            yield _indented(field.description, depth + 1)
        for choice in choices:
            named = len(choices) > 1
            yield _indented(f"name: {_tag(choice)} - " * named + _summary(choice), depth + 1)
            yield from _fields(choice, depth + 1 + named)


def _choices(annotation: object) -> list[type[BaseModel]]:
    """The records of a union, however it is nested."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _choices(parts[0])
    return [choice for part in parts for choice in _choices(part)] if origin in (Union, UnionType) else []


def _tag(record: type[BaseModel]) -> str:
    return str(record.model_fields["name"].default)


def _type(annotation: object) -> str:
    """A type in the words of a YAML file."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _with_range(_type(parts[0]), _constraints(parts[1:]))
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (Union, UnionType):
        return " | ".join(_type(part) for part in parts)
    if origin is tuple:
        return _list(parts)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"{{name: {_tag(annotation)}, ...}}"
    return WORDS[annotation] if isinstance(annotation, type) and annotation in WORDS else str(annotation)


def _list(parts: tuple[Any, ...]) -> str:
    if parts[-1] is Ellipsis:
        return f"list of {_type(parts[0])}"
    kinds = [_type(part) for part in parts]
    return f"{len(kinds)} x {kinds[0]}" if len(set(kinds)) == 1 else f"[{', '.join(kinds)}]"


def _constraints(metadata: Iterable[Any]) -> list[Any]:
    return [inner for item in metadata for inner in getattr(item, "metadata", [item])]


def _with_range(kind: str, metadata: Iterable[Any]) -> str:
    bounds = [
        f"{sign} {getattr(item, type(item).__name__.lower())}"
        for item in metadata
        for limit, sign in SIGNS.items()
        if isinstance(item, limit)
    ]
    return f"{kind} {' and '.join(bounds)}" if bounds else kind


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return ", required"
    return f", default {_yaml(value)}"


def _yaml(value: object) -> str:
    if isinstance(value, BaseModel):
        return str(getattr(value, "name", type(value).__name__))
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _summary(model: type[BaseModel]) -> str:
    return " ".join(inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].split())


def _indented(text: str, depth: int) -> str:
    pad = "  " * depth
    return textwrap.fill(" ".join(text.split()), WIDTH, initial_indent=pad, subsequent_indent=pad)
