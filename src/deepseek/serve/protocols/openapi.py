"""The OpenAPI document: every route of this server with the columns of its own models, so that a client can be made
from it and a fuzzer knows what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deepseek import __version__
from deepseek.serve.models import ServedModel
from deepseek.serve.protocols import openapi_graph
from deepseek.serve.protocols.arrow import MEDIA as ARROW
from deepseek.serve.protocols.graph_rows import example_tensors, graph_of
from deepseek.serve.protocols.records import MAX_REASONS, example_body
from deepseek.serve.protocols.tensor_rows import column_datatype

Schema = dict[str, Any]

NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
#: JSON types of a column by its dtype in the manifest; null is a missing value.
COLUMN_TYPES: dict[str, list[str]] = {
    "float64": ["number", "null"],
    "float32": ["number", "null"],
    "int64": ["number", "null"],
    "bool": ["boolean", "number", "string", "null"],
}
ERROR_STATUSES = {
    "400": "The body is not one JSON object.",
    "401": "No accepted API key.",
    "404": "There is no such model or route.",
    "405": "The route exists, the method does not.",
    "408": "The body did not arrive in time.",
    "413": "The body or the number of rows is over the limit.",
    "415": "The body is not in a form that is read here.",
    "422": "The rows do not fit the model.",
    "429": "Too many rows wait; Retry-After says when to ask again.",
    "431": "The request line and the headers are over the limit.",
    "501": "The server lacks the part that this needs.",
    "503": "The server is stopping.",
    "504": "The deadline passed before the rows were computed.",
}


def openapi(models: Mapping[str, ServedModel]) -> dict[str, Any]:
    """The document for the models that are loaded."""
    paths: dict[str, Any] = {
        "/v2/health/live": _get("Whether the process answers", _object({"live": {"type": "boolean"}})),
        "/v2/health/ready": _get("Whether requests are taken", _object({"ready": {"type": "boolean"}})),
        "/v2": _get("The server", _object({"name": TEXT, "version": TEXT, "extensions": _array(TEXT)})),
        "/v1/models": _get("The models", _object({"object": TEXT, "data": _array(_object({"id": TEXT}))})),
    }
    for model in models.values():
        paths |= _model_paths(model)
        if model.face.runtime is None:
            del paths[f"/v1/models/{model.quoted}:explain"]
    paths["/v2/repository/index"] = _post(
        "What is loaded, Open Inference Protocol",
        {"type": "object"},
        _array(_object({"name": TEXT, "version": TEXT, "state": TEXT, "reason": TEXT})),
        {},
    )
    if any(model.task == "embedding" for model in models.values()):
        paths["/v1/embeddings"] = _embeddings([model.name for model in models.values() if model.task == "embedding"])
    error = _object(dict.fromkeys(("code", "message", "expected", "fix"), TEXT))
    return {
        "openapi": "3.1.0",
        "info": {"title": "deepseek model server", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Error": _object({"error": error})},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _model_paths(model: ServedModel) -> dict[str, Any]:
    v1, v2 = f"/v1/models/{model.quoted}", f"/v2/models/{model.quoted}"
    graph = graph_of(model)
    record = _record(model) if graph is None else {"type": "object"}
    instances = _array(record) | {"minItems": 1}
    example = example_body(model) if graph is None or openapi_graph.is_short(graph) else {}
    tensor = _object({"name": TEXT, "datatype": TEXT, "shape": _array({"type": "integer"})})
    reasons = {"reasons": {"type": "integer", "minimum": 0, "maximum": MAX_REASONS}}
    forms = [_body({"instances": instances} | reasons), _body(_rows(model) | reasons, "rows")]
    predict = {"oneOf": forms if graph is None else openapi_graph.bodies(graph)}
    tensors = _array(_tensor(model) if graph is None else openapi_graph.tensor(graph))
    explain = _body({"instances": instances} | _target(model))
    return {
        v1: _get(f"{model.name}: what it is", _object({"id": TEXT, "version": TEXT, "task": TEXT})),
        f"{v1}/example": _get("A body that :predict and :explain take", _object({"instances": _array(record)})),
        f"{v1}:predict": _predict(model, predict, example),
        f"{v1}:explain": _post("Why: additive contributions by column", explain, _explanations(), example),
        v2: _get("Metadata, Open Inference Protocol", _object({"name": TEXT, "versions": _array(TEXT)})),
        f"{v2}/ready": _get("Whether the model is ready", _object({"name": TEXT, "ready": {"type": "boolean"}})),
        f"{v2}/infer": _post(
            "Tensors, Open Inference Protocol",
            {
                "type": "object",
                "properties": {"id": TEXT, "parameters": {"type": "object"}, "inputs": tensors},
                "required": ["inputs"],
            },
            _object({"model_name": TEXT, "model_version": TEXT, "outputs": _array(tensor)}),
            {"inputs": _example_tensors(model)} if example else {},
        ),
    }


def _embeddings(names: Sequence[str]) -> dict[str, Any]:
    """OpenAI's route for the models that embed texts."""
    request = {
        "type": "object",
        "properties": {
            "model": {"type": "string", "enum": list(names)},
            "input": {"oneOf": [TEXT, _array(TEXT) | {"minItems": 1}]},
            "encoding_format": {"type": "string", "enum": ["float", "base64"]},
        },
        "required": ["model", "input"],
        "additionalProperties": False,
    }
    answer = _object({"object": TEXT, "data": _array(_object({"index": NUMBER})), "model": TEXT})
    return _post("Embeddings, as OpenAI's route", request, answer, {"model": names[0], "input": ["a text"]})


