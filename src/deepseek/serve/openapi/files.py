"""Columns in the OpenAPI document: what a value of each may be, and rows as a form where some are files.

value(Input("scan", "image", "bytes"))      {"oneOf": [{"type": "object", ...}, {"type": "string"}, ...]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepseek.serve.core.json_body import encode
from deepseek.serve.openapi.parts import TEXT, Schema, array
from deepseek.serve.protocols.form import FILES
from deepseek.serve.protocols.form import MEDIA as FORM

if TYPE_CHECKING:
    from deepseek.bundle.manifest import Input
    from deepseek.serve.models.registry import ServedModel

#: JSON types of a column by its dtype in the manifest; null is a missing value.
COLUMN_TYPES: dict[str, list[str]] = {
    "float64": ["number", "null"],
    "float32": ["number", "null"],
    "int64": ["number", "null"],
    "bool": ["boolean", "number", "string", "null"],
}
CODED: Schema = TEXT | {"contentEncoding": "base64"}
FILE: Schema = {
    "type": ["object", "string", "null"],
    "description": 'the bytes of a file as base64: {"b64": "..."}, {"files": ["...", ...]} for the slices of a scan, or'
    ' "data:TYPE;base64,..."; no path, no address',
    "properties": {"b64": CODED, "files": array(CODED) | {"minItems": 1}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
AS_FORM = """Rows may also come as multipart/form-data, with files as they are: a part for each column; parts of one
name are rows in their order, and an empty part stands for a missing value. curl -F COLUMN=@FILE -F COLUMN=VALUE ..."""
MOMENTS: Schema = {"type": "array", "description": "one inner list for each moment, null where nothing was measured"}


def value(column: Input) -> Schema:
    """A cell of a record."""
    if column.modality not in FILES:
        return {"type": COLUMN_TYPES.get(column.dtype, ["string", "null"])}
    return {"oneOf": [FILE, MOMENTS]} if column.modality == "series" else FILE


def element(value: Any) -> Any:
    """A value of a record as an element of a tensor of BYTES in JSON: base64 as a data URL, nested numbers as text."""
    if isinstance(value, Mapping):
        return f"data:;base64,{value['b64']}"
    return encode(value).decode() if isinstance(value, list) else value


def reads_files(model: ServedModel) -> bool:
    return any(column.modality in FILES for column in model.card.inputs)


def with_form(path: dict[str, Any], model: ServedModel) -> dict[str, Any]:
    """The same route, which takes a form, too, where a model reads files."""
    if reads_files(model):
        fields = {column.name: _part(column) for column in model.card.inputs}
        form = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        path["post"]["description"] = AS_FORM
        path["post"]["requestBody"]["content"] |= {FORM.decode(): {"schema": form}}
    return path


def _part(column: Input) -> Schema:
    """Values of a column; several are those of rows, in their order."""
    file = {"type": "string", "format": "binary"}
    return array(file if column.modality in FILES else TEXT)
