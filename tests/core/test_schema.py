from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from cellflow.core.errors import BadInput
from cellflow.core.schema import Schema, Shape3, Voxel3, checked


class Cut(Schema):
    name: Literal["cut"] = "cut"
    beta: float = Field(0.5, gt=0, lt=1)
    """More cuts."""


class Grow(Schema):
    name: Literal["grow"] = "grow"
    seeds: int = 3


class Stage(Schema):
    threshold: float = Field(0.5, ge=0, le=1)
    block: Shape3 = (8, 8, 8)
    voxel: Voxel3 | None = None
    solver: Annotated[Cut | Grow, Field(discriminator="name")] = Cut()

    @model_validator(mode="after")
    def _odd(self):
        if self.threshold == 0.25:
            raise ValueError("expected anything but 0.25")
        return self


class Top(Schema):
    stages: dict[str, Stage] = Field(default={})
    one: Stage = Stage()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"one": {"treshold": 1}}, "a.yaml: unknown key 'one.treshold'; did you mean 'threshold'?"),
        ({"on": {}}, "a.yaml: unknown key 'on'; did you mean 'one'?"),
        ({"one": {"zzz": 1}}, "a.yaml: unknown key 'one.zzz'; known are block, solver, threshold, voxel"),
        ({"one": {"solver": {"name": "grow", "seed": 2}}}, "'one.solver.grow.seed'; did you mean 'seeds'?"),
        ({"one": {"solver": {"name": "cut", "qqq": 2}}}, "'one.solver.cut.qqq'; known are beta, name"),
        ({"stages": {"x": {"blok": 2}}}, "unknown key 'stages.x.blok'; did you mean 'block'?"),
        ({"one": {"solver": {"name": "gro"}}}, "one.solver: found {'name': 'gro'}, input tag 'gro' found"),
        (
            {"one": {"threshold": 2}},
            "a.yaml: one.threshold: found 2, input should be less than or equal to 1",
        ),
        ({"one": {"threshold": float("nan")}}, "one.threshold: found nan, "),
        ({"one": {"threshold": float("inf")}}, "one.threshold: found inf, "),
        ({"one": {"block": [1, 2]}}, "a.yaml: one.block.2: found [1, 2], field required"),
        ({"one": {"block": [1, 0, 2]}}, "one.block.1: found 0, input should be greater than or equal to 1"),
        ({"one": {"voxel": [1, -1, 1]}}, "one.voxel.1: found -1, input should be greater than 0"),
        (
            {"one": {"threshold": 0.25}},
            "one: found {'threshold': 0.25}, value error, expected anything but 0.25",
        ),
        ("text", "a.yaml: content: found 'text', input should be"),
        ({"one": {"threshold": 2, "block": 3}}, "(and 1 more)"),
    ],
)
def test_errors_are_one_line_with_place_found_and_expected(content, message):
    with pytest.raises(BadInput) as caught:
        checked(Top, content, "a.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_good_content_becomes_the_record_with_its_defaults():
    found = checked(Top, {"one": {"solver": {"name": "grow"}, "block": [1, 2, 3]}}, "a.yaml")
    assert found.one.solver == Grow()
    assert found.one.block == (1, 2, 3)


def test_records_are_frozen_and_document_their_fields():
    with pytest.raises(ValidationError, match="frozen"):
        Cut().beta = 0.1
    assert Cut.model_json_schema()["properties"]["beta"]["description"] == "More cuts."
