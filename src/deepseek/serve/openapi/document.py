"""The OpenAPI document: every route of this server with the columns of its own models, precise enough to generate a
client or a fuzzer from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deepseek.serve.models.served_model import ServedModel
from deepseek.serve.openapi import files as openapi_files
from deepseek.serve.openapi import graph as openapi_graph
from deepseek.serve.openapi.parts import NUMBER, TEXT, Schema, array_of, get_path, object_of, post_path
from deepseek.serve.openapi.text import text_paths
from deepseek.serve.protocols.arrow import ARROW_TYPE as ARROW
from deepseek.serve.protocols.graph_rows import example_tensors, graph_adapter
from deepseek.serve.protocols.model_listing import example_body
from deepseek.serve.protocols.records import MAX_REASONS
from deepseek.serve.protocols.tensor_rows import column_datatype
from deepseek.version import __version__


def openapi_document(
    models: Mapping[str, ServedModel], generators: Iterable[str] = (), more_paths: Iterable[Schema] = ()
) -> Schema:
    """The document for the loaded models, and for the generative ones, by name. `more_paths`: paths with their
    operations, of models that have more than the usual ones."""
    paths: Schema = {
        "/v2/health/live": get_path("Whether the process answers", object_of({"live": {"type": "boolean"}})),
        "/v2/health/ready": get_path("Whether requests are taken", object_of({"ready": {"type": "boolean"}})),
        "/v2": get_path("The server", object_of({"name": TEXT, "version": TEXT, "extensions": array_of(TEXT)})),
        "/v1/models": get_path("The models", object_of({"object": TEXT, "data": array_of(object_of({"id": TEXT}))})),
    }
    for model in models.values():
        paths |= _model_paths(model)
        if model.adapter.runtime is None:
            del paths[f"/v1/models/{model.quoted}:explain"]
    paths["/v2/repository/index"] = post_path(
        "What is loaded, Open Inference Protocol",
        {"type": "object"},
        array_of(object_of({"name": TEXT, "version": TEXT, "state": TEXT, "reason": TEXT})),
        {},
    )
    for more in more_paths:
        paths |= more
    paths |= text_paths([model.name for model in models.values() if model.task == "embedding"], list(generators))
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


def _model_paths(model: ServedModel) -> Schema:
    v1, v2 = f"/v1/models/{model.quoted}", f"/v2/models/{model.quoted}"
    graph = graph_adapter(model)
    record = _record_schema(model) if graph is None else {"type": "object"}
    instances = array_of(record) | {"minItems": 1}
    example = example_body(model) if graph is None or openapi_graph.has_short_example(graph) else {}
    tensor = object_of({"name": TEXT, "datatype": TEXT, "shape": array_of({"type": "integer"})})
    reasons = {"reasons": {"type": "integer", "minimum": 0, "maximum": MAX_REASONS}}
    forms = [_body_schema({"instances": instances} | reasons), _body_schema(_rows_schema(model) | reasons, "rows")]
    predict = {"oneOf": forms if graph is None else openapi_graph.body_schemas(graph)}
    tensors = array_of(_tensor_schema(model) if graph is None else openapi_graph.tensor_schema(graph))
    asks_parts = {"parts": {"type": "boolean"}} if hasattr(model.adapter, "with_parts") else {}
    explain = _body_schema({"instances": instances} | _target_schema(model) | asks_parts)
    takers = ":predict takes" if model.adapter.runtime is None else ":predict and :explain take"
    return {
        v1: get_path(f"{model.name}: what it is", object_of({"id": TEXT, "version": TEXT, "task": TEXT})),
        f"{v1}/example": get_path(f"A body that {takers}", object_of({"instances": array_of(record)})),
        f"{v1}:predict": _predict_path(model, predict, example),
        f"{v1}:explain": post_path("Why: additive contributions by column", explain, _explanations_schema(), example),
        v2: get_path("Metadata, Open Inference Protocol", object_of({"name": TEXT, "versions": array_of(TEXT)})),
        f"{v2}/ready": get_path("Whether the model is ready", object_of({"name": TEXT, "ready": {"type": "boolean"}})),
        f"{v2}/infer": post_path(
            "Tensors, Open Inference Protocol",
            {
                "type": "object",
                "properties": {"id": TEXT, "parameters": {"type": "object"}, "inputs": tensors},
                "required": ["inputs"],
            },
            object_of({"model_name": TEXT, "model_version": TEXT, "outputs": array_of(tensor)}),
            {"inputs": _example_tensors(model)} if example else {},
        ),
    }


def _record_schema(model: ServedModel) -> Schema:
    """The schema of a record: its columns, no others; optional ones may be left out."""
    inputs = model.card.inputs
    return {
        "type": "object",
        "properties": {item.name: openapi_files.value_schema(item) for item in inputs},
        "required": [item.name for item in inputs if item.required],
        "additionalProperties": False,
    }


def _rows_schema(model: ServedModel) -> Schema:
    """The schemas of positional rows and their columns: each row has a value for every column."""
    columns = list(model.columns)
    value: Schema = {"type": ["number", "string", "boolean", "null"]}
    if openapi_files.reads_files(model):
        value = {"type": [*value["type"], "object", "array"]}
    sizes = {"minItems": len(columns), "maxItems": len(columns)}
    return {
        "columns": array_of({"type": "string", "enum": columns}) | sizes | {"uniqueItems": True},
        "rows": array_of(array_of(value) | sizes) | {"minItems": 1},
    }


def _tensor_schema(model: ServedModel) -> Schema:
    """The schema of an input tensor: one column of N values."""
    values = {"type": ["number", "string", "boolean", "null"]}
    return object_of(
        {
            "name": {"type": "string", "enum": list(model.columns)},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
            "data": {"type": "array", "items": values},
        }
    )


def _predict_path(model: ServedModel, body: Schema, example: Schema) -> Schema:
    """The operation of :predict, which also takes an Arrow stream where a model has columns."""
    if (graph := graph_adapter(model)) is not None:
        return post_path("Outputs of the graph", body, openapi_graph.response_schema(graph), example)
    return openapi_files.add_form(
        _add_arrow(post_path("Answers by column name", body, _predictions_schema(model), example)), model
    )


def _example_tensors(model: ServedModel) -> list[Schema]:
    if (graph := graph_adapter(model)) is not None:
        return example_tensors(graph)
    example = model.adapter.example
    return [
        {
            "name": item.name,
            "datatype": column_datatype(item.dtype),
            "shape": [1],
            "data": [openapi_files.tensor_element(example.get(item.name))],
        }
        for item in model.card.inputs
    ]


def _target_schema(model: ServedModel) -> dict[str, Schema]:
    labels = model.card.labels
    return {"target": {"type": ["string", "null"], "enum": [*labels, None]}} if labels else {}


def _predictions_schema(model: ServedModel) -> Schema:
    labels = model.card.labels
    answer = object_of({"value": NUMBER})
    by_column = object_of({"values": array_of(NUMBER)})
    if model.task == "embedding":
        answer = object_of({"embedding": array_of(NUMBER)})
        by_column = object_of({"embeddings": array_of(array_of(NUMBER))})
    elif model.task == "token-classification":
        entity = object_of({"text": TEXT, "label": TEXT, "start": NUMBER, "end": NUMBER, "probability": NUMBER})
        answer = object_of({"entities": array_of(entity)})
        by_column = object_of({"entities": array_of(array_of(entity))})
    elif model.task == "detection":
        box = object_of({"box": array_of(NUMBER), "category": TEXT, "score": NUMBER})
        mask = object_of({"b64": TEXT, "height": NUMBER, "width": NUMBER})
        answer = object_of({"defective": {"type": "boolean"}, "score": NUMBER, "boxes": array_of(box), "mask": mask})
        by_column = object_of({"defects": array_of(answer)})
    elif labels:
        shares = object_of(dict.fromkeys(labels, NUMBER))
        answer = object_of({"label": {"type": "string", "enum": list(labels)}, "probabilities": shares})
        by_column = object_of({"labels": array_of(TEXT), "probabilities": array_of(array_of(NUMBER))})
    return {"oneOf": [object_of({"predictions": array_of(answer)}), by_column]}


def _explanations_schema() -> Schema:
    row = {"base_value": NUMBER, "output": NUMBER, "residual": NUMBER, "scale": TEXT, "method": TEXT}
    values = {"type": "object", "additionalProperties": NUMBER}
    parts = array_of({"type": "object"})  # of texts and files: what tokens, sentences, regions add
    row_type = object_of(row | {"values": values})
    row_type["properties"] |= {"parts": parts, "is_partial": {"type": "boolean"}}
    row_type["properties"] |= {"adds_up": {"type": "boolean"}, "warning": TEXT}  # a warning where it does not
    return object_of({"explanations": array_of(row_type)})


def _body_schema(properties: Mapping[str, Schema], rows: str = "instances") -> Schema:
    """The schema of a request body: its rows under the key `rows`, and other properties."""
    return {"type": "object", "properties": dict(properties), "required": [rows], "additionalProperties": False}


def _add_arrow(path: Schema) -> Schema:
    """Add an Arrow stream as another media type of an operation's request and response."""
    stream = {ARROW.decode(): {"schema": {"type": "string", "format": "binary"}}}
    path["post"]["requestBody"]["content"] |= stream
    path["post"]["responses"]["200"]["content"] |= stream
    return path
