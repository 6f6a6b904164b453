"""A schema that the grammar compiler would stumble over is refused before any answer is begun."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deepseek.engines.llm.schemas import Schemas
from deepseek.errors import InputError


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"enum": ["a", "b"]},
        {"type": "object", "properties": {"pattern": {"type": "string"}, "maxItems": {"type": "integer"}}},
        {"$defs": {"a": {"type": "object", "properties": {"next": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"},
        {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "number"}, "maxItems": 3}]},
    ],
)  # fmt: skip
def test_a_good_schema_comes_back_as_text(schemas: Schemas, schema: dict[str, Any]) -> None:
    assert json.loads(schemas.check(schema)) == schema
    assert schemas.check(schema) == schemas.check(schema)


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "null"}
    for _ in range(levels):
        found = {"type": "array", "items": found}
    return found


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "nonsense"}, "nonsense"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"type": "string", "pattern": "["}, "pattern"),
        ({"properties": {"a": {"not": {"type": "null"}}}}, "not"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "allOf"),
        ({"$ref": "https://example.org/schema"}, "ref"),
        ({"type": "string", "maxLength": 10**9}, "maxLength is 1000000000"),
        ({"type": "array", "minItems": -1}, "minItems"),
        ({"anyOf": [{"type": "string", "maxLength": 300}] * 2}, "add up to 600"),
        ({"type": "array", "maxItems": "3"}, "maxItems"),
        ({"enum": ["x" * 20000]}, "bytes"),
        (nested(40), "nested too deeply"),
    ],
)
def test_a_bad_schema_is_refused_and_the_next_is_checked(schemas: Schemas, schema: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        schemas.check(schema)
    assert schemas.check({"type": "boolean"})
