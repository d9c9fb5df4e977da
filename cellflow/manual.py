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
PLACES = {
    "phantom": "samples.NAME.phantom:",
    "affinities": "samples.NAME.affinities:",
    "train": "training:",
    "pick": "selftraining:",
    "graph_phantom": "cellflow phantom FOLDER --graph --set KEY=VALUE:",
}
"""Where the parameters of a stage are given, if not under `stages`."""
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
            PLACES.get(stage, f"stages.{stage}:"),
            *_fields(params, 1, set()),
        ]
    )


def _fields(model: type[BaseModel], depth: int, told: set[tuple[type[BaseModel], ...]]) -> Iterator[str]:
    """The lines of a record; `told` are records that need not be listed again."""
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            continue  # the name of a choice, said above it
        records = _records(field.annotation)
        again = records in told
        kind = _kind(field.annotation, again=again) if records else _type(field.annotation)
        yield _indented(f"{name}: {_with_range(kind, field.metadata)}{_default(field)}", depth)
        if field.description:
            yield _indented(field.description, depth + 1)
        if records and not again:
            told.add(records)
            yield from _listed(records, depth + 1, told)


def _listed(
    records: tuple[type[BaseModel], ...], depth: int, told: set[tuple[type[BaseModel], ...]]
) -> Iterator[str]:
    for record in records:
        if _is_choice(record):
            yield _indented(f"name: {record.model_fields['name'].default} - {_summary(record)}", depth)
        yield from _fields(record, depth + 1 if _is_choice(record) else depth, told)


def _kind(annotation: object, *, again: bool) -> str:
    records = _records(annotation)
    kind = "one of the records" if _is_choice(records[0]) else "a record"
    if get_origin(annotation) is tuple or any(get_origin(part) is tuple for part in get_args(annotation)):
        kind = "list of records"
    if type(None) in get_args(annotation):
        kind += " or null"
    return f"{kind}, {'as above' if again else 'as follows'}"


def _is_choice(record: type[BaseModel]) -> bool:
    """Whether a record is told from others by its name."""
    name = record.model_fields.get("name")
    return name is not None and len(get_args(name.annotation)) == 1


def _records(annotation: object) -> tuple[type[BaseModel], ...]:
    """The records that a type speaks of, alone, in a choice or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(record for part in get_args(annotation) for record in _records(part))


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
    if isinstance(value, BaseModel) and "name" not in type(value).model_fields:
        return ""  # a record of defaults, which follow
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
