"""OpenAI's routes in the OpenAPI document: embeddings, completions and chats, their streams included.

text_paths(["embedder"], ["tiny"])["/v1/completions"]["post"]
"""

from __future__ import annotations

from collections.abc import Sequence

from deepseek.serve.openapi.parts import NUMBER, TEXT, Schema, array_of, object_of, post_path

INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 1}
BOOLEAN: Schema = {"type": "boolean"}
MAX_PARTS = 64  # of a list in a request: prompts, answers
STREAM_DESCRIPTION = """\
With "stream": true the answer is server-sent events: lines "data: {...}", each followed by an empty line,
one object for the text of one step, and at the end "data: [DONE]". With "stream_options": {"include_usage": true} the
last object has "usage" and no choices. An error after the beginning is an event with "error"."""
#: The schema of each event of a stream.
EVENT = object_of({"data": TEXT}) | {"description": "one event; data is [DONE], or JSON: a piece, or an error"}
#: Parameters of both completion routes. Others of OpenAI's are refused by name, or ignored where they change nothing.
SHARED_PARAMETERS: dict[str, Schema] = {
    "max_tokens": COUNT,
    "n": COUNT | {"maximum": MAX_PARTS},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "top_k": INTEGER | {"minimum": -1},
    "seed": INTEGER | {"minimum": -(2**63) + 1, "maximum": 2**63 - 1},
    "stop": {"oneOf": [TEXT | {"minLength": 1}, array_of(TEXT | {"minLength": 1}) | {"maxItems": 16}]},
    "frequency_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "stream": BOOLEAN,
    "stream_options": {"type": "object", "properties": {"include_usage": BOOLEAN}, "additionalProperties": False},
    "ignore_eos": BOOLEAN,
    "user": TEXT,
}


def text_paths(embedders: Sequence[str], generators: Sequence[str]) -> Schema:
    """The paths of the models that embed texts, and of the generative ones."""
    paths: Schema = {}
    if embedders:
        paths["/v1/embeddings"] = _embeddings_path(embedders)
    if generators:
        paths["/v1/completions"] = _completions_path(generators)
        paths["/v1/chat/completions"] = _chats_path(generators)
    return paths


def _embeddings_path(names: Sequence[str]) -> Schema:
    request = {
        "type": "object",
        "properties": {
            "model": {"type": "string", "enum": list(names)},
            "input": {
                "oneOf": [
                    TEXT,
                    array_of(TEXT) | {"minItems": 1},
                    _tokens_schema(),
                    array_of(_tokens_schema()) | {"minItems": 1},
                ]
            },
            "dimensions": COUNT,
            "encoding_format": {"type": "string", "enum": ["float", "base64"]},
        },
        "required": ["model", "input"],
        "additionalProperties": False,
    }
    answer = object_of({"object": TEXT, "data": array_of(object_of({"index": NUMBER})), "model": TEXT})
    return post_path("Embeddings, as OpenAI's route", request, answer, {"model": names[0], "input": ["a text"]})


def _completions_path(names: Sequence[str]) -> Schema:
    lists = {"minItems": 1, "maxItems": MAX_PARTS}
    request = _request_schema(
        names,
        "model",
        {
            "prompt": {"oneOf": [TEXT, array_of(TEXT) | lists, _tokens_schema(), array_of(_tokens_schema()) | lists]},
            "echo": BOOLEAN,
            "logprobs": {"type": "integer", "minimum": 0, "maximum": 1},
        },
    )
    logprobs = object_of(
        {"tokens": array_of(TEXT), "token_logprobs": array_of(NUMBER), "text_offset": array_of(INTEGER)}
    )
    choice = object_of({"text": TEXT} | _choice_properties(logprobs))
    return _generation_path(
        "Text that goes on from a prompt", request, "text_completion", choice, {"prompt": "To be, or"}, names
    )


def _chats_path(names: Sequence[str]) -> Schema:
    part = object_of({"type": {"type": "string", "enum": ["text"]}, "text": TEXT})
    message = {
        "type": "object",
        "properties": {
            "role": {"type": "string", "enum": ["system", "developer", "user", "assistant"]},
            "content": {"oneOf": [TEXT, array_of(part)]},
            "name": TEXT,
        },
        "required": ["role", "content"],
        "additionalProperties": False,
    }
    request = _request_schema(
        names,
        "messages",
        {
            "messages": array_of(message) | {"minItems": 1},
            "max_completion_tokens": COUNT,
            "logprobs": BOOLEAN,
            "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 1},
        },
    )
    entry = object_of({"token": TEXT, "logprob": NUMBER, "bytes": array_of(INTEGER)})
    reply = object_of({"role": TEXT, "content": TEXT})
    choice = object_of({"message": reply} | _choice_properties(object_of({"content": array_of(entry)})))
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
    holder: Schema = {"name": TEXT, "schema": {"type": "object"}, "strict": BOOLEAN}
    schema: Schema = {"type": "object", "properties": holder, "required": ["schema"]}
    with_schema: dict[str, Schema] = {"type": {"type": "string", "enum": ["json_schema"]}, "json_schema": schema}
    return {"oneOf": [object_of(plain), object_of(with_schema)]}


def _tokens_schema() -> Schema:
    return array_of(INTEGER | {"minimum": 0}) | {"minItems": 1}


def _choice_properties(logprobs: Schema) -> dict[str, Schema]:
    finish = {"type": "string", "enum": ["stop", "length"]}
    return {"index": INTEGER, "logprobs": {"oneOf": [logprobs, {"type": "null"}]}, "finish_reason": finish}


def _generation_path(
    summary: str, request: Schema, name: str, choice: Schema, example: Schema, names: Sequence[str]
) -> Schema:
    usage = object_of(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), INTEGER))
    answer: dict[str, Schema] = {
        "id": TEXT,
        "object": {"type": "string", "enum": [name]},
        "created": INTEGER,
        "model": TEXT,
    }
    whole = object_of(answer | {"choices": array_of(choice), "usage": usage})
    path = post_path(summary, request, whole, {"model": names[0]} | example | {"max_tokens": 16})
    path["post"]["description"] = STREAM_DESCRIPTION
    path["post"]["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT}
    return path
