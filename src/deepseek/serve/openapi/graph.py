"""What the OpenAPI document says of a bare graph: tensors by the graph's own names, as nested arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepseek.serve.models.graph import GraphFace
from deepseek.serve.protocols.graph_rows import metadata

if TYPE_CHECKING:
    from deepseek.engines.onnx_file import TensorSpec

Schema = dict[str, Any]
MAX_EXAMPLE_VALUES = 1_000  # a longer example is left to /v1/models/M/example


def bodies(face: GraphFace) -> list[Schema]:
    """The forms of a body for :predict: records by input, and rows by position."""
    specs = face.signature.inputs
    record = _object({spec.name: nested(spec, face) for spec in specs}) | {"additionalProperties": False}
    row = nested(specs[0], face) if face.matrix else {"type": "array", "minItems": len(specs), "maxItems": len(specs)}
    return [_closed("instances", record), _closed("rows", row)]


def answers(face: GraphFace) -> Schema:
    """What :predict answers with, in either form."""
    found = {spec.name: nested(spec, face) for spec in face.signature.outputs}
    by_output = {name: {"type": "array", "items": schema} for name, schema in found.items()}
    rows = {"type": "array", "items": _object(found)}
    return {"oneOf": [_object({"predictions": rows}), _object({"outputs": _object(by_output)})]}


def tensor(face: GraphFace) -> Schema:
    """One input of an infer request."""
    listed = metadata(face.signature.inputs)
    return _object(
        {
            "name": {"type": "string", "enum": [entry["name"] for entry in listed]},
            "datatype": {"type": "string", "enum": sorted({entry["datatype"] for entry in listed})},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array"},
        }
    )


def is_short(face: GraphFace) -> bool:
    """Whether the example is one that a page can hold."""
    return sum(array.size for array in face.signature.sample(1).values()) <= MAX_EXAMPLE_VALUES


def nested(spec: TensorSpec, face: GraphFace) -> Schema:
    """One row of a tensor."""
    kind = {"f": ["number", "null"], "b": "boolean", "U": "string"}.get(spec.numpy.kind, "integer")
    schema: Schema = {"type": kind}
    for dim in reversed(face.signature.row_shape(spec)):
        schema = {"type": "array", "items": schema}
        if isinstance(dim, int):
            schema |= {"minItems": dim, "maxItems": dim}
    return schema


def _closed(rows: str, row: Schema) -> Schema:
    return _object({rows: {"type": "array", "items": row, "minItems": 1}}) | {"additionalProperties": False}


def _object(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}
