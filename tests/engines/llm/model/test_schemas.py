"""A schema that the grammar compiler would stumble over is refused before any answer is begun."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from deepseek.engines.llm.model.convert import convert
from deepseek.engines.llm.model.folder import ModelFolder
from deepseek.engines.llm.model.schemas import SchemaCompiler, schema_text
from deepseek.errors import MalformedError
from support.nets.tinylm import random_model


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> SchemaCompiler:
    base = tmp_path_factory.mktemp("schemas")
    random_model("gpt2", base / "source")
    convert(ModelFolder.read(base / "source"), base / "target")
    return SchemaCompiler(base / "target")


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
def test_a_good_schema_comes_back_as_text(schemas: SchemaCompiler, schema: dict[str, Any]) -> None:
    assert json.loads(schemas.compile(schema_text(schema))) == schema


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "nonsense"}, "nonsense"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"$ref": "#"}, "refers to itself alone"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "refers to itself alone"),
        (
            {
                "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]}},
                "type": "object",
                "properties": {"x": {"$ref": "#/$defs/a"}},
            },
            "refers to itself alone",
        ),
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
def test_a_bad_schema_is_refused_and_the_next_is_checked(schemas: SchemaCompiler, schema: Any, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        schemas.compile(schema_text(schema))
    assert schemas.compile('{"type": "boolean"}')


@pytest.mark.parametrize(
    "schema",
    [{"enum": [["x"] * 10**6]}, {"enum": [{"x" * 10**7: 1}]}, {"properties": {str(n): {} for n in range(10**5)}}],
)
def test_a_huge_schema_is_not_looked_at_to_its_end(schema: Any) -> None:
    started_s = time.process_time()
    with pytest.raises(MalformedError, match="more than 16384 bytes"):
        schema_text(schema)
    assert time.process_time() - started_s < 0.1
