"""The OpenAPI document: every route of this server with the columns of its own models, so that a client can be made
from it and a fuzzer knows what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deepseek.serve.models.registry import ServedModel
from deepseek.serve.openapi import files as openapi_files
from deepseek.serve.openapi import graph as openapi_graph
from deepseek.serve.openapi.parts import NUMBER, TEXT, Schema, array, get_of, object_of, post_of
from deepseek.serve.openapi.text import text_paths
from deepseek.serve.protocols.arrow import MEDIA as ARROW
from deepseek.serve.protocols.graph_rows import example_tensors, graph_of
from deepseek.serve.protocols.records import MAX_REASONS, example_body
from deepseek.serve.protocols.tensor_rows import column_datatype
from deepseek.version import __version__


def openapi(models: Mapping[str, ServedModel], writers: Iterable[str] = ()) -> dict[str, Any]:
    """The document for the models that are loaded, and for those that write, by name."""
    paths: dict[str, Any] = {
        "/v2/health/live": get_of("Whether the process answers", object_of({"live": {"type": "boolean"}})),
        "/v2/health/ready": get_of("Whether requests are taken", object_of({"ready": {"type": "boolean"}})),
        "/v2": get_of("The server", object_of({"name": TEXT, "version": TEXT, "extensions": array(TEXT)})),
        "/v1/models": get_of("The models", object_of({"object": TEXT, "data": array(object_of({"id": TEXT}))})),
    }
    for model in models.values():
        paths |= _model_paths(model)
        if model.face.runtime is None:
            del paths[f"/v1/models/{model.quoted}:explain"]
    paths["/v2/repository/index"] = post_of(
        "What is loaded, Open Inference Protocol",
        {"type": "object"},
        array(object_of({"name": TEXT, "version": TEXT, "state": TEXT, "reason": TEXT})),
        {},
    )
    paths |= text_paths([model.name for model in models.values() if model.task == "embedding"], list(writers))
    error = object_of(dict.fromkeys(("code", "message", "expected", "fix"), TEXT))
    return {
        "openapi": "3.1.0",
        "info": {"title": "deepseek model server", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Error": object_of({"error": error})},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _model_paths(model: ServedModel) -> dict[str, Any]:
    v1, v2 = f"/v1/models/{model.quoted}", f"/v2/models/{model.quoted}"
    graph = graph_of(model)
    record = _record(model) if graph is None else {"type": "object"}
    instances = array(record) | {"minItems": 1}
    example = example_body(model) if graph is None or openapi_graph.is_short(graph) else {}
    tensor = object_of({"name": TEXT, "datatype": TEXT, "shape": array({"type": "integer"})})
    reasons = {"reasons": {"type": "integer", "minimum": 0, "maximum": MAX_REASONS}}
    forms = [_body({"instances": instances} | reasons), _body(_rows(model) | reasons, "rows")]
    predict = {"oneOf": forms if graph is None else openapi_graph.bodies(graph)}
    tensors = array(_tensor(model) if graph is None else openapi_graph.tensor(graph))
    asks_parts = {"parts": {"type": "boolean"}} if hasattr(model.face, "with_parts") else {}
    explain = _body({"instances": instances} | _target(model) | asks_parts)
    takers = ":predict takes" if model.face.runtime is None else ":predict and :explain take"
    return {
        v1: get_of(f"{model.name}: what it is", object_of({"id": TEXT, "version": TEXT, "task": TEXT})),
        f"{v1}/example": get_of(f"A body that {takers}", object_of({"instances": array(record)})),
        f"{v1}:predict": _predict(model, predict, example),
        f"{v1}:explain": post_of("Why: additive contributions by column", explain, _explanations(), example),
        v2: get_of("Metadata, Open Inference Protocol", object_of({"name": TEXT, "versions": array(TEXT)})),
        f"{v2}/ready": get_of("Whether the model is ready", object_of({"name": TEXT, "ready": {"type": "boolean"}})),
        f"{v2}/infer": post_of(
            "Tensors, Open Inference Protocol",
            {
                "type": "object",
                "properties": {"id": TEXT, "parameters": {"type": "object"}, "inputs": tensors},
                "required": ["inputs"],
            },
            object_of({"model_name": TEXT, "model_version": TEXT, "outputs": array(tensor)}),
            {"inputs": _example_tensors(model)} if example else {},
        ),
    }


def _record(model: ServedModel) -> Schema:
    """A row: its columns, none besides, any of the optional ones left out."""
    inputs = model.card.inputs
    return {
        "type": "object",
        "properties": {item.name: openapi_files.value(item) for item in inputs},
        "required": [item.name for item in inputs if item.required],
        "additionalProperties": False,
    }


def _rows(model: ServedModel) -> Schema:
    """Rows as positional arrays: each has a value for every column."""
    columns = list(model.columns)
    value: Schema = {"type": ["number", "string", "boolean", "null"]}
    if openapi_files.reads_files(model):
        value = {"type": [*value["type"], "object", "array"]}
    sizes = {"minItems": len(columns), "maxItems": len(columns)}
    return {
        "columns": array({"type": "string", "enum": columns}) | sizes | {"uniqueItems": True},
        "rows": array(array(value) | sizes) | {"minItems": 1},
    }


def _tensor(model: ServedModel) -> Schema:
    """One column of N values."""
    values = {"type": ["number", "string", "boolean", "null"]}
    return object_of(
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
        return post_of("Outputs of the graph", body, openapi_graph.answers(graph), example)
    return openapi_files.with_form(
        _streams(post_of("Answers by column name", body, _predictions(model), example)), model
    )


def _example_tensors(model: ServedModel) -> list[dict[str, Any]]:
    if (graph := graph_of(model)) is not None:
        return example_tensors(graph)
    example = model.face.example
    return [
        {
            "name": item.name,
            "datatype": column_datatype(item.dtype),
            "shape": [1],
            "data": [openapi_files.element(example.get(item.name))],
        }
        for item in model.card.inputs
    ]


def _target(model: ServedModel) -> dict[str, Schema]:
    labels = model.card.labels
    return {"target": {"type": ["string", "null"], "enum": [*labels, None]}} if labels else {}


def _predictions(model: ServedModel) -> Schema:
    labels = model.card.labels
    answer = object_of({"value": NUMBER})
    by_column = object_of({"values": array(NUMBER)})
    if model.task == "embedding":
        answer = object_of({"embedding": array(NUMBER)})
        by_column = object_of({"embeddings": array(array(NUMBER))})
    elif model.task == "token-classification":
        entity = object_of({"text": TEXT, "label": TEXT, "start": NUMBER, "end": NUMBER, "probability": NUMBER})
        answer = object_of({"entities": array(entity)})
        by_column = object_of({"entities": array(array(entity))})
    elif labels:
        shares = object_of(dict.fromkeys(labels, NUMBER))
        answer = object_of({"label": {"type": "string", "enum": list(labels)}, "probabilities": shares})
        by_column = object_of({"labels": array(TEXT), "probabilities": array(array(NUMBER))})
    return {"oneOf": [object_of({"predictions": array(answer)}), by_column]}


def _explanations() -> Schema:
    row = {"base_value": NUMBER, "output": NUMBER, "residual": NUMBER, "scale": TEXT, "method": TEXT}
    values = {"type": "object", "additionalProperties": NUMBER}
    parts = array({"type": "object"})  # of texts and files: what tokens, sentences, regions add
    row_type = object_of(row | {"values": values})
    row_type["properties"] |= {"parts": parts, "is_partial": {"type": "boolean"}}
    row_type["properties"] |= {"adds_up": {"type": "boolean"}, "warning": TEXT}  # a warning where it does not
    return object_of({"explanations": array(row_type)})


def _body(properties: Mapping[str, Schema], rows: str = "instances") -> Schema:
    """A request body: its rows under the key `rows`, and what may stand beside them."""
    return {"type": "object", "properties": dict(properties), "required": [rows], "additionalProperties": False}


def _streams(path: dict[str, Any]) -> dict[str, Any]:
    """The same route, with an Arrow stream as the other form of what goes in and comes out."""
    stream = {ARROW.decode(): {"schema": {"type": "string", "format": "binary"}}}
    path["post"]["requestBody"]["content"] |= stream
    path["post"]["responses"]["200"]["content"] |= stream
    return path
