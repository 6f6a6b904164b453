"""Building blocks of the OpenAPI document: schemas, responses and operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deepseek.contracts import JsonObject

#: A JSON schema, or another part of the OpenAPI document: JSON whose keys are those of the standard.
Schema = JsonObject

NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
ERROR_STATUSES = {
    "400": "This is no HTTP/1.1, the body is not one JSON object, or it asks for a JSON schema that cannot be used.",
    "401": "No accepted API key.",
    "404": "There is no such model or route.",
    "405": "The route exists, the method does not.",
    "408": "The body did not arrive in time.",
    "413": "The body or the number of rows is over the limit.",
    "415": "The body is not in a form that is read here.",
    "422": "The rows do not fit the model.",
    "429": "Too many rows wait; Retry-After says when to ask again.",
    "431": "The request line and the headers are over the limit.",
    "500": "The model has no finite answer to a row, or the server failed.",
    "501": "The server lacks the part that this needs.",
    "503": "The server is stopping.",
    "504": "The deadline passed before the rows were computed.",
}


def array_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def object_of(properties: Mapping[str, Schema]) -> Schema:
    """The schema of an object that has all of `properties` and may have more."""
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _responses(schema: Schema, statuses: Iterable[str]) -> Schema:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: Schema = {"200": {"description": "Done.", "content": {"application/json": {"schema": schema}}}}
    for status in statuses:
        responses[status] = {"description": ERROR_STATUSES[status], "content": error}
    return responses


def get_path(summary: str, schema: Schema) -> Schema:
    return {"get": {"summary": summary, "responses": _responses(schema, ("400", "401", "404", "405", "431", "503"))}}


def post_path(summary: str, request: Schema, response: Schema, example: Schema) -> Schema:
    body = {"required": True, "content": {"application/json": {"schema": request, "example": dict(example)}}}
    return {"post": {"summary": summary, "requestBody": body, "responses": _responses(response, ERROR_STATUSES)}}
