"""Columns in the OpenAPI document: the schema of their values, and forms for columns of files.

value(Input("scan", "image", "bytes"))      {"oneOf": [{"type": "object", ...}, {"type": "string"}, ...]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepseek.serve.core.json_body import encode_json
from deepseek.serve.openapi.parts import TEXT, Schema, array_of
from deepseek.serve.protocols.form import FILE_MODALITIES
from deepseek.serve.protocols.form import FORM_TYPE as FORM

if TYPE_CHECKING:
    from deepseek.bundle.manifest import Input
    from deepseek.serve.models.served_model import ServedModel

#: JSON types of a column by its dtype in the manifest; null is a missing value.
COLUMN_TYPES: dict[str, list[str]] = {
    "float64": ["number", "null"],
    "float32": ["number", "null"],
    "int64": ["number", "null"],
    "bool": ["boolean", "number", "string", "null"],
}
BASE64_SCHEMA: Schema = TEXT | {"contentEncoding": "base64"}
FILE_SCHEMA: Schema = {
    "type": ["object", "string", "null"],
    "description": 'the bytes of a file as base64: {"b64": "..."}, {"files": ["...", ...]} for the slices of a scan, or'
    ' "data:TYPE;base64,..."; no path, no address',
    "properties": {"b64": BASE64_SCHEMA, "files": array_of(BASE64_SCHEMA) | {"minItems": 1}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
FORM_DESCRIPTION = """\
Rows may also come as multipart/form-data, with files as they are: a part for each column; parts of one
name are rows in their order, and an empty part stands for a missing value. curl -F COLUMN=@FILE -F COLUMN=VALUE ..."""
SERIES_SCHEMA: Schema = {
    "type": "array",
    "description": "one inner list for each moment, null where nothing was measured",
}


def value_schema(column: Input) -> Schema:
    """The schema of one value of a column."""
    if column.modality not in FILE_MODALITIES:
        return {"type": COLUMN_TYPES.get(column.dtype, ["string", "null"])}
    return {"oneOf": [FILE_SCHEMA, SERIES_SCHEMA]} if column.modality == "series" else FILE_SCHEMA


def tensor_element(value: Any) -> Any:
    """A value of a record as an element of a tensor of BYTES in JSON: base64 as a data URL, nested numbers as text."""
    if isinstance(value, Mapping):
        return f"data:;base64,{value['b64']}"
    return encode_json(value).decode() if isinstance(value, list) else value


def reads_files(model: ServedModel) -> bool:
    return any(column.modality in FILE_MODALITIES for column in model.card.inputs)


def add_form(path: Schema, model: ServedModel) -> Schema:
    """Add a form as another media type of an operation's request, where a model reads files."""
    if reads_files(model):
        fields = {column.name: _part_schema(column) for column in model.card.inputs}
        form = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        path["post"]["description"] = FORM_DESCRIPTION
        path["post"]["requestBody"]["content"] |= {FORM.decode(): {"schema": form}}
    return path


def _part_schema(column: Input) -> Schema:
    """The schema of a column's parts in a form, one for each row."""
    file = {"type": "string", "format": "binary"}
    return array_of(file if column.modality in FILE_MODALITIES else TEXT)
