"""Schemas of a bare graph in the OpenAPI document: tensors by the graph's own names, as nested arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.serve.models.graph import GraphAdapter
from deepseek.serve.openapi.parts import Schema, array_of, object_of
from deepseek.serve.protocols.graph_rows import tensor_metadata

if TYPE_CHECKING:
    from deepseek.engines.onnx_file import TensorSpec

MAX_EXAMPLE_VALUES = 1_000  # a longer example is left to /v1/models/M/example


def body_schemas(adapter: GraphAdapter) -> list[Schema]:
    """The schemas of a body of :predict: records by input, and positional rows."""
    specs = adapter.signature.inputs
    record = object_of({spec.name: row_schema(spec, adapter) for spec in specs}) | {"additionalProperties": False}
    row = (
        row_schema(specs[0], adapter)
        if adapter.matrix
        else {"type": "array", "minItems": len(specs), "maxItems": len(specs)}
    )
    return [_rows_body_schema("instances", record), _rows_body_schema("rows", row)]


def response_schema(adapter: GraphAdapter) -> Schema:
    """The schema of a response of :predict, in either form."""
    properties = {spec.name: row_schema(spec, adapter) for spec in adapter.signature.outputs}
    by_output = {name: {"type": "array", "items": schema} for name, schema in properties.items()}
    rows = array_of(object_of(properties))
    return {"oneOf": [object_of({"predictions": rows}), object_of({"outputs": object_of(by_output)})]}


def tensor_schema(adapter: GraphAdapter) -> Schema:
    """The schema of an input of an infer request."""
    listed = tensor_metadata(adapter.signature.inputs)
    return object_of(
        {
            "name": {"type": "string", "enum": [entry.name for entry in listed]},
            "datatype": {"type": "string", "enum": sorted({entry.datatype for entry in listed})},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array"},
        }
    )


def has_short_example(adapter: GraphAdapter) -> bool:
    """Whether the example is short enough for a page."""
    return sum(array.size for array in adapter.signature.sample(1).values()) <= MAX_EXAMPLE_VALUES


def row_schema(spec: TensorSpec, adapter: GraphAdapter) -> Schema:
    """The schema of one row of a tensor."""
    kind = {"f": ["number", "null"], "b": "boolean", "U": "string"}.get(spec.numpy.kind, "integer")
    schema: Schema = {"type": kind}
    for dim in reversed(adapter.signature.row_shape(spec)):
        schema = {"type": "array", "items": schema}
        if isinstance(dim, int):
            schema |= {"minItems": dim, "maxItems": dim}
    return schema


def _rows_body_schema(rows: str, row: Schema) -> Schema:
    return object_of({rows: {"type": "array", "items": row, "minItems": 1}}) | {"additionalProperties": False}