def _record(model: ServedModel) -> Schema:
    """A row: its columns, none besides, any of the optional ones left out."""
    inputs = model.card.inputs
    return {
        "type": "object",
        "properties": {item.name: {"type": COLUMN_TYPES.get(item.dtype, ["string", "null"])} for item in inputs},
        "required": [item.name for item in inputs if item.required],
        "additionalProperties": False,
    }


def _rows(model: ServedModel) -> Schema:
    """Rows as positional arrays: each has a value for every column."""
    columns = list(model.columns)
    value = {"type": ["number", "string", "boolean", "null"]}
    sizes = {"minItems": len(columns), "maxItems": len(columns)}
    return {
        "columns": _array({"type": "string", "enum": columns}) | sizes | {"uniqueItems": True},
        "rows": _array(_array(value) | sizes) | {"minItems": 1},
    }


def _tensor(model: ServedModel) -> Schema:
    """One column of N values."""
    values = {"type": ["number", "string", "boolean", "null"]}
    return _object(
        {
            "name": {"type": "string", "enum": list(model.columns)},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
            "data": {"type": "array", "items": values},
        }
    )


def _predict(model: ServedModel, body: Schema, example: Mapping[str, Any]) -> dict[str, Any]:
    """:predict, which takes an Arrow stream where a model has columns."""
    if (graph := graph_of(model)) is not None:
        return _post("Outputs of the graph", body, openapi_graph.answers(graph), example)
    return _streams(_post("Answers by column name", body, _predictions(model), example))


def _example_tensors(model: ServedModel) -> list[dict[str, Any]]:
    if (graph := graph_of(model)) is not None:
        return example_tensors(graph)
    example = model.face.example
    return [
        {"name": item.name, "datatype": column_datatype(item.dtype), "shape": [1], "data": [example.get(item.name)]}
        for item in model.card.inputs
    ]


def _target(model: ServedModel) -> dict[str, Schema]:
    labels = model.card.labels
    return {"target": {"type": ["string", "null"], "enum": [*labels, None]}} if labels else {}


def _predictions(model: ServedModel) -> Schema:
    labels = model.card.labels
    answer = _object({"value": NUMBER})
    by_column = _object({"values": _array(NUMBER)})
    if model.task == "embedding":
        answer = _object({"embedding": _array(NUMBER)})
        by_column = _object({"embeddings": _array(_array(NUMBER))})
    elif model.task == "token-classification":
        entity = _object({"text": TEXT, "label": TEXT, "start": NUMBER, "end": NUMBER, "probability": NUMBER})
        answer = _object({"entities": _array(entity)})
        by_column = _object({"entities": _array(_array(entity))})
    elif labels:
        shares = _object(dict.fromkeys(labels, NUMBER))
        answer = _object({"label": {"type": "string", "enum": list(labels)}, "probabilities": shares})
        by_column = _object({"labels": _array(TEXT), "probabilities": _array(_array(NUMBER))})
    return {"oneOf": [_object({"predictions": _array(answer)}), by_column]}


def _explanations() -> Schema:
    row = {"base_value": NUMBER, "output": NUMBER, "residual": NUMBER, "scale": TEXT, "method": TEXT}
    values = {"type": "object", "additionalProperties": NUMBER}
    return _object({"explanations": _array(_object(row | {"values": values}))})


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(properties: Mapping[str, Schema]) -> Schema:
    """An object that has all of `properties` and may have more."""
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _body(properties: Mapping[str, Schema], rows: str = "instances") -> Schema:
    """A request body: its rows under the key `rows`, and what may stand beside them."""
    return {"type": "object", "properties": dict(properties), "required": [rows], "additionalProperties": False}


def _responses(schema: Schema, statuses: Iterable[str]) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    found: dict[str, Any] = {"200": {"description": "Done.", "content": {"application/json": {"schema": schema}}}}
    for status in statuses:
        found[status] = {"description": ERROR_STATUSES[status], "content": error}
    return found


def _get(summary: str, schema: Schema) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": _responses(schema, ("401", "404", "405", "431", "503"))}}


def _post(summary: str, request: Schema, response: Schema, example: Mapping[str, Any]) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": request, "example": dict(example)}}}
    return {"post": {"summary": summary, "requestBody": body, "responses": _responses(response, ERROR_STATUSES)}}


def _streams(path: dict[str, Any]) -> dict[str, Any]:
    """The same route, with an Arrow stream as the other form of what goes in and comes out."""
    stream = {ARROW.decode(): {"schema": {"type": "string", "format": "binary"}}}
    path["post"]["requestBody"]["content"] |= stream
    path["post"]["responses"]["200"]["content"] |= stream
    return path
