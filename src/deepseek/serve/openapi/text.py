"""OpenAI's routes in the OpenAPI document: embeddings, completions and chats, their streams included.

text_paths(["embedder"], ["tiny"])["/v1/completions"]["post"]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepseek.serve.openapi.parts import NUMBER_SCHEMA, TEXT_SCHEMA, Schema, array_schema, object_schema, post_path

INTEGER_SCHEMA: Schema = {"type": "integer"}
COUNT_SCHEMA: Schema = {"type": "integer", "minimum": 1}
BOOLEAN_SCHEMA: Schema = {"type": "boolean"}
MAX_PARTS = 64  # of a list in a request: prompts, answers
STREAM_DESCRIPTION = """With "stream": true the answer is server-sent events: lines "data: {...}", each followed by an
empty line,
one object for the text of one step, and at the end "data: [DONE]". With "stream_options": {"include_usage": true} the
last object has "usage" and no choices. An error after the beginning is an event with "error"."""
#: The schema of each event of a stream.
EVENT_SCHEMA = object_schema({"data": TEXT_SCHEMA}) | {
    "description": "one event; data is [DONE], or JSON: a piece, or an error"
}
#: Parameters of both completion routes. Others of OpenAI's are refused by name, or ignored where they change nothing.
SHARED_PARAMETERS: dict[str, Schema] = {
    "max_tokens": COUNT_SCHEMA,
    "n": COUNT_SCHEMA | {"maximum": MAX_PARTS},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "top_k": INTEGER_SCHEMA | {"minimum": -1},
    "seed": INTEGER_SCHEMA | {"minimum": -(2**63) + 1, "maximum": 2**63 - 1},
    "stop": {
        "oneOf": [TEXT_SCHEMA | {"minLength": 1}, array_schema(TEXT_SCHEMA | {"minLength": 1}) | {"maxItems": 16}]
    },
    "frequency_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "stream": BOOLEAN_SCHEMA,
    "stream_options": {
        "type": "object",
        "properties": {"include_usage": BOOLEAN_SCHEMA},
        "additionalProperties": False,
    },
    "ignore_eos": BOOLEAN_SCHEMA,
    "user": TEXT_SCHEMA,
}


def text_paths(embedders: Sequence[str], generators: Sequence[str]) -> dict[str, Any]:
    """The paths of the models that embed texts, and of the generative ones."""
    paths: dict[str, Any] = {}
    if embedders:
        paths["/v1/embeddings"] = _embeddings_path(embedders)
    if generators:
        paths["/v1/completions"] = _completions_path(generators)
        paths["/v1/chat/completions"] = _chats_path(generators)
    return paths


def _embeddings_path(names: Sequence[str]) -> dict[str, Any]:
    request = {
        "type": "object",
        "properties": {
            "model": {"type": "string", "enum": list(names)},
            "input": {
                "oneOf": [
                    TEXT_SCHEMA,
                    array_schema(TEXT_SCHEMA) | {"minItems": 1},
                    _tokens_schema(),
                    array_schema(_tokens_schema()) | {"minItems": 1},
                ]
            },
            "dimensions": COUNT_SCHEMA,
            "encoding_format": {"type": "string", "enum": ["float", "base64"]},
        },
        "required": ["model", "input"],
        "additionalProperties": False,
    }
    answer = object_schema(
        {"object": TEXT_SCHEMA, "data": array_schema(object_schema({"index": NUMBER_SCHEMA})), "model": TEXT_SCHEMA}
    )
    return post_path("Embeddings, as OpenAI's route", request, answer, {"model": names[0], "input": ["a text"]})


def _completions_path(names: Sequence[str]) -> dict[str, Any]:
    lists = {"minItems": 1, "maxItems": MAX_PARTS}
    request = _request_schema(
        names,
        "model",
        {
            "prompt": {
                "oneOf": [
                    TEXT_SCHEMA,
                    array_schema(TEXT_SCHEMA) | lists,
                    _tokens_schema(),
                    array_schema(_tokens_schema()) | lists,
                ]
            },
            "echo": BOOLEAN_SCHEMA,
            "logprobs": {"type": "integer", "minimum": 0, "maximum": 1},
        },
    )
    logprobs = object_schema(
        {
            "tokens": array_schema(TEXT_SCHEMA),
            "token_logprobs": array_schema(NUMBER_SCHEMA),
            "text_offset": array_schema(INTEGER_SCHEMA),
        }
    )
    choice = object_schema({"text": TEXT_SCHEMA} | _choice_properties(logprobs))
    return _generation_path(
        "Text that goes on from a prompt", request, "text_completion", choice, {"prompt": "To be, or"}, names
    )


def _chats_path(names: Sequence[str]) -> dict[str, Any]:
    part = object_schema({"type": {"type": "string", "enum": ["text"]}, "text": TEXT_SCHEMA})
    message = {
        "type": "object",
        "properties": {
            "role": {"type": "string", "enum": ["system", "developer", "user", "assistant"]},
            "content": {"oneOf": [TEXT_SCHEMA, array_schema(part)]},
            "name": TEXT_SCHEMA,
        },
        "required": ["role", "content"],
        "additionalProperties": False,
    }
    request = _request_schema(
        names,
        "messages",
        {
            "messages": array_schema(message) | {"minItems": 1},
            "max_completion_tokens": COUNT_SCHEMA,
            "logprobs": BOOLEAN_SCHEMA,
            "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 1},
        },
    )
    entry = object_schema({"token": TEXT_SCHEMA, "logprob": NUMBER_SCHEMA, "bytes": array_schema(INTEGER_SCHEMA)})
    reply = object_schema({"role": TEXT_SCHEMA, "content": TEXT_SCHEMA})
    choice = object_schema({"message": reply} | _choice_properties(object_schema({"content": array_schema(entry)})))
    example = {"messages": [{"role": "user", "content": "Who's there?"}]}
    return _generation_path("The next message of a chat", request, "chat.completion", choice, example, names)


def _request_schema(names: Sequence[str], needed: str, properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": {"model": {"type": "string", "enum": list(names)}}
        | properties
        | SHARED_PARAMETERS
        | {"response_format": _response_format_schema()},
        "required": sorted({"model", needed}),
        "additionalProperties": False,
    }


def _response_format_schema() -> Schema:
    """The schema of "response_format": free text, any JSON object, or JSON of a schema."""
    plain: dict[str, Schema] = {"type": {"type": "string", "enum": ["text", "json_object"]}}
    holder: Schema = {"name": TEXT_SCHEMA, "schema": {"type": "object"}, "strict": BOOLEAN_SCHEMA}
    schema: Schema = {"type": "object", "properties": holder, "required": ["schema"]}
    with_schema: dict[str, Schema] = {"type": {"type": "string", "enum": ["json_schema"]}, "json_schema": schema}
    return {"oneOf": [object_schema(plain), object_schema(with_schema)]}


def _tokens_schema() -> Schema:
    return array_schema(INTEGER_SCHEMA | {"minimum": 0}) | {"minItems": 1}


def _choice_properties(logprobs: Schema) -> dict[str, Schema]:
    finish = {"type": "string", "enum": ["stop", "length"]}
    return {"index": INTEGER_SCHEMA, "logprobs": {"oneOf": [logprobs, {"type": "null"}]}, "finish_reason": finish}


def _generation_path(
    summary: str, request: Schema, name: str, choice: Schema, example: dict[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    usage = object_schema(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), INTEGER_SCHEMA))
    answer: dict[str, Schema] = {
        "id": TEXT_SCHEMA,
        "object": {"type": "string", "enum": [name]},
        "created": INTEGER_SCHEMA,
        "model": TEXT_SCHEMA,
    }
    whole = object_schema(answer | {"choices": array_schema(choice), "usage": usage})
    path = post_path(summary, request, whole, {"model": names[0]} | example | {"max_tokens": 16})
    path["post"]["description"] = STREAM_DESCRIPTION
    path["post"]["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT_SCHEMA}
    return path
